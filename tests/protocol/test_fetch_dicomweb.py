"""Fetching from a partner's DICOMweb: a real Orthanc, and a middleman that counts what is asked and may lie."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config import MIB
from tests.support.dicom_files import multipart, related
from tests.support.fetching import Gateway, Imaging, data_set, dicom, gateway_by_hand, problems
from tests.support.fhir_receiver import Answer
from tests.support.middleman import Middleman
from tests.support.orthanc import Orthanc


@pytest.fixture(scope="module")
def gateway_of_module(tmp_path_factory: pytest.TempPathFactory, middleman: Middleman) -> Iterator[Gateway]:
    with gateway_by_hand(tmp_path_factory.mktemp("fetching"), silence_seconds=2) as gateway:
        yield gateway


@pytest.fixture
def gateway(gateway_of_module: Gateway, archive: Middleman) -> Gateway:
    gateway_of_module.register(archive.url)
    return gateway_of_module


@pytest.fixture
def imaging(orthanc: Orthanc) -> Imaging:
    """In the archive."""
    made = Imaging()
    orthanc.upload(*made.files)
    return made


def test_a_study_is_fetched_whole_from_where_the_referral_says_that_it_is(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    case = gateway.work(gateway.send(imaging.referral(archive.url)))
    (fetch,) = case.fetches
    assert (fetch.state, fetch.expected, fetch.here, fetch.missing) == ("complete", 4, 4, ())
    (study,) = case.studies
    assert study.study_instance_uid == imaging.study
    assert {i.sop_instance_uid for s in study.series for i in s.instances} == set(imaging.uids)
    assert not [f for f in case.open_findings if f.finding.check == "study-not-received"]
    assert sorted(archive.instances_asked()) == sorted(imaging.uids)


def test_bytes_are_those_of_the_archive(
    gateway: Gateway, orthanc: Orthanc, archive: Middleman, imaging: Imaging
) -> None:
    gateway.fetched(imaging.referral(archive.url))
    for uid in imaging.uids:
        assert data_set(gateway.stored_file(uid)) == data_set(orthanc.file(uid))


def test_what_the_record_lists_is_asked_for_without_a_search(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    assert gateway.fetched(imaging.referral(archive.url, listed=True)).state == "complete"
    assert archive.searches() == []
    assert archive.instances_asked() == imaging.uids


def test_every_request_asks_for_the_encoding_that_is_stored(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    gateway.fetched(imaging.referral(archive.url, listed=True))
    accepted = {headers["Accept"] for headers in archive.headers}
    assert accepted == {'multipart/related; type="application/dicom"; transfer-syntax=*'}


def test_what_is_here_already_is_not_asked_for(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    gateway.store(*imaging.files[:3])
    assert gateway.fetched(imaging.referral(archive.url)).state == "complete"
    assert archive.instances_asked() == [imaging.uids[3]]


def test_a_study_that_came_otherwise_is_complete_and_nobody_is_asked(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    gateway.store(*imaging.files)
    assert gateway.fetched(imaging.referral(archive.url)).state == "complete"
    assert archive.asked == []


def test_after_a_break_only_what_is_missing_is_asked_for(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda path: Answer(503) if f"/{imaging.uids[2]}" in path else None
    case_id = gateway.send(imaging.referral(archive.url, listed=True))
    (broken,) = gateway.work(case_id).fetches
    assert (broken.state, broken.here, broken.expected, broken.problem) == ("pending", 3, 4, "unreachable")
    assert broken.reason == "The archive answered 503."
    assert broken.next_try_at is not None
    assert problems(broken) == {imaging.uids[2]: "unreachable"}
    archive.forget()
    (whole,) = gateway.work(case_id).fetches
    assert (whole.state, whole.here, whole.problem, whole.next_try_at) == ("complete", 4, None, None)
    assert archive.instances_asked() == [imaging.uids[2]]


def test_an_archive_that_is_away_is_not_asked_for_each_image(gateway: Gateway, archive: Middleman) -> None:
    imaging = Imaging(10)
    archive.instead = lambda _path: Answer(502)
    fetch = gateway.fetched(imaging.referral(archive.url, listed=True))
    assert (fetch.state, fetch.problem, len(fetch.missing)) == ("pending", "unreachable", 10)
    assert len(archive.asked) == 3


def test_one_image_that_the_archive_cannot_give_stops_no_other(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda path: Answer(500) if path.endswith(imaging.uids[0]) else None
    fetch = gateway.fetched(imaging.referral(archive.url, listed=True))
    assert (fetch.here, problems(fetch)) == (3, {imaging.uids[0]: "unreachable"})


def test_what_the_archive_lacks_is_waited_for_a_while_and_then_named(
    gateway: Gateway, orthanc: Orthanc, archive: Middleman, imaging: Imaging
) -> None:
    lacking = Imaging()
    orthanc.upload(*lacking.files[1:])
    case_id = gateway.send(lacking.referral(archive.url, listed=True))
    states = [gateway.work(case_id).fetches[0].state for _ in range(5)]
    assert states == ["pending"] * 4 + ["failed"]
    assert archive.instances_asked() == [*lacking.uids, *[lacking.uids[0]] * 4]
    (fetch,) = gateway.case(case_id).fetches
    assert (fetch.here, fetch.expected, problems(fetch)) == (3, 4, {lacking.uids[0]: "not-there"})
    [finding] = [f for f in gateway.case(case_id).open_findings if f.finding.check == "instances-missing"]
    assert finding.finding.text == (
        "The records say 4 images, and 3 have arrived. "
        "The gateway could not fetch it. The hospital's archive does not have it."
    )


def test_a_study_that_the_archive_does_not_know_is_told_as_absent(
    gateway: Gateway, archive: Middleman
) -> None:
    fetch = gateway.fetched(Imaging().referral(archive.url))
    assert (fetch.state, fetch.problem, fetch.here, fetch.expected) == ("pending", "not-there", 0, 4)


def test_an_archive_with_fewer_images_than_the_record_counts_is_not_complete(
    gateway: Gateway, orthanc: Orthanc, archive: Middleman
) -> None:
    imaging = Imaging()
    orthanc.upload(*imaging.files[:3])
    fetch = gateway.fetched(imaging.referral(archive.url))
    assert (fetch.state, fetch.problem, fetch.here, fetch.expected) == ("pending", "not-there", 3, 4)


def test_images_that_are_brought_by_somebody_else_end_the_fetching(
    gateway: Gateway, archive: Middleman
) -> None:
    imaging = Imaging()
    case_id = gateway.send(imaging.referral(archive.url, listed=True))
    assert gateway.work(case_id).fetches[0].state == "pending"
    gateway.store(*imaging.files)
    assert gateway.work(case_id).fetches[0].state == "complete"
    assert len(archive.instances_asked()) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 406, 451])
def test_a_refusal_waits_for_a_person_at_once(
    gateway: Gateway, archive: Middleman, imaging: Imaging, status: int
) -> None:
    archive.instead = lambda _path: Answer(status)
    fetch = gateway.fetched(imaging.referral(archive.url))
    assert (fetch.state, fetch.problem, fetch.next_try_at) == ("failed", "refused", None)
    assert fetch.reason == f"The archive refused with {status}."


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    gateway: Gateway, archive: Middleman, imaging: Imaging, status: int
) -> None:
    with Middleman("http://127.0.0.1:9") as elsewhere:
        archive.instead = lambda path: Answer(status, b"", {"Location": f"{elsewhere.url}{path}"})
        fetch = gateway.fetched(imaging.referral(archive.url))
        assert (fetch.state, fetch.problem) == ("failed", "refused")
        assert fetch.reason == f"The answer was a redirect ({status}), which is not followed."
        assert elsewhere.asked == []


def test_another_study_than_the_one_asked_for_is_refused_and_joins_nothing(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    other = Imaging()
    archive.instead = lambda path: dicom(other.files[0]) if "/instances/" in path else None
    case_id = gateway.send(imaging.referral(archive.url, listed=True))
    case = gateway.work(case_id, last=False)
    (fetch,) = case.fetches
    assert (fetch.state, fetch.problem, fetch.here) == ("failed", "mismatch", 0)
    assert set(problems(fetch).values()) == {"mismatch"}
    assert case.studies == case.held_studies == ()
    assert gateway.refused() == ["StudyMismatch"] * 4
    [finding] = [f for f in case.open_findings if f.finding.check == "study-not-received"]
    assert "What the hospital's archive gave is not what was asked for." in finding.finding.text


def test_another_instance_of_the_study_is_refused(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda path: dicom(imaging.files[3]) if "/instances/" in path else None
    fetch = gateway.fetched(imaging.referral(archive.url, listed=True))
    assert problems(fetch) == dict.fromkeys(imaging.uids[:3], "mismatch")
    assert (fetch.here, fetch.state) == (1, "failed")


def test_what_was_refused_is_not_asked_for_again_until_a_person_wants_it(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    first, second = imaging.uids[:2]

    def lie_and_fail(path: str) -> Answer | None:
        if path.endswith(first):
            return dicom(imaging.files[3])
        return Answer(503) if path.endswith(second) else None

    archive.instead = lie_and_fail
    case_id = gateway.send(imaging.referral(archive.url, listed=True))
    assert gateway.work(case_id).fetches[0].state == "pending"
    archive.forget()
    (failed,) = gateway.work(case_id).fetches
    assert archive.instances_asked() == [second]
    assert (failed.state, problems(failed)) == ("failed", {first: "mismatch"})
    gateway.fetch_again(case_id)
    (whole,) = gateway.work(case_id).fetches
    assert archive.instances_asked() == [second, first]
    assert whole.state == "complete"


def test_a_page_instead_of_an_image_is_refused(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda _path: Answer(200, b"<h1>Sign in</h1>", {"Content-Type": "text/html"})
    listed = gateway.fetched(imaging.referral(archive.url, listed=True))
    assert (listed.state, listed.problem) == ("failed", "refused")
    searched = gateway.fetched(Imaging().referral(archive.url))
    assert (searched.state, searched.problem) == ("failed", "refused")


@pytest.mark.parametrize("body", [b"", b"no DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_what_is_no_readable_instance_is_refused_and_kept(
    gateway: Gateway, archive: Middleman, imaging: Imaging, body: bytes
) -> None:
    archive.instead = lambda _path: dicom(body)
    fetch = gateway.fetched(imaging.referral(archive.url, listed=True))
    assert (fetch.state, set(problems(fetch).values())) == ("failed", {"unreadable"})
    assert gateway.refused()[:4] == ["NotDicom"] * 4


def test_an_image_cut_short_is_never_taken_for_a_whole_one(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    """By its announced length or the multipart's end; where neither tells, it is not taken."""
    whole = imaging.files[0]
    half, single = whole[: len(whole) // 2], {"Content-Type": "application/dicom"}
    cut = [
        Answer(200, half, single | {"Content-Length": str(len(whole))}),
        Answer(200, multipart([whole])[: len(half)], {"Content-Type": related()}),
        Answer(200, half, single | {"Content-Length": ""}),
    ]
    answers = iter(cut)
    archive.instead = lambda path: next(answers) if path.endswith(imaging.uids[0]) else None
    case_id = gateway.send(imaging.referral(archive.url, listed=True))
    told = []
    for _ in cut:
        (fetch,) = gateway.work(case_id).fetches
        told.append((fetch.state.value, problems(fetch)[imaging.uids[0]]))
    assert told == [("pending", "unreachable"), ("pending", "unreachable"), ("failed", "refused")]
    assert gateway.case(case_id).studies[0].instance_count == 3


@pytest.mark.timeout(60)
def test_an_archive_that_stalls_is_given_up_and_asked_later(
    gateway: Gateway, archive: Middleman, imaging: Imaging
) -> None:
    archive.instead = lambda path: (
        dicom(imaging.files[0], wait_seconds=4) if path.endswith(imaging.uids[0]) else None
    )
    fetch = gateway.fetched(imaging.referral(archive.url, listed=True))
    assert (fetch.state, fetch.here, problems(fetch)) == ("pending", 3, {imaging.uids[0]: "unreachable"})


@pytest.mark.timeout(60)
def test_an_archive_that_drips_is_given_up(gateway: Gateway, archive: Middleman, imaging: Imaging) -> None:
    archive.instead = lambda path: (
        dicom(imaging.files[0], drip=True) if path.endswith(imaging.uids[0]) else None
    )
    fetch = gateway.fetched(imaging.referral(archive.url, listed=True))
    assert (fetch.state, fetch.reason) == ("pending", "The answer came too slowly.")


def test_more_than_the_gateway_takes_is_cut_off(tmp_path: Path, archive: Middleman, imaging: Imaging) -> None:
    with gateway_by_hand(tmp_path, max_stow_bytes=100_000) as gateway:
        gateway.register(archive.url)
        endless = dicom(imaging.files[0] + b"\0" * 10_000_000)
        archive.instead = lambda path: endless if path.endswith(imaging.uids[0]) else None
        fetch = gateway.fetched(imaging.referral(archive.url, listed=True))
        assert (fetch.state, fetch.here, problems(fetch)) == ("failed", 3, {imaging.uids[0]: "too-large"})
        assert gateway.refused() == []


def test_a_study_of_another_child_is_held_and_joins_nothing(
    gateway: Gateway, orthanc: Orthanc, archive: Middleman, imaging: Imaging
) -> None:
    """The referral names it all the same: what the images say counts."""
    other = Imaging(2, PatientName="Else^Somebody", PatientBirthDate="20110101")
    orthanc.upload(*other.files)
    bundle = imaging.referral(archive.url)
    named = other.imaging_study(archive.url)({"patient": bundle["entry"][0]["fullUrl"]})
    bundle["entry"][-1]["resource"] = named
    case = gateway.work(gateway.send(bundle))
    assert case.fetches[0].state == "complete"
    assert case.studies == ()
    [held] = case.held_studies
    assert held.study.study_instance_uid == other.study
    assert [f.finding.check for f in case.blocking_findings] == ["study-held"]


@pytest.mark.parametrize("is_multipart", [False, True])
def test_an_image_is_never_held_in_memory(gateway: Gateway, archive: Middleman, is_multipart: bool) -> None:
    imaging = Imaging(1, PixelData=bytes(64 * MIB))
    whole = multipart(imaging.files) if is_multipart else imaging.files[0]
    headers = {"Content-Type": related() if is_multipart else "application/dicom"}
    archive.instead = lambda _path: Answer(200, whole, headers)
    case_id = gateway.send(imaging.referral(archive.url, listed=True))
    tracemalloc.start()
    gateway.work(case_id)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert gateway.case(case_id).fetches[0].here == 1
    assert peak < 16 * MIB
