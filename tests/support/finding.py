"""A hospital's workstation that searches by C-FIND: dcmtk's findscu, and pynetdicom for what that cannot ask."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from tests.support.dimse import Listener

PATIENT_ROOT, STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
_FINDSCU_OPTION = {PATIENT_ROOT: "-P", STUDY_ROOT: "-S"}


def identifier(level: str | None, **keys: Any) -> Dataset:
    """Of a C-FIND request; a key without a value is None."""
    ds = Dataset()
    if level is not None:
        ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


@dataclass
class Found:
    """The identifiers of the pending responses, and the last response."""

    matches: list[Dataset] = field(default_factory=list)
    pending: set[int] = field(default_factory=set)
    status: int = 0
    comment: str = ""

    def values(self, keyword: str) -> list[Any]:
        return [match.get(keyword) for match in self.matches]


def findscu(
    gateway: Listener, asked: Dataset, root: str = STUDY_ROOT, calling: str = "HOSPITAL_A"
) -> list[Dataset]:
    """The matches as findscu wrote them to files."""
    with tempfile.TemporaryDirectory(prefix="gateway-find-") as folder:
        query = Path(folder) / "query.dcm"
        asked.file_meta = FileMetaDataset()
        asked.file_meta.MediaStorageSOPClassUID = root
        asked.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        asked.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        asked.save_as(query, enforce_file_format=True)
        command = ["findscu", _FINDSCU_OPTION[root], "-X", "-od", folder, "-aet", calling]
        command += ["-aec", gateway.ae_title, "127.0.0.1", str(gateway.dicom_port), str(query)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [dcmread(path, force=True) for path in sorted(Path(folder).glob("rsp*.dcm"))]


@contextmanager
def searching(
    gateway: Listener, root: str = STUDY_ROOT, calling: str = "HOSPITAL_A", extended: bytes = b""
) -> Iterator[Association]:
    """``extended`` is the application information of the SOP Class Extended Negotiation (PS3.4 Table C.5-1)."""
    ae = AE(calling)
    ae.add_requested_context(UID(root))
    items = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = UID(root)
        item.service_class_application_information = extended
        items.append(item)
    assoc = ae.associate("127.0.0.1", gateway.dicom_port, ae_title=gateway.ae_title, ext_neg=items)
    assert assoc.is_established, "the association was not accepted"
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def find(
    gateway: Listener,
    asked: Dataset,
    root: str = STUDY_ROOT,
    calling: str = "HOSPITAL_A",
    extended: bytes = b"",
) -> Found:
    found = Found()
    with searching(gateway, root, calling, extended) as assoc:
        for status, match in assoc.send_c_find(asked, UID(root)):
            if match is not None:
                found.matches.append(match)
                found.pending.add(status.Status)
            found.status = status.get("Status", -1)
            found.comment = status.get("ErrorComment", "")
    return found
