"""Damaged and hostile files at every door: taken and found again byte for byte, or refused and kept; nothing else.

The promise is the same for STOW-RS and C-STORE. Success or a warning: the instance is found by a search, and given back
as its bytes came. A failure: it is not found, and its bytes are a refused receipt. Never an error of the gateway's own.
"""

import hashlib
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from sqlalchemy import select
from werkzeug.test import TestResponse

from gateway.app import create_app
from gateway.auth.accounts import demo_partner
from gateway.case.access import Origin
from gateway.case.fetching import InstanceAddress
from gateway.errors import GatewayError
from gateway.senders.bounded_session import Bounds
from gateway.senders.dicomweb import DicomWebSource, no_authorization
from gateway.services import Services
from gateway.store.objects import Spool, read_bytes
from gateway.store.tables import InstanceRow, ReceiptRow
from gateway.workflow import durable
from gateway.workflow.receive import receive_instance
from mappings.dicom_to_header import read_header
from mappings.native_xml import to_xml
from tests.support.any_value import put, standing
from tests.support.bundles import wait_for
from tests.support.dicom_files import BOUNDARY, make_file, make_undecodable, multipart, related
from tests.support.dicomweb import STORED, Pacs
from tests.support.dimse import Archive, RunningListener, association, listener_in_this_process, send_request
from tests.support.in_process import WebSite, migrated_services
from tests.support.metadata import to_json
from tests.support.mutations import few, mutated, mutations, whole_files, with_fresh_uid

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about what these tests break

INTERNAL_ERROR = 0x0110
OCTETS = "application/octet-stream"
STATUSES = {0x0000, 0xB007, 0xA900, 0xC000}


@dataclass
class Door:
    """STOW-RS in this process, and what it has in its rows and objects."""

    services: Services = field(repr=False)
    peer: FlaskClient = field(repr=False)

    def store(self, *files: bytes) -> TestResponse:
        return self.post(multipart(files), related())

    def post(self, body: bytes, content_type: str) -> TestResponse:
        base = self.services.config.base_url
        return self.peer.post("/dicom-web/studies", data=body, content_type=content_type, base_url=base)

    def get(self, path: str, accept: str = "") -> TestResponse:
        headers = {"Accept": accept} if accept else {}
        base = self.services.config.base_url
        return self.peer.get(path.removeprefix(base), headers=headers, base_url=base)

    def has_instance(self, sop_instance_uid: str, data_set: bytes) -> bool:
        query = select(InstanceRow.object_key, InstanceRow.dataset_offset).where(
            InstanceRow.sop_instance_uid == sop_instance_uid
        )
        with self.services.database.reading() as session:
            found = session.execute(query).all()
        return any(read_bytes(self.services.objects, key)[offset:] == data_set for key, offset in found)

    def has_receipt(self, content: bytes, state: str) -> bool:
        sha256 = hashlib.sha256(content).hexdigest()
        query = select(ReceiptRow.object_key).where(ReceiptRow.state == state, ReceiptRow.sha256 == sha256)
        with self.services.database.reading() as session:
            key = session.scalars(query).first()
        return key is not None and read_bytes(self.services.objects, key) == content

    def is_instance(self, content: bytes) -> bool:
        sha256 = hashlib.sha256(content).hexdigest()
        with self.services.database.reading() as session:
            return (
                session.scalars(select(InstanceRow.id).where(InstanceRow.sha256 == sha256)).first()
                is not None
            )


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    services = migrated_services(tmp_path_factory.mktemp("mutated"), dev=True)
    durable.migrate(services.config.sqlalchemy_url)
    yield Door(services, create_app(services).test_client())
    services.database.close()


class Files:
    def __init__(self, contents: tuple[bytes, ...]) -> None:
        self.contents = contents

    def draw(self, chosen: st.DataObject) -> bytes:
        """One of them under a UID of its own."""
        return with_fresh_uid(
            self.contents[chosen.draw(st.integers(0, len(self.contents) - 1), label="file")]
        )


@pytest.fixture(scope="module")
def files(shared_data: Path | None) -> Files:
    found = whole_files(shared_data)
    assert len(found) > 30
    return Files(found)


def damaged(chosen: st.DataObject, files: Files) -> bytes:
    whole = files.draw(chosen)
    return mutated(whole, chosen.draw(mutations()))


def value(item: dict[str, Any], tag: str) -> Any:
    return item.get(tag, {}).get("Value", [None])[0]


def told_of(answer: TestResponse | Any, good: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is told of the damaged part: as stored, and as failed. The other part is always stored."""
    assert answer.status_code in (200, 202), answer.text
    told = answer.json if isinstance(answer, TestResponse) else answer.json()
    stored = told[STORED]["Value"]
    assert len(stored) >= good
    failed = told.get("00081198", {}).get("Value", []) + told.get("0008119A", {}).get("Value", [])
    assert all(value(item, "00081197") != INTERNAL_ERROR for item in failed)
    assert all(value(item, "0040A160") for item in failed)
    return stored[:-good], failed


@few(120)
@given(chosen=st.data())
def test_stow_takes_a_damaged_file_and_gives_it_back_or_refuses_and_keeps_it(door, files, chosen):
    file = damaged(chosen, files)
    stored, failed = told_of(door.store(file, make_file()), good=1)
    assert len(stored) + len(failed) == 1
    if failed:
        assert door.has_receipt(file, "refused")
        assert not door.is_instance(file)
        return
    uid = value(stored[0], "00081155")
    assert door.has_instance(uid, file[read_header(BytesIO(file), "").dataset_offset :])
    is_first = value(stored[0], "00081196") != 0xB00E
    read_back(door, value(stored[0], "00081190"), uid, file if is_first else None)


def read_back(door: Door, address: str, uid: str, file: bytes | None) -> None:
    """Every reading door opens: the bytes are those that came, and what is made of them is never an error of ours."""
    whole = door.get(address, "application/dicom; transfer-syntax=*")
    assert whole.status_code == 200
    if file is not None and file.startswith(whole.data[:132]):
        assert whole.data == file
    metadata = door.get(f"{address}/metadata")
    assert metadata.status_code == 200
    assert isinstance(json.loads(metadata.data), list)
    found = door.get(f"/dicom-web/instances?SOPInstanceUID={uid}")
    assert found.status_code == 200
    assert [value(item, "00080018") for item in found.json] == [uid]
    for more in ("/bulkdata/7FE00010", "/frames/1", "/rendered", "/thumbnail"):
        answer = door.get(f"{address}{more}")
        assert answer.status_code < 500 or answer.status_code == 501, (more, answer.text)


@pytest.mark.parametrize("made", [make_file, make_undecodable], ids=["native", "encapsulated"])
def test_frames_that_only_the_header_tells_of_take_no_memory(door, made):
    stored, _ = told_of(door.store(made(NumberOfFrames=2_000_000), make_file()), good=1)
    address = value(stored[0], "00081190")
    tracemalloc.start()
    try:
        for more in ("/bulkdata/7FE00010", "/pixeldata", "/frames/1999999", "/rendered"):
            for accept in ("", OCTETS, f"{related(OCTETS).partition('; boundary')[0]}; transfer-syntax=*"):
                assert door.get(f"{address}{more}", accept).status_code in (200, 404, 406)
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


VALUES = (
    5, -1, 1.5, 10**30, True, None, "", "x", "1.2", "x" * 70_000, "\\", "\x00", "\ud800", [], {}, [[]], [{}], [None],
    ["a", 1], [1.5], [{"Alphabetic": 5}], {"vr": "SQ", "Value": [{}]}, {"vr": "OB", "InlineBinary": "AAA="},
    {"vr": "US", "BulkDataURI": "bulk/1"}, "SQ", "PN", "US", "DS", "UN", "AT", "FD", "UT", "ZZ",
)  # fmt: skip


@few(100)
@given(chosen=st.data())
def test_metadata_of_any_json_is_taken_or_refused_and_the_request_is_kept(door, files, chosen):
    ds = dcmread(BytesIO(files.draw(chosen)), force=True)
    metadata = json.loads(json.dumps(to_json(ds, lambda path: "bulk/1")))
    for _ in range(chosen.draw(st.integers(0, 4))):
        place = chosen.draw(st.sampled_from([("00100020",), *standing(metadata)]))
        metadata = put(metadata, place, chosen.draw(st.sampled_from(VALUES)))
    request_is_kept(door, chosen, "application/dicom+json", json.dumps([metadata]).encode())


@few(60)
@given(chosen=st.data())
def test_metadata_of_any_xml_is_taken_or_refused_and_the_request_is_kept(door, files, chosen):
    ds = dcmread(BytesIO(files.draw(chosen)), force=True)
    document = mutated(to_xml(to_json(ds, lambda path: "bulk/1")), chosen.draw(mutations()))
    request_is_kept(door, chosen, "application/dicom+xml", document)


def request_is_kept(door: Door, chosen: st.DataObject, kind: str, document: bytes) -> None:
    bulk = chosen.draw(
        st.sampled_from([b"pixels", b"", b"\xff\xd8\xff\xc0", b"\xff\x4f\xff\x51" + bytes(80)])
    )
    media_type = chosen.draw(st.sampled_from(["application/octet-stream", "image/jpeg", "image/jp2", "x/y"]))
    parts = [
        (f"Content-Type: {kind}", document),
        (f"Content-Type: {media_type}\r\nContent-Location: bulk/1", bulk),
    ]
    pieces = (f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts)
    body = b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()
    answer = door.post(body, related(kind))
    assert answer.status_code in (200, 202, 409), answer.text
    told = answer.json
    failed = told.get("00081198", {}).get("Value", []) + told.get("0008119A", {}).get("Value", [])
    assert all(value(item, "00081197") != INTERNAL_ERROR for item in failed), failed
    assert door.has_receipt(body, "refused" if failed else "kept")
    for item in told.get(STORED, {}).get("Value", []):
        assert door.get(f"{value(item, '00081190')}/metadata").status_code == 200


@dataclass
class Fetching:
    """Takes what an archive gives, as a fetch does; an error that nobody foresaw flies."""

    door: Door
    told: list[GatewayError] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)

    def goes_on(self) -> bool:
        return True

    def open_spool(self) -> Spool:
        return self.door.services.objects.spool()

    def take(self, address: InstanceAddress, spool: Spool) -> bool:
        partner, origin = demo_partner(self.door.services), Origin("wado-rs", "archive")
        with spool.reader() as file:
            self.taken.append(file.read())
        try:
            uid = address.sop_instance_uid
            receive_instance(self.door.services, partner, spool, origin, sop_instance_uid=uid)
        except GatewayError as error:
            self.told.append(error)
            return False
        return True

    def look_again(self) -> None:
        """Nothing comes by another door."""

    def refuse(self, _address: InstanceAddress, error: GatewayError) -> None:
        self.told.append(error)


@few(60)
@given(chosen=st.data(), in_parts=st.booleans())
def test_what_an_archive_gives_damaged_is_fetched_or_told_as_its_fault(
    door, files, archive, chosen, in_parts
):
    whole = files.draw(chosen)
    header = read_header(BytesIO(whole), "")
    body = mutated(multipart([whole]) if in_parts else whole, chosen.draw(mutations()))
    archive.body, archive.headers = body, {"Content-Type": related() if in_parts else "application/dicom"}
    fetching = Fetching(door)
    address = InstanceAddress(header.series_instance_uid, header.sop_instance_uid)
    with DicomWebSource(archive.url, no_authorization, Bounds(2**20, silence_seconds=5)) as source:
        source.retrieve(header.study_instance_uid, [address], fetching)
    assert len(fetching.told) + len(fetching.taken) >= 1
    for file in fetching.taken:
        assert door.is_instance(file) is not door.has_receipt(file, "refused")


@pytest.fixture(scope="module")
def archive() -> Iterator[WebSite]:
    with WebSite() as site:
        yield site


@few(12)
@given(chosen=st.data())
def test_a_running_gateway_answers_damaged_files_and_stays_well(gateway, partner, files, chosen):
    pacs = Pacs(gateway, partner)
    file, good = damaged(chosen, files), make_file()
    stored, failed = told_of(pacs.store(file, good), good=1)
    assert len(stored) + len(failed) == 1
    assert pacs.store(good).status_code == 200
    assert gateway.readiness()[0] == 200


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningListener]:
    with listener_in_this_process(tmp_path_factory.mktemp("mutated-dimse")) as running:
        yield running


SOP_CLASS = "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture(scope="module")
def scu(listener: RunningListener) -> Iterator[Association]:
    """One association for all: it must survive each of them."""
    with association(listener, [(SOP_CLASS, ExplicitVRLittleEndian)]) as assoc:
        yield assoc


@few(60)
@given(chosen=st.data())
def test_c_store_takes_a_damaged_data_set_and_keeps_it_or_refuses_and_keeps_it(listener, scu, files, chosen):
    archive = Archive(listener)
    whole = files.draw(chosen)
    header = read_header(BytesIO(whole), "")
    data_set = mutated(whole[header.dataset_offset :], chosen.draw(mutations())) or b"\0\0"
    status = send_data_set(scu, header.sop_instance_uid, data_set)
    assert status in STATUSES
    if status in (0x0000, 0xB007):
        wait_for(lambda: archive.instances(header.sop_instance_uid))  # its row may follow (ADR 27)
    kept = [one for one in archive.instances(header.sop_instance_uid) if one.dataset_bytes == data_set]
    refused = [row for row in archive.refused() if archive.object(row.object_key).endswith(data_set)]
    assert (len(kept), bool(refused)) == ((1, False) if status in (0x0000, 0xB007) else (0, True))


def send_data_set(assoc: Association, uid: str, data_set: bytes) -> int:
    """C-STORE bytes that no SCU would send."""
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = SOP_CLASS, uid
    request.DataSet = BytesIO(data_set)
    return send_request(assoc, request).status
