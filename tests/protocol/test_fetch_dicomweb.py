"""Fetching from a partner's DICOMweb: a real Orthanc, and a middleman that counts what is asked and may lie."""

from collections.abc import Iterator

import pytest

from tests.support.fetching import Gateway, Imaging, gateway_by_hand
from tests.support.middleman import Middleman
from tests.support.orthanc import Orthanc


@pytest.fixture(scope="module")
def middleman_of_module(orthanc: Orthanc) -> Iterator[Middleman]:
    with Middleman(orthanc.dicomweb_url) as middleman:
        yield middleman


@pytest.fixture
def archive(middleman_of_module: Middleman) -> Middleman:
    middleman_of_module.forget()
    return middleman_of_module


@pytest.fixture(scope="module")
def gateway_of_module(
    tmp_path_factory: pytest.TempPathFactory, middleman_of_module: Middleman
) -> Iterator[Gateway]:
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
