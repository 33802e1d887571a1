"""From where the gateway fetches: registered places only, as whom, and what there is by a search."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.auth import accounts
from gateway.workflow import fetch
from tests.support.authorization import CLIENT_ID, Authorization
from tests.support.certificate import self_signed
from tests.support.fetching import Gateway, Imaging, dicom, endpoint, gateway_by_hand, problems
from tests.support.fhir_receiver import Answer, FhirReceiver
from tests.support.in_process import WebSite
from tests.support.middleman import Middleman
from tests.support.orthanc import Orthanc

LOCATION = "1.2.826.0.1.3680043.9.7.77"


@pytest.fixture(scope="module")
def gateway_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway_by_hand(tmp_path_factory.mktemp("fetching")) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_of_module: Gateway, archive: Middleman) -> Gateway:
    gateway_of_module.register(
        archive.url, dicomweb_token_url="", dicomweb_client_id="", dicomweb_scopes=(), dicomweb_login=""
    )
    return gateway_of_module


@pytest.fixture
def imaging(orthanc: Orthanc) -> Imaging:
    made = Imaging(3)
    orthanc.upload(*made.files)
    return made


def other_spellings(url: str) -> list[str]:
    parts = urlsplit(url)
    port = parts.port
    return [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/dicom-web",
        f"https://127.0.0.1:{port}/dicom-web",
        f"http://localhost:{port}/dicom-web",
        f"http://127.0.0.1:{port}@evil.example/dicom-web",
        f"http://user@127.0.0.1:{port}/dicom-web",
        f"http://evil.example/?{url}",
        f"ftp://127.0.0.1:{port}/dicom-web",
        "file:///etc/passwd",
        "http://[::1",
        "http://127.0.0.1:99999/dicom-web",
        "wado",
    ]


@pytest.mark.parametrize("index", range(12))
def test_a_place_that_is_not_registered_is_never_asked(
    gateway: Gateway, archive: Middleman, imaging: Imaging, index: int
) -> None:
    named = other_spellings(archive.url)[index]
    fetch = gateway.fetched(imaging.referral(named))
    assert (fetch.state, fetch.problem, fetch.here, fetch.expected) == ("failed", "not-registered", 0, 3)
    assert archive.asked == []


def test_once_the_place_is_registered_a_person_has_it_fetched(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    gateway.register("https://other.example/dicom-web")
    case_id = gateway.send(imaging.referral(archive.url))
    case = gateway.work(case_id)
    assert case.fetches[0].state == "failed"
    [finding] = [f for f in case.open_findings if f.finding.check == "study-not-received"]
    assert "could not fetch it. The records name no place that is registered" in finding.finding.text
    gateway.register(archive.url)
    gateway.fetch_again(case_id)
    case = gateway.work(case_id)
    assert case.fetches[0].state == "complete"
    assert not [f for f in case.open_findings if f.finding.check == "study-not-received"]


@pytest.mark.parametrize("below", ["", "/", "/studies", "/studies/1.2.3/series/4.5", "/../other"])
def test_the_registered_address_is_asked_and_not_the_one_in_the_referral(
    gateway: Gateway, archive: Middleman, imaging: Imaging, below: str
) -> None:
    fetch = gateway.fetched(imaging.referral(archive.url + below))
    assert fetch.state == "complete"
    wanted = f"/dicom-web/studies/{imaging.study}/"
    assert all(path.startswith(wanted) for path in archive.asked)


def two_places(imaging: Imaging, first: Middleman, second: Middleman) -> dict[str, Any]:
    named = [endpoint(first.url, id="first"), endpoint(second.url, id="second")]
    references = [{"reference": "#first"}, {"reference": "#second"}]
    return imaging.referral("", listed=True, contained=named, endpoint=references)


def test_what_one_place_lacks_is_had_from_the_next(
    gateway: Gateway, archive: Middleman, orthanc: Orthanc, imaging: Imaging
) -> None:
    archive.instead = lambda path: Answer(404) if path.endswith(imaging.uids[1]) else None
    with Middleman(orthanc.dicomweb_url) as other:
        gateway.register(archive.url, other.url)
        fetch = gateway.fetched(two_places(imaging, archive, other))
        assert (fetch.state, fetch.here) == ("complete", 3)
        assert (archive.instances_asked(), other.instances_asked()) == (imaging.uids, [imaging.uids[1]])


def test_of_two_places_the_one_that_may_still_give_it_counts(
    gateway: Gateway, archive: Middleman, orthanc: Orthanc, imaging: Imaging
) -> None:
    """And that one gave another image is not forgotten because the next has none."""
    wrong, absent = imaging.uids[:2]
    with Middleman(orthanc.dicomweb_url) as other:
        gateway.register(archive.url, other.url)
        archive.instead = lambda path: (
            dicom(imaging.files[2])
            if path.endswith(wrong)
            else Answer(503)
            if path.endswith(absent)
            else None
        )
        other.instead = lambda path: Answer(404) if path.endswith((wrong, absent)) else None
        fetch = gateway.fetched(two_places(imaging, archive, other))
    assert (fetch.state, fetch.here) == ("pending", 1)
    assert problems(fetch) == {wrong: "mismatch", absent: "unreachable"}


def test_a_location_uid_stands_for_the_place_that_is_registered_with_it(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    gateway.register_located(archive.url, LOCATION)
    extension = {
        "url": "https://profiles.ihe.net/RAD/MADO/StructureDefinition/MadoRetrieveLocationUIDExtension",
        "valueString": f"urn:oid:{LOCATION}",
    }
    absent = {
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
        "valueCode": "not-applicable",
    }
    located = endpoint(
        "http://doesnotexist", id="wado", extension=[extension], _address={"extension": [absent]}
    )
    assert gateway.fetched(imaging.referral("", contained=[located])).state == "complete"


@pytest.mark.parametrize("code", ["ihe-xds", "hl7-fhir-rest", "dicom-wado-uri"])
def test_a_place_that_cannot_be_asked_is_told(
    gateway: Gateway, imaging: Imaging, archive: Middleman, code: str
) -> None:
    named = endpoint(archive.url, code, id="wado")
    fetch = gateway.fetched(imaging.referral("", contained=[named]))
    assert (fetch.state, fetch.problem) == ("failed", "not-registered")
    assert archive.asked == []


@pytest.mark.parametrize("more", [{"code": "ihe-iid"}, {"code": "dicom-stow-rs"}, {"status": "off"}])
def test_an_endpoint_that_gives_no_images_asks_for_no_fetching(
    gateway: Gateway, imaging: Imaging, archive: Middleman, more: dict[str, str]
) -> None:
    named = endpoint(archive.url, **({"id": "wado"} | more))
    case = gateway.work(gateway.send(imaging.referral("", contained=[named])))
    assert case.fetches == ()
    assert [f for f in case.open_findings if f.finding.check == "study-not-received"]


def test_a_study_that_says_nowhere_is_not_fetched(
    gateway: Gateway, imaging: Imaging, archive: Middleman
) -> None:
    case = gateway.work(gateway.send(imaging.referral("", contained=None, endpoint=None)))
    assert case.fetches == ()
    assert archive.asked == []


def test_a_hospital_that_is_disabled_is_not_asked(
    gateway: Gateway, imaging: Imaging, archive: Middleman
) -> None:
    case_id = gateway.send(imaging.referral(archive.url))
    with gateway.disabled():
        (fetch,) = gateway.work(case_id).fetches
    assert (fetch.state, fetch.problem) == ("failed", "disabled")
    assert archive.asked == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda gateway: accounts.disable_partner(gateway.services, gateway.partner.id), "disabled"),
        (lambda gateway: gateway.register("https://another.example/dicom-web"), "not-registered"),
    ],
)
def test_a_hospital_that_is_shut_out_in_the_middle_is_asked_no_more(
    gateway: Gateway,
    imaging: Imaging,
    archive: Middleman,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Gateway], None],
    problem: str,
) -> None:
    def at_the_second(path: str) -> None:
        if path.endswith(imaging.uids[1]):
            change(gateway)

    monkeypatch.setattr(fetch, "LOOK_SECONDS", -1.0)
    archive.instead = at_the_second
    case_id = gateway.send(imaging.referral(archive.url, listed=True))
    (stopped,) = gateway.work(case_id).fetches
    assert archive.instances_asked() == imaging.uids[:2]
    assert (stopped.state, stopped.here, stopped.problem) == ("failed", 1, problem)
    assert problems(stopped) == dict.fromkeys(imaging.uids[1:], problem)
    accounts.enable_partner(gateway.services, gateway.partner.id)
    archive.instead = lambda _path: None
    gateway.register(archive.url)
    gateway.fetch_again(case_id)
    (whole,) = gateway.work(case_id).fetches
    assert (whole.state, whole.here) == ("complete", len(imaging.uids))


def test_uids_that_would_lead_elsewhere_are_not_asked_for(gateway: Gateway, archive: Middleman) -> None:
    for uid in ("..", "1..2", ".1", "abc", "-"):
        imaging = Imaging(1)
        made = imaging.referral(archive.url, listed=True)
        study = made["entry"][-1]["resource"]
        study["series"][0]["instance"][0]["uid"] = uid
        study["series"][0]["uid"] = uid
        gateway.work(gateway.send(made))
    assert archive.instances_asked() == []


def token_server() -> FhirReceiver:
    """Its answers are told by the test."""
    return FhirReceiver(Authorization(jwks_url=""))


def test_a_token_is_got_where_the_operator_says_and_only_the_archive_sees_it(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    with token_server() as server:
        gateway.register(archive.url, dicomweb_token_url=server.token_url, dicomweb_client_id=CLIENT_ID)
        server.token_answers = [granted("first"), granted("second")]
        refusing = iter([Answer(401)])
        archive.instead = lambda _path: next(refusing, None)
        assert gateway.fetched(imaging.referral(archive.url)).state == "complete"
    sent = [headers.get("Authorization") for headers in archive.headers]
    assert sent == ["Bearer first", *["Bearer second"] * (len(sent) - 1)]


def granted(token: str) -> Answer:
    body = {"access_token": token, "token_type": "bearer", "expires_in": 300}
    return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def test_a_login_is_sent_by_http_basic(gateway: Gateway, archive: Middleman, imaging: Imaging) -> None:
    gateway.register(archive.url, dicomweb_login="gateway:s3cret")
    assert gateway.fetched(imaging.referral(archive.url, listed=True)).state == "complete"
    assert {h["Authorization"] for h in archive.headers} == {"Basic Z2F0ZXdheTpzM2NyZXQ="}


def test_without_credentials_none_are_sent(gateway: Gateway, archive: Middleman, imaging: Imaging) -> None:
    assert gateway.fetched(imaging.referral(archive.url)).state == "complete"
    assert not any("Authorization" in headers for headers in archive.headers)


def test_a_token_endpoint_that_refuses_is_told(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    with token_server() as server:
        gateway.register(archive.url, dicomweb_token_url=server.token_url, dicomweb_client_id=CLIENT_ID)
        server.token_answers = [Answer(400, b'{"error": "invalid_client"}')] * 2
        fetch = gateway.fetched(imaging.referral(archive.url))
    assert (fetch.state, fetch.problem) == ("failed", "refused")
    assert fetch.reason == "The token endpoint refused the gateway with 400 (invalid_client)."
    assert archive.asked == []


def page(imaging: Imaging, start: int, count: int) -> Answer:
    found: list[dict[str, Any]] = [
        {
            "0020000E": {"vr": "UI", "Value": [imaging.series]},
            "00080018": {"vr": "UI", "Value": [uid]},
        }
        for uid in imaging.uids[start : start + count]
    ]
    return Answer(200, json.dumps(found).encode(), {"Content-Type": "application/dicom+json"})


def test_a_search_is_read_page_by_page(gateway: Gateway, archive: Middleman, imaging: Imaging) -> None:
    def two_at_a_time(path: str) -> Answer | None:
        asked = parse_qs(urlsplit(path).query)
        return page(imaging, int(asked["offset"][0]), 2) if "offset" in asked else None

    archive.instead = two_at_a_time
    assert gateway.fetched(imaging.referral(archive.url)).state == "complete"
    assert archive.instances_asked() == imaging.uids


def test_a_server_that_passes_over_offset_is_not_searched_for_ever(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda path: page(imaging, 0, 3) if "offset" in path else None
    assert gateway.fetched(imaging.referral(archive.url)).state == "complete"
    assert len(archive.searches()) == 2


@pytest.mark.parametrize("status", [404, 501, 400])
def test_an_archive_without_search_tells_what_it_has_by_its_metadata(
    gateway: Gateway, archive: Middleman, imaging: Imaging, status: int
) -> None:
    archive.instead = lambda path: Answer(status) if "offset" in path else None
    assert gateway.fetched(imaging.referral(archive.url)).state == "complete"
    assert archive.instances_asked() == imaging.uids


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[1, 2]", b'{"a": 1}', b"[" * 100_000, b'[{"00080018": {"Value": [{}]}}]', b"null"]
)
def test_a_search_that_answers_nonsense_ends_in_a_state_that_says_so(
    gateway: Gateway, archive: Middleman, imaging: Imaging, body: bytes
) -> None:
    archive.instead = lambda _path: Answer(200, body, {"Content-Type": "application/dicom+json"})
    fetch = gateway.fetched(imaging.referral(archive.url))
    assert fetch.problem in ("refused", "not-there")


def test_a_certificate_that_is_not_trusted_is_not_accepted(
    gateway: Gateway, imaging: Imaging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, "localhost")
    with WebSite(certificate.context) as site:
        url = site.url.removesuffix("/jwks.json")
        gateway.register(url, dicomweb_login="gateway:s3cret")
        fetch = gateway.fetched(imaging.referral(url, listed=True))
        assert (fetch.state, fetch.problem, site.requests) == ("pending", "unreachable", 0)
        assert fetch.reason == "The archive could not be reached (SSLError)."
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
        site.status = 404
        assert gateway.fetched(Imaging(1).referral(url, listed=True)).problem == "not-there"
        assert site.requests == 1
