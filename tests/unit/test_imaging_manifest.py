"""What should be had, and where: ImagingStudy and Endpoint, Key Object Selections, and what several words make."""

from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.case.expected import counted, listed, merged, progress
from gateway.case.model import ExpectedSeries, ExpectedStudy, ImagingPlace, Source
from gateway.errors import NotDicom
from mappings.fhir_bag import Bag, Sourced
from mappings.imaging_study import expected_study
from mappings.key_object_selection import studies_in_manifest
from tests.support.cases import SOURCE
from tests.support.dicom_files import make_file
from tests.support.fetching import Imaging, endpoint
from tests.support.manifests import key_objects

PACS = "https://pacs.hospital.example/dicom-web"


def sourced(reference: str, **content: Any) -> Sourced:
    kind, fhir_id = reference.split("/")
    return Sourced(
        {"resourceType": kind, "id": fhir_id} | content, Source("r", "0" * 64, "Bundle", reference=reference)
    )


def read(beside: tuple[Sourced, ...] = (), **content: Any) -> ExpectedStudy:
    uid = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}
    study = sourced("ImagingStudy/i", **({"identifier": [uid]} | content))
    return expected_study(study, Bag([study], beside), "urn:hospital")


HELD = sourced("Endpoint/e", **endpoint(PACS, identifier=[{"system": "urn:x", "value": "7"}]))


@pytest.mark.parametrize(
    ("named", "contained", "beside"),
    [
        ({"reference": "#e"}, [endpoint(PACS, id="e")], ()),
        ({"reference": "Endpoint/e"}, [], (HELD,)),
        ({"identifier": {"system": "urn:x", "value": "7"}}, [], (HELD,)),
    ],
)
def test_an_endpoint_is_found_however_it_is_named(
    named: dict[str, Any], contained: list[dict[str, Any]], beside: tuple[Sourced, ...]
) -> None:
    of_study = read(beside, contained=contained, endpoint=[named])
    of_series = read(beside, contained=contained, series=[{"uid": "1.2.3.1", "endpoint": [named]}])
    assert of_study.places == of_series.places == (ImagingPlace(url=PACS),)


@pytest.mark.parametrize(
    "named",
    [
        {"reference": "#nobody"},
        {"reference": "https://other.example/fhir/Endpoint/1"},
        {"identifier": {"value": ""}},
        {"identifier": 3},
        {"display": "our PACS"},
        "Endpoint/e",
        None,
    ],
)
def test_an_endpoint_that_is_not_in_the_records_is_no_place(named: Any) -> None:
    assert read((HELD,), endpoint=[named]).places == ()


def test_an_endpoint_in_the_form_of_r5_is_read() -> None:
    concepts = [{"coding": [{"code": "dicom-qido-rs"}]}, {"coding": [{"code": "dicom-wado-rs"}]}]
    made = endpoint(PACS, id="e") | {"connectionType": concepts}
    assert read(contained=[made], endpoint=[{"reference": "#e"}]).places == (ImagingPlace(url=PACS),)


@pytest.mark.parametrize("broken", [None, 5, [], {}, [{"coding": 3}], "dicom-wado-rs"])
def test_an_endpoint_without_a_type_that_can_be_read_is_no_place(broken: Any) -> None:
    made = endpoint(PACS, id="e") | {"connectionType": broken}
    assert read(contained=[made], endpoint=[{"reference": "#e"}]).places == ()


@pytest.mark.parametrize(("value", "read_as"), [("urn:oid:1.2.3", "1.2.3"), ("1.2.3", "1.2.3"), ("", "")])
def test_a_study_uid_may_lack_its_prefix_as_in_mado(value: str, read_as: str) -> None:
    found = read(identifier=[{"system": "urn:dicom:uid", "value": value}])
    assert found.study_instance_uid == read_as


def test_the_accession_number_of_the_order_is_read() -> None:
    order = {"identifier": {"type": {"coding": [{"code": "ACSN"}]}, "value": "A-1"}}
    accession = read(basedOn=[order]).accession
    assert accession is not None
    assert (accession.value, accession.issuer) == ("A-1", "urn:hospital")


def objects(**how: Any) -> tuple[ExpectedStudy, ...]:
    return studies_in_manifest(BytesIO(key_objects(Imaging(3), **how)), SOURCE)


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ({"RetrieveURL": f"{PACS}/studies/1.2.3"}, (ImagingPlace(url=f"{PACS}/studies/1.2.3"),)),
        ({"RetrieveLocationUID": "1.2.9"}, (ImagingPlace(location_uid="1.2.9"),)),
        (
            {"RetrieveAETitle": ["PACS_A", "PACS_B"]},
            (ImagingPlace(ae_title="PACS_A"), ImagingPlace(ae_title="PACS_B")),
        ),
        ({}, ()),
    ],
)
def test_each_way_to_name_a_place_in_key_objects_is_read(
    place: dict[str, Any], found: tuple[ImagingPlace, ...]
) -> None:
    [study] = objects(place=place)
    assert study.places == found
    assert (study.series_count, study.instance_count) == (1, 3)
    assert len(listed(study)) == 3


def test_a_manifest_that_is_broken_is_no_dicom_and_another_file_is_no_manifest() -> None:
    whole = key_objects(Imaging(3))
    with pytest.raises(NotDicom):
        studies_in_manifest(BytesIO(whole[:-40]), SOURCE)
    assert studies_in_manifest(BytesIO(make_file()), SOURCE) == ()


STUDY = ExpectedStudy("1.2.3", None, "", None, None, (), SOURCE)
FIRST = ExpectedSeries("1.2.3.1", "CT", 2, ("1.2.3.1.1", "1.2.3.1.2"))


def test_several_words_on_one_study_are_one() -> None:
    one = replace(STUDY, description="CT", series=(replace(FIRST, sop_instance_uids=()),))
    other = replace(STUDY, instance_count=2, series=(FIRST,), places=(ImagingPlace(url=PACS),))
    elsewhere = replace(STUDY, study_instance_uid="1.2.4")
    nameless = replace(STUDY, study_instance_uid="")
    found = merged([one, nameless, other, elsewhere, nameless, other])
    assert found == (replace(other, description="CT"), nameless, elsewhere, nameless)


@pytest.mark.parametrize(
    ("study", "count"),
    [
        (replace(STUDY, series=(FIRST,)), 2),
        (replace(STUDY, series=(replace(FIRST, instances=None),)), 2),
        (replace(STUDY, series=(replace(FIRST, instances=3),)), 0),
        (replace(STUDY, series=(FIRST,), series_count=2), 0),
        (replace(STUDY, series=(FIRST,), instance_count=3), 0),
        (replace(STUDY, series=(FIRST, ExpectedSeries("1.2.3.2"))), 0),
        (replace(STUDY, series=(replace(FIRST, sop_instance_uids=("1.2", "../3")),)), 0),
        (replace(STUDY, series=(replace(FIRST, series_instance_uid="a/b"),)), 0),
        (STUDY, 0),
    ],
)
def test_instances_are_listed_where_the_record_names_them_all(study: ExpectedStudy, count: int) -> None:
    assert len(listed(study)) == count


@pytest.mark.parametrize(
    ("study", "count"),
    [
        (STUDY, None),
        (replace(STUDY, instance_count=0), None),
        (replace(STUDY, instance_count=7), 7),
        (replace(STUDY, series=(FIRST, ExpectedSeries("1.2.3.2", "CT", 3))), 5),
        (replace(STUDY, series=(FIRST, ExpectedSeries("1.2.3.2"))), None),
    ],
)
def test_what_the_record_counts(study: ExpectedStudy, count: int | None) -> None:
    assert counted(study) == count


def test_progress_is_measured_by_what_is_listed_else_by_number() -> None:
    listing, counting = replace(STUDY, series=(FIRST,)), replace(STUDY, instance_count=2)
    other = {"9.9", "9.8"}
    assert (progress(listing, other).here, progress(counting, other).here) == (0, 2)
    assert [progress(s, other).is_complete for s in (listing, counting, STUDY)] == [False, True, False]
    assert progress(listing, {*other, *FIRST.sop_instance_uids}).is_complete


MANIFEST_BYTES = key_objects(Imaging(3), place={"RetrieveURL": PACS})


@given(st.lists(st.tuples(st.integers(0, len(MANIFEST_BYTES) - 1), st.integers(0, 255)), max_size=8))
@example([(len(MANIFEST_BYTES) - 1, 0)])
def test_a_manifest_with_any_bytes_is_read_or_is_no_dicom(changes: list[tuple[int, int]]) -> None:
    mutated = bytearray(MANIFEST_BYTES)
    for at, value in changes:
        mutated[at] = value
    with suppress(NotDicom):
        for study in studies_in_manifest(BytesIO(bytes(mutated)), SOURCE):
            listed(study)
