"""Every real DICOM file goes in by each door and comes out as it was; those that may not go in are named, and why."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from gateway.config import Config
from gateway.errors import NotDicom
from gateway.services import build_services
from gateway.store import partners
from gateway.store.partners import ApplicationEntity, Registration
from mappings.dicom_structure import walk_file
from mappings.dicom_to_header import read_header
from tests.support.dicomweb import FAILED, STORED, Pacs, items, parts_of, value
from tests.support.dimse import TEST_FILES
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner
from tests.support.raw_scu import DataSet, send_data_sets

NO_DICOM = "This is not a DICOM file"
NO_CLASS = "The data set has no SOPClassUID (0008,0016)."
NO_STUDY = "The data set has no StudyInstanceUID (0020,000D)."
NO_UID = "StudyInstanceUID (0020,000D) is not a UID"
EARLY_END = "The file ends early"
OTHER_META = "The file meta information names another instance (0002,0003) than the data set, which counts."
OTHER_SYNTAX = "The data set has Implicit VR, and the transfer syntax in (0002,0010) says otherwise."

REFUSED = {
    NO_DICOM: "LICENSE CTImageEvenAligned.dat CTImageOddAligned.dat metadata README README.md README.txt "
    "frame_rgb.jpeg frame_rgb_empty.jpeg dicom-metadata.csv crayons.icc rtplan.dump "
    "rtstruct.dump test1.json test_PN.json zipMR.gz",
    NO_CLASS: "UN_sequence.dcm DICOMDIR DICOMDIR-bigEnd DICOMDIR-empty.dcm DICOMDIR-implicit DICOMDIR-nooffset "
    "DICOMDIR-nopatient DICOMDIR-reordered empty_charset_LEI.dcm meta_missing_tsyntax.dcm nested_priv_SQ.dcm "
    "no_meta_group_length.dcm priv_SQ.dcm",
    NO_STUDY: "HTJ2KLossless_08_RGB.dcm HTJ2K_08_RGB.dcm JLSL_08_07_0_1F.dcm JLSL_16_15_1_1F.dcm "
    "JLSL_RGB_ILV0.dcm JLSL_RGB_ILV1.dcm JLSL_RGB_ILV2.dcm JLSN_RGB_ILV0.dcm "
    "JPEGLSNearLossless_08.dcm JPEGLSNearLossless_16.dcm SC_rgb_jls_lossy_line.dcm SC_rgb_jls_lossy_sample.dcm",
    NO_UID: "bad_sequence.dcm",
}
"""By what the sender is told, whichever the door."""
BARE = "OT-PAL-8-face.dcm ExplVR_BigEndNoMeta.dcm ExplVR_LitEndNoMeta.dcm no_meta.dcm rtstruct.dcm"
"""Data sets without group 0002. STOW-RS takes only files (PS3.18 10.5.1); by C-STORE the association says the rest."""
BARE_WITHOUT_UIDS = "no_meta.dcm"
DAMAGED = {
    EARLY_END: "emri_small_jpeg_2k_lossless_too_short.dcm MR_truncated.dcm rtplan_truncated.dcm",
    OTHER_SYNTAX: "SC_rgb_jpeg.dcm",
}
"""Stored with a warning (ADR 18)."""
REMARKED = {
    OTHER_META: "badVR.dcm chrJapMulti.dcm chrJapMultiExplicitIR6.dcm rtdose.dcm rtdose_1frame.dcm rtdose_expb.dcm "
    "rtdose_expb_1frame.dcm rtplan.dcm sm_image_dots.dcm sm_image_grayscale.dcm sm_image_grayscale_reversed.dcm "
    "sm_image_numbers.dcm",
}
"""By STOW-RS with a warning too; by C-STORE their group 0002 does not come along."""

SUCCESS, STORED_DAMAGED, CANNOT_UNDERSTAND = 0x0000, 0xB007, 0xC000
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OTHER_FAILURES = "0008119A"
WORDS = "0040A160"
BATCH = 50
_ROOM = 30


@dataclass(frozen=True)
class RealFile:
    """``study_instance_uid`` is "" where the file is to be refused."""

    name: str
    content: bytes
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_instance_uid: str = ""
    transfer_syntax_uid: str = ""
    dataset_offset: int = 0

    @property
    def data_set(self) -> DataSet:
        """Announced as its own UIDs say; with others where it has none."""
        return DataSet(
            self.sop_class_uid or SecondaryCaptureImageStorage,
            self.sop_instance_uid or generate_uid(),
            self.transfer_syntax_uid or ExplicitVRLittleEndian,
            self.content[self.dataset_offset :],
        )


@pytest.fixture(scope="module")
def files(shared_data: Path | None) -> list[RealFile]:
    """Each content once: of pydicom, and of the folder of more files where there is one."""
    folders = [TEST_FILES, *([shared_data / "dicom"] if shared_data else [])]
    found: dict[str, RealFile] = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()):
        content = path.read_bytes()
        found.setdefault(hashlib.sha256(content).hexdigest(), _read(path.name, content))
    return list(found.values())


def _read(name: str, content: bytes) -> RealFile:
    if name in BARE.split():
        return _read_bare(name, content)
    try:
        header = read_header(BytesIO(content), "")
    except NotDicom:
        return _read_refused(name, content)
    return RealFile(
        name,
        content,
        header.sop_class_uid,
        header.sop_instance_uid,
        header.study_instance_uid,
        header.transfer_syntax_uid,
        header.dataset_offset,
    )


def _read_refused(name: str, content: bytes) -> RealFile:
    try:
        file = walk_file(BytesIO(content), frozenset())
    except NotDicom:
        return RealFile(name, content)
    return RealFile(
        name, content, transfer_syntax_uid=file.transfer_syntax_uid, dataset_offset=file.dataset_offset
    )


def _read_bare(name: str, content: bytes) -> RealFile:
    ds = dcmread(BytesIO(content), force=True)
    syntaxes = {
        (True, True): ImplicitVRLittleEndian,
        (False, True): ExplicitVRLittleEndian,
        (False, False): ExplicitVRBigEndian,
    }
    uids = (ds.get(keyword, "") for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID"))
    return RealFile(name, content, *uids, syntaxes[ds.original_encoding])


def test_every_file_that_goes_in_by_stow_rs_comes_out_byte_for_byte(
    gateway: GatewayProcess, files: list[RealFile]
) -> None:
    taken = [file for file in files if file.study_instance_uid and file.name not in BARE.split()]
    told = {}
    for partner, sent in _each_by_its_hospital(gateway, "stow", taken):
        pacs = Pacs(gateway, partner)
        for first in range(0, len(sent), BATCH):
            told |= _stow(pacs, sent[first : first + BATCH])
        assert Counter(_given(pacs, sent)) == Counter(file.content for file in sent)

    assert len(taken) > 100
    assert _reasons(told) == _named(DAMAGED | REMARKED, taken)


def test_every_file_that_goes_in_by_c_store_comes_out_with_its_data_set_byte_for_byte(
    gateway: GatewayProcess, files: list[RealFile]
) -> None:
    taken = [file for file in files if file.study_instance_uid]
    told = {}
    for partner, sent in _each_by_its_hospital(gateway, "store", taken):
        answers = send_data_sets(gateway, [file.data_set for file in sent], partner.ae_title)
        for file, answer in zip(sent, answers, strict=True):
            assert answer.status in (SUCCESS, STORED_DAMAGED), (file.name, answer)
            if answer.status != SUCCESS:
                told[file.name] = answer.comment
        given = map(_data_set_of, _given(Pacs(gateway, partner), sent))
        assert Counter(given) == Counter(file.data_set.content for file in sent)

    assert len(taken) > 100
    assert _reasons(told) == _named(DAMAGED, taken)


def test_every_file_that_stow_rs_refuses_is_refused_for_its_reason(
    gateway: GatewayProcess, partner: Partner, files: list[RealFile]
) -> None:
    refused = [file for file in files if not file.study_instance_uid or file.name in BARE.split()]
    told = {}
    for file in refused:
        answer = Pacs(gateway, partner).store(file.content)
        assert answer.status_code == 409, file.name
        (failed,) = [*items(answer, FAILED), *items(answer, OTHER_FAILURES)]
        told[file.name] = value(failed, WORDS)

    assert _reasons(told) == _named(REFUSED | {NO_DICOM: f"{REFUSED[NO_DICOM]} {BARE}"}, files)


def test_every_data_set_that_c_store_refuses_is_refused_for_its_reason(
    gateway: GatewayProcess, partner: Partner, files: list[RealFile]
) -> None:
    no_dicom = REFUSED[NO_DICOM].split()
    refused = [file for file in files if not file.study_instance_uid and file.name not in no_dicom]

    answers = send_data_sets(gateway, [file.data_set for file in refused], partner.ae_title)

    assert {answer.status for answer in answers} == {CANNOT_UNDERSTAND}
    told = {file.name: answer.comment for file, answer in zip(refused, answers, strict=True)}
    expected = {NO_CLASS: f"{REFUSED[NO_CLASS]} {BARE_WITHOUT_UIDS}"}
    assert _reasons(told) == _named(REFUSED | expected | {NO_DICOM: ""}, files)


def _each_by_its_hospital(
    gateway: GatewayProcess, door: str, files: Sequence[RealFile]
) -> Iterator[tuple[Partner, list[RealFile]]]:
    """Different files of one SOP Instance UID are sent by different hospitals: for one, they would be in conflict."""
    shares: dict[int, list[RealFile]] = defaultdict(list)
    seen = Counter[str]()
    for file in files:
        shares[seen[file.sop_instance_uid]].append(file)
        seen[file.sop_instance_uid] += 1
    hospitals = [
        Partner(f"files-{door}-{number}", "Files", f"{door.upper()}_{number}", gateway.base_url)
        for number in shares
    ]
    _register(gateway, hospitals)
    return zip(hospitals, shares.values(), strict=True)


def _register(gateway: GatewayProcess, hospitals: Sequence[Partner]) -> None:
    """All at once, where an operator has one command for each."""
    services = build_services(Config(data_dir=gateway.data_dir))
    with services.database.transaction() as session:
        for hospital in hospitals:
            entity = ApplicationEntity(hospital.ae_title)
            registration = Registration(
                hospital.id, hospital.name, jwks=hospital.jwks(), application_entities=(entity,)
            )
            partners.add(session, registration)


def _stow(pacs: Pacs, sent: Sequence[RealFile]) -> dict[str, str]:
    """Store all in one request; returns the warnings by the files' names."""
    answer = pacs.store(*(file.content for file in sent))
    stored = items(answer, STORED)
    assert items(answer, FAILED) == []
    assert [value(item, "00081155") for item in stored] == [file.sop_instance_uid for file in sent]
    return {file.name: value(item, WORDS) for file, item in zip(sent, stored, strict=True) if WORDS in item}


def _given(pacs: Pacs, files: Sequence[RealFile]) -> Iterator[bytes]:
    """Every instance of the files' studies, by WADO-RS."""
    for study in dict.fromkeys(file.study_instance_uid for file in files):
        answer = pacs.get(f"/studies/{study}", AS_STORED)
        assert answer.status_code == 200, (study, answer.text[:500])
        yield from (content for _, content in parts_of(answer))


def _data_set_of(file: bytes) -> bytes:
    """Behind group 0002, whose length is its first element (PS3.10 7.1)."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


def _reasons(told: dict[str, str]) -> dict[str, str]:
    """The reason that stands in the words, by file; an Error Comment (0000,0902) has room for its beginning only."""
    known = [*REFUSED, *DAMAGED, *REMARKED]
    return {
        name: next((reason for reason in known if reason[:_ROOM] in words), words)
        for name, words in told.items()
    }


def _named(table: dict[str, str], files: Sequence[RealFile]) -> dict[str, str]:
    """The table turned round, for those of its files that are here."""
    here = {file.name for file in files}
    return {name: reason for reason, names in table.items() for name in names.split() if name in here}
