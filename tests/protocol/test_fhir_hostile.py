"""Hostile and broken input by every FHIR door that takes a body, and by GET: an answer in words, and nothing else."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import requests

from tests.support.bundles import (
    FHIR_JSON,
    FhirClient,
    document_reference,
    issues,
    patient,
    referral,
    wait_for,
)
from tests.support.gateway_process import GatewayProcess
from tests.support.hostile_fhir import BODIES, SECRET, XML_BODIES, Hostile, as_message, as_transaction, child
from tests.support.partner import Partner

DOORS = {
    "": as_transaction,
    "/$check": as_transaction,
    "/$process-message": as_message,
    "/Patient/$validate": lambda: json.dumps(child()),
    "/Patient": lambda: json.dumps(child() | {"active": "neither"}),
}
"""What would be sound at each; where it would be kept, it has another fault beside, so that nothing is."""
_INNARDS = (
    "Traceback",
    'File "',
    "Error:",
    "Exception",
    "sqlalchemy",
    "pydantic",
    "gateway/",
    "site-packages",
)


@pytest.fixture(scope="module")
def ehr(gateway: GatewayProcess, partner: Partner) -> FhirClient:
    return FhirClient(gateway, partner)


@pytest.fixture(scope="module", autouse=True)
def well_afterwards(gateway: GatewayProcess) -> Iterator[None]:
    """Nothing of all this is in the log, and the gateway is as well as before."""
    yield
    assert gateway.readiness()[0] == 200
    assert SECRET not in gateway.log_text
    assert "fhir request failed" not in gateway.log_text


def is_told(answer: requests.Response, words: str = "") -> None:
    """An outcome in plain words, without what was sent and without anything of how the gateway is made."""
    assert answer.status_code < 500, answer.text[:2000]
    assert SECRET not in told_of_faults(answer)
    assert not [word for word in _INNARDS if word in answer.text], answer.text[:2000]
    assert len(answer.content) < 5_000_000
    assert "OperationOutcome" in answer.text
    assert words in answer.text, answer.text[:2000]


def told_of_faults(answer: requests.Response) -> str:
    """The answer, but for the Task by which a message that was taken is answered: it is the child's."""
    if answer.status_code != 200 or '"message"' not in answer.text:
        return answer.text
    entries = [entry["resource"] for entry in answer.json()["entry"]]
    return json.dumps([resource for resource in entries if resource["resourceType"] != "Task"])


PAIRS = [
    pytest.param(hostile, door, id=f"{hostile} {door}")
    for at, hostile in enumerate(BODIES)
    for door in DOORS
    if door != "/Patient" or at % 3 == 0  # it reads as the others do
]


@pytest.mark.parametrize(("hostile", "door"), PAIRS)
def test_a_hostile_body_gets_an_answer_in_words(ehr: FhirClient, door: str, hostile: Hostile) -> None:
    answer = requests.post(
        f"{ehr.base}{door}",
        data=hostile.body(DOORS[door]()),
        headers=ehr.partner.headers() | hostile.headers,
        timeout=60,
    )
    is_read = hostile not in XML_BODIES or door.startswith("/Patient")  # which is no Bundle either
    is_told(answer, hostile.words if is_read else "")
    if answer.status_code == 200:  # a message is kept with its faults where it can be attributed
        assert door in ("/Patient/$validate", "/$process-message")
    else:
        assert answer.status_code in (400, 413, 415)


@pytest.mark.parametrize("door", ["", "/$check", "/$process-message", "/Bundle/$validate"])
def test_a_million_entries_are_refused_at_once(ehr: FhirClient, door: str) -> None:
    kind = b"message" if "message" in door else b"transaction"
    body = b'{"resourceType":"Bundle","type":"%s","entry":[%s]}' % (kind, b",".join([b"{}"] * 1_000_000))
    is_told(ehr.post(body, path=door), "more than 5000 entries")


def test_a_body_that_stops_half_way_is_not_waited_for_and_nothing_of_it_is_taken(
    gateway: GatewayProcess, ehr: FhirClient
) -> None:
    mrn = uuid4().hex[:10]
    body = json.dumps(patient(mrn)).encode()
    for path in ("/fhir/Patient", "/fhir/$check", "/fhir/Patient/$validate", "/fhir/$process-message"):
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FHIR_JSON}\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: {ehr.partner.headers()['Authorization']}\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", gateway.http_port), timeout=20) as line:
            line.sendall(head.encode() + body[:-5])
    assert ehr.get(f"Patient?identifier={mrn}").json()["total"] == 0


VALUES = [
    "%00", "%ED%A0%80", "%ff%fe", "a" * 4000, "'%20OR%201=1--", "|", "|||", "ge9999999999", "eq0000-00-00", "1e400",
    "-1", "9" * 40, "NaN", "%5C", ",,,,", "a$b", "*", "../../etc/passwd", "file:///etc/passwd", "http://[::1",
    "http://169.254.169.254/latest", "Patient/", "%F0%9F%98%80", "2018-02-30", "ap2018-01-01T00:00:00.999999999Z",
    "le9999-12-31T23:59:59%2B14:00", "%0d%0aX:%20y", "{}", "%25s", "a," * 1500,
]  # fmt: skip
ADDRESSES = [
    *(
        f"Patient?{name}="
        for name in (
            "_id", "_lastUpdated", "identifier", "name", "birthdate", "_count", "_sort", "_include", "_revinclude",
            "_elements", "_summary", "_total", "_page", "_format", "_filter",
            "_has:Observation:patient:code",
            "general-practitioner.name", "name:contains", "identifier:of-type", "_id:above", "x" * 2000,
            "", ":", "name:",
        )
    ),
    "Patient/", "Patient/x/_history/", "Patient/_history?_since=", "Patient/_history?_at=", "Patient/_history?_page=",
    "Observation?value-quantity=", "Observation?date=", "Task?owner=", "ImagingStudy?started=", "Binary?_id=",
    "Patient/x/$everything?_since=", "metadata?_format=", "", "$",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_hostile_values_in_an_address_get_an_answer(ehr: FhirClient, address: str) -> None:
    with requests.Session() as line:
        for value in VALUES[ADDRESSES.index(address) % 4 :: 4]:  # each value at a fourth of the addresses
            url = f"{ehr.base}/{quote(address, safe=':/?=$._-')}{value}"
            answer = line.get(url, headers=ehr.partner.headers(), timeout=20)
            assert answer.status_code in (200, 400, 404, 405, 406), (url, answer.text)
            assert not [word for word in _INNARDS if word in answer.text], answer.text[:2000]


class Listener:
    """A server of the inner network: counts who connects."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)


@pytest.fixture
def inner_server() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def leading_there(url: str) -> dict[str, Any]:
    """A referral in which everything that may hold an address leads to one place."""
    extension = [{"url": url, "valueUrl": url}]
    letter = document_reference(None, extension=extension)
    sent = referral(letter=letter)
    child_, practitioner, request, document = (entry["resource"] for entry in sent["entry"])
    child_ |= {
        "meta": {"profile": [f"{url}/profile"], "source": url},
        "implicitRules": url,
        "photo": [{"contentType": "image/png", "url": f"{url}/photo.png"}],
        "managingOrganization": {"reference": f"{url}/Organization/1"},
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><img src="{url}/x.png" alt="x"/></div>',
        },
    }
    practitioner["photo"] = [{"url": f"{url}/photo.png"}]
    request |= {
        "supportingInfo": [{"reference": f"{url}/Observation/1"}],
        "instantiatesUri": [url],
        "insurance": [{"reference": f"{url}/Coverage/1"}],
    }
    document["content"][0]["attachment"] |= {"url": f"{url}/letter.pdf"}
    document["content"].append(
        {"attachment": {"contentType": "application/pdf", "url": "file:///etc/passwd"}}
    )
    return sent


def test_no_address_in_what_is_sent_is_ever_followed(
    gateway: GatewayProcess, ehr: FhirClient, inner_server: Listener
) -> None:
    url = f"http://127.0.0.1:{inner_server.port}/fhir"
    sent = leading_there(url)
    assert ehr.post(sent, path="/$check").status_code == 200
    answer = ehr.post(sent)
    assert answer.status_code == 200, answer.text
    for entry in sent["entry"]:
        kind = entry["resource"]["resourceType"]
        assert ehr.post(entry["resource"], path=f"/{kind}/$validate").status_code == 200
    task = answer.headers["Location"].split("/fhir/")[1]
    wait_for(lambda: ehr.get(task).json().get("note"))  # the case was looked at: what is missing is told
    document = ehr.get(f"{answer.json()['entry'][3]['response']['location'].split('/_history')[0]}")
    assert document.json()["content"][0]["attachment"]["url"] == f"{url}/letter.pdf"
    bodies = (
        f'<!DOCTYPE Patient SYSTEM "{url}/x.dtd"><Patient xmlns="http://hl7.org/fhir"/>',
        f'<?xml-stylesheet href="{url}/x.xsl"?><Patient xmlns="http://hl7.org/fhir"/>',
        '<Patient xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="http://hl7.org/fhir {url}/x.xsd"/>',
    )
    for body in bodies:
        ehr.post(body.encode(), path="/Patient/$validate", **{"Content-Type": "application/fhir+xml"})
    assert inner_server.connections == 0
    with socket.create_connection(("127.0.0.1", inner_server.port), timeout=5):
        wait_for(lambda: inner_server.connections == 1)  # it would have been seen


def test_a_flood_of_faults_is_answered_by_the_gravest_and_their_number(ehr: FhirClient) -> None:
    sent = referral()
    sent["entry"][0]["resource"]["contact"] = [{"wrong": 1}] * 20_000
    answer = ehr.post(sent)
    assert answer.status_code == 400
    assert len(answer.content) < 1_000_000
    assert any("1000 faults and more" in words for _, words in issues(answer))
