"""STOW-RS (PS3.18 10.5): every instance is stored, or fails, alone, and the sender is told which and why."""

import gzip
import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mappings.native_xml import from_xml
from tests.support.dicom_files import BOUNDARY, encode, make_dataset, make_file, multipart, related
from tests.support.dicomweb import FAILED, STORED, Pacs, instance_path, items, value, values
from tests.support.dimse import Archive
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

LIMIT_BYTES = 200_000
OTHERS = "0008119A"


@pytest.fixture
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.fixture(scope="module")
def small_gateway() -> Iterator[GatewayProcess]:
    """Takes little at once."""
    with GatewayProcess(environment={"GATEWAY_MAX_STOW_BYTES": str(LIMIT_BYTES)}) as process:
        process.add_partner("hospital-a")
        yield process


def test_all_instances_of_a_body_are_stored(pacs):
    study = generate_uid()
    datasets = [make_dataset(StudyInstanceUID=study, InstanceNumber=number) for number in (1, 2, 3)]
    answer = pacs.store(*map(encode, datasets))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID for ds in datasets]
    assert FAILED not in answer.json()
    assert value(answer.json(), "00081190") == f"{pacs.url}/studies/{study}"


def test_the_retrieve_url_of_each_instance_works(pacs):
    file = make_file()
    (stored,) = items(pacs.store(file), STORED)
    answer = requests.get(
        value(stored, "00081190"), headers=pacs.partner.headers(Accept="application/dicom"), timeout=20
    )
    assert answer.content == file


def test_one_instance_is_taken_without_multipart(pacs):
    answer = pacs.post(make_file(), "application/dicom")
    assert answer.status_code == 200
    assert len(items(answer, STORED)) == 1


def test_a_chunked_body_is_taken(pacs):
    body = multipart([make_file(PixelData=bytes(300_000)) for _ in range(3)])
    answer = pacs.post(body[start : start + 8000] for start in range(0, len(body), 8000))
    assert answer.status_code == 200
    assert len(items(answer, STORED)) == 3


@pytest.mark.parametrize("headers", ["", 'Content-Disposition: form-data; name="file"', "Content-ID: <1>"])
def test_parts_need_no_particular_header(pacs, headers):
    body = (
        multipart([make_file()], headers)
        if headers
        else multipart([make_file()], "X: y").replace(b"X: y\r\n", b"")
    )
    assert pacs.post(body).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
        f"Multipart/Related; Boundary={BOUNDARY}; Type=application/dicom",
        f'multipart/related; boundary="{BOUNDARY}"',
    ],
)
def test_the_content_type_may_be_written_in_any_way(pacs, content_type):
    assert pacs.post(multipart([make_file()]), content_type).status_code == 200


def test_dicomweb_client_stores(pacs):
    datasets = [make_dataset(), make_dataset()]
    for ds in datasets:
        encode(ds)
    told = pacs.client().store_instances(datasets)
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSOPSequence] == [
        ds.SOPInstanceUID for ds in datasets
    ]


def test_the_same_instance_again_is_stored_again_with_success(pacs):
    ds = make_dataset()
    for _ in range(2):
        answer = pacs.store(encode(ds))
        assert answer.status_code == 200
        assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID]
    assert len(pacs.get(f"/studies/{ds.StudyInstanceUID}/instances").json()) == 1


def test_other_content_under_the_same_uid_is_kept_with_a_warning_and_the_first_stays(pacs):
    ds = make_dataset()
    first = encode(ds)
    pacs.store(first)
    ds.PatientName = "Anderes^Kind"
    answer = pacs.store(encode(ds))
    assert answer.status_code == 202
    assert values(items(answer, STORED), "00081196") == [0xB00E]
    assert "both are kept" in answer.headers["Warning"]
    assert pacs.get(instance_path(ds), "application/dicom").content == first


def test_the_good_instances_are_stored_when_one_part_is_no_dicom(pacs):
    first, last = make_dataset(), make_dataset()
    answer = pacs.store(encode(first), b"%PDF-1.7 this is a letter", encode(last))
    assert answer.status_code == 202
    assert values(items(answer, STORED), "00081155") == [first.SOPInstanceUID, last.SOPInstanceUID]
    assert FAILED not in answer.json()  # it can name no instance
    (other,) = items(answer, OTHERS)
    assert value(other, "00081197") == 0xC000
    assert value(other, "0040A160").startswith("Part 2: This is not a DICOM file")
    assert "Part 2: This is not a DICOM file" in answer.headers["Warning"]
    assert pacs.get(instance_path(last), "application/dicom").status_code == 200


def test_a_file_without_its_end_is_stored_with_a_warning(pacs):
    ds = make_dataset()
    file = encode(ds)[:-5]
    for _ in range(2):  # sent again it is the same, and no better
        answer = pacs.store(file)
        assert answer.status_code == 202
        (stored,) = items(answer, STORED)
        assert (value(stored, "00081155"), value(stored, "00081196")) == (ds.SOPInstanceUID, 0xB007)
        assert "element (7FE0,0010) needs 16 bytes from byte" in value(stored, "0040A160")
        assert "It is stored, and it is damaged." in answer.headers["Warning"]
    assert pacs.get(instance_path(ds), "application/dicom").content == file


def garbled(ds: Dataset) -> bytes:
    """A file whose Patient's Name is in Latin 1, and says UTF-8."""
    ds.PatientName, ds.SpecificCharacterSet = "M\u00fcller^Mira", "ISO_IR 192"
    return encode(ds).replace("M\u00fcller^Mira ".encode()[:-1], b"M\xfcller^Mira ")


def odd_vr(ds: Dataset) -> bytes:
    return encode(ds).replace(b"\x28\x00\x02\x01US", b"\x28\x00\x02\x01QQ")


def other_meta(ds: Dataset) -> bytes:
    uid = str(ds.SOPInstanceUID).encode()
    return encode(ds).replace(uid, uid[:-1] + (b"1" if uid[-1:] != b"1" else b"2"), 1)


def odd_uid(ds: Dataset) -> bytes:
    ds.StudyInstanceUID = f"{ds.StudyInstanceUID[:40]}.01"
    return encode(ds)


@pytest.mark.parametrize(
    ("write", "words", "is_found"),
    [
        (garbled, "It is stored, and it is damaged. Text may be shown wrongly: (0010,0010)", True),
        (odd_vr, "(0028,0102) has the VR QQ, which PS3.5 6.2 does not have.", True),
        (other_meta, "It is stored. The file meta information names another instance (0002,0003)", False),
        (odd_uid, "It is stored. StudyInstanceUID (0020,000D) is kept as it is spelt", False),
        (lambda ds: encode(ds)[128:], "It is stored. The file begins with DICM", False),
    ],
)
def test_what_breaks_a_rule_is_stored_byte_for_byte_with_a_warning(gateway, pacs, write, words, is_found):
    ds = make_dataset()
    file = write(ds)
    answer = pacs.store(file)
    assert answer.status_code == 202
    (stored,) = items(answer, STORED)
    assert (value(stored, "00081155"), value(stored, "00081196")) == (ds.SOPInstanceUID, 0xB007)
    assert words in value(stored, "0040A160")
    assert pacs.get(instance_path(ds), "application/dicom; transfer-syntax=*").content == file
    assert bool(Archive(gateway).instance(ds.SOPInstanceUID).row.fault) is is_found
    for resource in ("metadata", "rendered"):
        assert pacs.get(f"{instance_path(ds)}/{resource}").status_code == 200


def test_a_file_that_breaks_before_its_series_is_known_is_refused_with_the_place(pacs):
    ds = make_dataset()
    file = encode(ds)
    cut = file.index(b"\x20\x00\x0e\x00UI") + 20
    answer = pacs.store(file[:cut])
    assert answer.status_code == 409
    (failed,) = items(answer, FAILED)
    assert (value(failed, "00081155"), value(failed, "00081197")) == (ds.SOPInstanceUID, 0xC000)
    assert "ends early: element (0020,000E) needs" in value(failed, "0040A160")
    assert STORED not in answer.json()
    assert pacs.get(instance_path(ds)).status_code == 404


def test_an_instance_of_another_study_than_the_addressed_is_refused(pacs):
    right, wrong = make_dataset(), make_dataset()
    answer = pacs.store(encode(right), encode(wrong), study=right.StudyInstanceUID)
    assert answer.status_code == 202
    assert values(items(answer, STORED), "00081155") == [right.SOPInstanceUID]
    (failed,) = items(answer, FAILED)
    assert (value(failed, "00081155"), value(failed, "00081197")) == (wrong.SOPInstanceUID, 0xA900)
    assert pacs.get(instance_path(wrong)).status_code == 404


def test_nothing_stored_is_a_conflict(pacs):
    answer = pacs.store(b"no dicom", make_file(SeriesInstanceUID=None))
    assert answer.status_code == 409
    assert (len(items(answer, FAILED)), len(items(answer, OTHERS))) == (1, 1)
    assert STORED not in answer.json()


def why_broken(answer) -> list[str]:
    """The words in the Other Failures Sequence; its items have the Failure Reason, too."""
    found = items(answer, OTHERS)
    assert values(found, "00081197") == [0xC000]
    return values(found, "0040A160")


def test_a_wrong_boundary_is_told(pacs):
    answer = pacs.post(multipart([make_file()]), related(boundary="another"))
    assert answer.status_code == 400
    assert "boundary that Content-Type gives does not stand in the body" in answer.headers["Warning"]
    assert why_broken(answer) == ["The boundary that Content-Type gives does not stand in the body."]


def test_a_missing_boundary_is_told(pacs):
    answer = pacs.post(multipart([make_file()]), 'multipart/related; type="application/dicom"')
    assert answer.status_code == 400
    assert "needs a boundary" in answer.headers["Warning"]


def test_what_is_complete_of_a_body_without_its_end_is_stored_and_reported(pacs):
    ds = make_dataset()
    answer = pacs.post(multipart([encode(ds), make_file()])[:-200])
    assert answer.status_code == 400
    assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID]
    assert "ends early, inside part 2" in answer.headers["Warning"]
    assert "ends early, inside part 2" in why_broken(answer)[0]


def test_what_is_complete_is_stored_when_the_connection_breaks(pacs):
    ds = make_dataset()
    body = multipart([encode(ds), make_file()])
    address = urlsplit(pacs.url)
    head = (
        f"POST {address.path}/studies HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: {related()}\r\nAuthorization: {pacs.partner.headers()['Authorization']}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), 20) as connection:
        connection.sendall(head.encode() + body[:-300])
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in connection.recv(200)
    assert pacs.get(instance_path(ds), "application/dicom").content == encode(ds)


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


@pytest.mark.parametrize("end", [b"fff\r\n", b"zz\r\n", b"3\r\nabcdef\r\n", b""])
def test_what_is_complete_of_a_chunked_body_is_stored_and_reported_when_it_breaks_off(pacs, end):
    ds = make_dataset()
    body = multipart([encode(ds), make_file()])
    address = urlsplit(pacs.url)
    head = (
        f"POST {address.path}/studies HTTP/1.1\r\nHost: {address.netloc}\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Type: {related()}\r\nAuthorization: {pacs.partner.headers()['Authorization']}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), 20) as connection:
        connection.sendall(head.encode() + chunk(body[:-900]) + chunk(body[-900:-300]) + end)
        connection.shutdown(socket.SHUT_WR)
        answer = HTTPResponse(connection)
        answer.begin()
        told = json.loads(answer.read())
    assert answer.status == 400
    assert values(told[STORED]["Value"], "00081155") == [ds.SOPInstanceUID]
    assert values(told[OTHERS]["Value"], "0040A160") == ["The body breaks off before its end."]
    assert pacs.get(instance_path(ds), "application/dicom").content == encode(ds)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ("X: " + "y" * 200_000, "has headers of more than 32768 bytes"),
        ("\r\n".join(f"X-{number}: y" for number in range(3000)), "has more than 256 headers"),
        ("no header", "has a header line without a name and a colon"),
    ],
)
def test_a_part_with_broken_headers_fails_alone_and_is_kept(gateway, pacs, headers, words):
    before, after = make_dataset(), make_dataset()
    lost = make_file()
    broken = multipart([lost], headers)
    end = f"--{BOUNDARY}--\r\n".encode()
    answer = pacs.post(
        multipart([encode(before)]).removesuffix(end) + broken.removesuffix(end) + multipart([encode(after)])
    )
    assert answer.status_code == 202
    assert values(items(answer, STORED), "00081155") == [before.SOPInstanceUID, after.SOPInstanceUID]
    assert values(items(answer, OTHERS), "0040A160") == [f"Part 2: The part {words}."]
    archive = Archive(gateway)
    kept = [archive.object(row.object_key) for row in archive.receipts("application/octet-stream", "refused")]
    assert f"{headers}\r\n\r\n".encode() + lost in kept


def test_delimiters_may_be_padded_and_the_headers_of_a_part_folded(pacs):
    body = multipart([make_file(), make_file()], "Content-Type: application/dicom;\r\n transfer-syntax=1.2")
    body = body.replace(f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY} \t\r\n".encode())
    answer = pacs.post(body)
    assert answer.status_code == 200, answer.text
    assert len(items(answer, STORED)) == 2


def test_a_part_before_a_last_delimiter_without_its_end_is_stored(pacs):
    ds = make_dataset()
    answer = pacs.post(multipart([encode(ds)]).removesuffix(b"--\r\n"))
    assert answer.status_code == 400
    assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID]
    assert "ends early, after part 1" in answer.headers["Warning"]


def test_one_instance_cut_off_at_an_element_is_not_stored_as_whole(pacs):
    """Without multipart, only Content-Length tells that something is missing."""
    ds = make_dataset()
    file = encode(ds)
    cut = file.rindex(b"\xe0\x7f\x10\x00OB")
    address = urlsplit(pacs.url)
    head = (
        f"POST {address.path}/studies HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(file)}\r\n"
        f"Content-Type: application/dicom\r\nAuthorization: {pacs.partner.headers()['Authorization']}\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), 20) as connection:
        connection.sendall(head.encode() + file[:cut])
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in connection.recv(200)
    assert pacs.get(instance_path(ds)).status_code == 404


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "",
        related("application/pdf"),
    ],
)
def test_another_media_type_is_refused(pacs, content_type):
    answer = pacs.post(multipart([make_file()]), content_type)
    assert answer.status_code == 415
    assert answer.json()["error"] == "UnsupportedMediaType"


def test_an_answer_that_is_not_written_here_is_refused_before_anything_is_stored(pacs):
    ds = make_dataset()
    answer = pacs.post(multipart([encode(ds)]), Accept="text/html")
    assert answer.status_code == 406
    assert "application/dicom+json" in answer.json()["detail"]
    assert pacs.get(instance_path(ds)).status_code == 404


@pytest.mark.parametrize(
    "accept", ["application/dicom+xml", "application/dicom+xml, application/dicom+json;q=0.9"]
)
def test_the_answer_is_xml_for_who_wants_that(pacs, accept):
    ds = make_dataset()
    answer = pacs.post(multipart([encode(ds), b"no dicom"]), Accept=accept)
    assert (answer.status_code, answer.headers["Content-Type"]) == (202, "application/dicom+xml")
    told = from_xml(answer.content)
    assert told[STORED]["Value"][0]["00081155"]["Value"] == [ds.SOPInstanceUID]
    assert told[OTHERS]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert pacs.post(multipart([encode(ds)]), Accept="application/dicom+xml;q=0.5, */*").json()


@pytest.mark.parametrize("members", [1, 3])
def test_a_body_in_gzip_is_taken(pacs, members):
    ds = make_dataset(PixelData=bytes(range(256)) * 400, Rows=320, Columns=320)
    body = multipart([encode(ds)])
    cuts = [len(body) * at // members for at in range(members + 1)]
    packed = b"".join(gzip.compress(body[start:end]) for start, end in pairwise(cuts))
    assert pacs.post(packed, **{"Content-Encoding": "gzip"}).status_code == 200
    assert pacs.get(instance_path(ds), "application/dicom").content == encode(ds)


def test_a_gzip_body_that_breaks_off_is_told_with_what_is_stored(pacs):
    ds = make_dataset()
    body = gzip.compress(multipart([encode(ds)])) + gzip.compress(b"more")[:-4]
    answer = pacs.post(body, **{"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID]
    assert why_broken(answer) == ["The gzip body breaks off before its end."]


def test_a_body_that_is_no_gzip_though_it_says_so_is_told(pacs):
    answer = pacs.post(multipart([make_file()]), **{"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    assert why_broken(answer) == ["The body says that it is gzip, and cannot be inflated."]


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip"])
def test_another_content_encoding_is_refused_with_what_is_taken(pacs, coding):
    ds = make_dataset()
    answer = pacs.post(multipart([encode(ds)]), **{"Content-Encoding": coding})
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "gzip, identity")
    assert "gzip is taken" in answer.json()["detail"]


def test_a_gzip_bomb_is_refused_before_it_has_gone_off(small_gateway):
    pacs = Pacs(small_gateway, small_gateway.partners["hospital-a"])
    bomb = gzip.compress(multipart([make_file(PixelData=bytes(50_000_000))]))
    assert len(bomb) < LIMIT_BYTES
    answer = pacs.post(bomb, **{"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert "inflates to more than is taken" in answer.headers["Warning"]


def test_a_body_over_the_limit_is_refused(small_gateway):
    pacs = Pacs(small_gateway, small_gateway.partners["hospital-a"])
    answer = pacs.store(make_file(PixelData=bytes(LIMIT_BYTES)))
    assert answer.status_code == 413
    assert str(LIMIT_BYTES) in answer.headers["Warning"]


def test_a_chunked_body_over_the_limit_is_refused_and_tells_what_was_stored(small_gateway):
    pacs = Pacs(small_gateway, small_gateway.partners["hospital-a"])
    ds = make_dataset()
    body = multipart([encode(ds), make_file(PixelData=bytes(LIMIT_BYTES))])
    answer = pacs.post(body[start : start + 8000] for start in range(0, len(body), 8000))
    assert answer.status_code == 413
    assert values(items(answer, STORED), "00081155") == [ds.SOPInstanceUID]


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Basic YTpi"])
def test_nobody_without_a_valid_token_stores(pacs, authorization):
    ds = make_dataset()
    headers = {"Content-Type": related()} | ({"Authorization": authorization} if authorization else {})
    answer = requests.post(f"{pacs.url}/studies", data=multipart([encode(ds)]), headers=headers, timeout=20)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert pacs.get(instance_path(ds)).status_code == 404


def test_a_token_without_the_scope_does_not_store(pacs):
    headers = pacs.partner.headers("system/ImagingStudy.rs") | {"Content-Type": related()}
    answer = requests.post(f"{pacs.url}/studies", data=multipart([make_file()]), headers=headers, timeout=20)
    assert answer.status_code == 403
    assert "system/ImagingStudy.c" in answer.json()["detail"]


def test_two_hospitals_with_the_same_uids_do_not_meet(gateway, pacs, other_partner):
    ds = make_dataset()
    pacs.store(encode(ds))
    ds.PatientName = "Anderes^Kind"
    theirs = encode(ds)
    other = Pacs(gateway, other_partner)
    assert other.store(theirs).status_code == 200
    assert other.get(instance_path(ds), "application/dicom").content == theirs
    assert pacs.get(instance_path(ds), "application/dicom").content != theirs
