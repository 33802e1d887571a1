"""QIDO-RS (PS3.18 10.6): a sender finds its own imaging, by every key that is offered, and nobody else's."""

from email.parser import BytesParser
from email.policy import HTTP

import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from mappings.native_xml import from_xml
from tests.support.dicom_files import encode, make_dataset, multipart
from tests.support.dicomweb import Pacs, series_path, value, values
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

STUDY_UID, SERIES_UID, SOP_UID = "0020000D", "0020000E", "00080018"


@pytest.fixture(scope="module")
def patient_id() -> str:
    """Of this module's child alone, so that other tests' studies are not counted."""
    return f"MRN-{generate_uid()[-10:]}"


@pytest.fixture(scope="module")
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.fixture(scope="module")
def ct(pacs: Pacs, patient_id: str) -> list[Dataset]:
    """A study of a CT series of two slices and an SR, of 1 November 2026."""
    study, series = generate_uid(), generate_uid()
    name = "Ändermann^Mira=王^小東"
    common = {
        "StudyInstanceUID": study,
        "StudyID": "S-7",
        "PatientID": patient_id,
        "IssuerOfPatientID": "Klinik Süd",
        "PatientName": name,
        "PatientWeight": "12.5",
        "ReferringPhysicianName": "Ärztin^Eva",
    }
    request = Dataset()
    request.ScheduledProcedureStepID, request.RequestedProcedureID = "SPS-1", "RP-1"
    first, second = (
        make_dataset(
            SpecificCharacterSet="ISO_IR 192",
            SeriesInstanceUID=series,
            InstanceNumber=number,
            PerformedProcedureStepStartDate="20261101",
            PerformedProcedureStepStartTime="1020",
            RequestAttributesSequence=[request],
            SliceThickness="1.25",
            OperatorsName="Müller^Jo",
            **common,
        )
        for number in (1, 2)
    )
    for ds in (first, second):
        ds.private_block(0x0009, "ACME 1.0", create=True).add_new(0x01, "LO", "kernel")
    report = make_dataset(
        SpecificCharacterSet="ISO_IR 192",
        SeriesNumber=9,
        Modality="SR",
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
        SeriesDescription="Report 100%",
        **common,
    )
    datasets = [first, second, report]
    assert pacs.store(*map(encode, datasets)).status_code == 200
    return datasets


@pytest.fixture(scope="module")
def us(pacs: Pacs, patient_id: str) -> Dataset:
    """An ultrasound of the same child two days later."""
    ds = make_dataset(
        PatientID=patient_id,
        PatientName="Aendermann^Mira",
        AccessionNumber="ACC-2",
        StudyDate="20261103",
        StudyTime="0730",
        StudyDescription="Sono_Abdomen",
        Modality="US",
        NumberOfFrames=2,
        PixelData=bytes(32),
    )
    assert pacs.store(encode(ds)).status_code == 200
    return ds


def found_studies(pacs: Pacs, patient_id: str, **query: str) -> set[str]:
    answer = pacs.get("/studies", PatientID=patient_id, **query)
    assert answer.status_code in (200, 204), answer.text
    return set(values(answer.json(), STUDY_UID)) if answer.content else set()


def test_a_study_is_told_with_its_counts(pacs, patient_id, ct, us):
    answer = pacs.get("/studies", "application/dicom+json", StudyInstanceUID=ct[0].StudyInstanceUID)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    (found,) = answer.json()
    assert found["00080061"] == {"vr": "CS", "Value": ["CT", "SR"]}
    assert (value(found, "00201206"), value(found, "00201208")) == (2, 3)
    assert value(found, "00081190") == f"{pacs.url}/studies/{ct[0].StudyInstanceUID}"
    assert value(found, "00100010") == {"Alphabetic": "Ändermann^Mira", "Ideographic": "王^小東"}
    assert value(found, "00100020") == patient_id
    assert found["00080090"] == {"vr": "PN", "Value": [{"Alphabetic": "Ärztin^Eva"}]}
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert found["00080062"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"]
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ({"PatientName": "Ändermann^Mira"}, "ct"),
        ({"PatientName": "ÄNDER*"}, "ct"),
        ({"PatientName": "änder?ann^M*"}, "ct"),
        ({"PatientName": "王*"}, "ct"),
        ({"PatientName": "*ndermann*"}, "ct us"),
        ({"PatientName": "Ändermann"}, ""),
        ({"PatientName": "Ändermann^Mir_"}, ""),
        ({"00100010": "*mira*"}, "ct us"),
        ({"AccessionNumber": "ACC-2"}, "us"),
        ({"00080050": "ACC-?"}, "ct us"),
        ({"StudyDate": "20261101"}, "ct"),
        ({"StudyDate": "20261101-20261102"}, "ct"),
        ({"StudyDate": "-20261102"}, "ct"),
        ({"StudyDate": "20261102-"}, "us"),
        ({"StudyDate": "20270101-"}, ""),
        ({"StudyTime": "1015"}, "ct"),
        ({"StudyTime": "1000-1015"}, "ct"),
        ({"StudyTime": "0730-10"}, "ct us"),
        ({"StudyTime": "-0800"}, "us"),
        ({"ModalitiesInStudy": "SR"}, "ct"),
        ({"ModalitiesInStudy": "US,SR"}, "ct us"),
        ({"ModalitiesInStudy": "MR"}, ""),
        ({"StudyDescription": "sono_*"}, "us"),
        ({"StudyDescription": "CT?Thorax"}, "ct"),
        ({"StudyDescription": "%"}, ""),
        ({"PatientBirthDate": "20190503", "PatientSex": "F"}, "ct us"),
        ({"PatientSex": "M"}, ""),
        ({"AccessionNumber": "ACC-1", "StudyDate": "20261103"}, ""),
        ({"AccessionNumber": "acc-2"}, ""),
        ({"StudyDate": "20261101-20261103", "StudyTime": "1100-0800"}, "us"),
        ({"StudyDate": "20261101-20261103", "StudyTime": "1015-0700"}, "ct"),
        ({"StudyDate": "20261101-20261103", "StudyTime": "1015"}, "ct"),
        ({"StudyDate": "20261101-", "StudyTime": "1100-"}, "us"),
        ({"ModalitiesInStudy": "CT\\SR"}, "ct"),
        ({"ModalitiesInStudy": "US\\SR", "multiplevaluematching": "true"}, ""),
        ({"ModalitiesInStudy": "CT\\SR", "multiplevaluematching": "true"}, "ct"),
        ({"SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.88.11"}, "ct"),
        ({"ReferringPhysicianName": "ärztin^*"}, "ct"),
        ({"StudyID": "S-7"}, "ct"),
        ({"IssuerOfPatientID": "Klinik*"}, "ct"),
        ({"StudyDescription": "*", "PatientName": "*"}, "ct us"),
        ({"AccessionNumber": ""}, "ct us"),
    ],
)
def test_studies_are_matched(pacs, patient_id, ct, us, query, studies):
    uids = {"ct": ct[0].StudyInstanceUID, "us": us.StudyInstanceUID}
    assert found_studies(pacs, patient_id, **query) == {uids[name] for name in studies.split()}


@pytest.mark.parametrize("separator", [",", "\\"])
def test_a_list_of_uids_matches_each(pacs, patient_id, ct, us, separator):
    uids = [ct[0].StudyInstanceUID, us.StudyInstanceUID, "1.2.3"]
    assert found_studies(pacs, patient_id, StudyInstanceUID=separator.join(uids)) == set(uids[:2])


def test_no_match_is_no_content(pacs):
    answer = pacs.get("/studies", PatientID="no-such-number")
    assert (answer.status_code, answer.content) == (204, b"")
    assert pacs.get("/studies/1.2.3.4.5.6/series").status_code == 204


def test_series_of_a_study(pacs, ct):
    answer = pacs.get(f"/studies/{ct[0].StudyInstanceUID}/series")
    assert values(answer.json(), "00080060") == ["CT", "SR"]
    assert values(answer.json(), "00201209") == [2, 1]
    assert value(answer.json()[1], "0008103E") == "Report 100%"
    assert value(answer.json()[0], "00081190") == f"{pacs.url}{series_path(ct[0])}"


@pytest.mark.parametrize(
    ("query", "modalities"),
    [
        ({"Modality": "SR"}, ["SR"]),
        ({"SeriesNumber": "9"}, ["SR"]),
        ({"SeriesDescription": "report 100%"}, ["SR"]),
        ({"Modality": "C*"}, ["CT"]),
        ({"StudyDate": "20261103"}, []),
        ({"RequestAttributesSequence.ScheduledProcedureStepID": "SPS-1"}, ["CT"]),
        ({"00400275.00400009": "SPS*", "00400275.00401001": "RP-1"}, ["CT"]),
        ({"RequestAttributesSequence.RequestedProcedureID": "RP-2"}, []),
        ({"PerformedProcedureStepStartDate": "20261101"}, ["CT"]),
        ({"PerformedProcedureStepStartTime": "1000-1030"}, ["CT"]),
    ],
)
def test_series_are_matched(pacs, ct, query, modalities):
    answer = pacs.get(f"/studies/{ct[0].StudyInstanceUID}/series", **query)
    assert (values(answer.json(), "00080060") if answer.content else []) == modalities


def test_series_of_all_studies_tell_their_study(pacs, patient_id, ct, us):
    found = pacs.get("/series", PatientID=patient_id).json()
    assert values(found, "00080060") == ["CT", "SR", "US"]
    assert values(found, STUDY_UID) == [ct[0].StudyInstanceUID] * 2 + [us.StudyInstanceUID]
    by_uid = pacs.get("/series", SeriesInstanceUID=us.SeriesInstanceUID).json()
    assert values(by_uid, "00100020") == [patient_id]


def test_instances_of_a_study_and_of_a_series(pacs, ct):
    of_study = pacs.get(f"/studies/{ct[0].StudyInstanceUID}/instances").json()
    assert values(of_study, SOP_UID) == [ds.SOPInstanceUID for ds in ct]
    of_series = pacs.get(f"{series_path(ct[0])}/instances", InstanceNumber="2").json()
    assert values(of_series, SOP_UID) == [ct[1].SOPInstanceUID]
    assert value(of_series[0], "00280010") == 4
    assert value(of_series[0], "00083002") == "1.2.840.10008.1.2.1"


def test_instances_of_all_studies_are_matched(pacs, patient_id, ct, us):
    by_class = pacs.get("/instances", PatientID=patient_id, SOPClassUID=ct[2].SOPClassUID).json()
    assert values(by_class, SOP_UID) == [ct[2].SOPInstanceUID]
    (by_uid,) = pacs.get("/instances", SOPInstanceUID=us.SOPInstanceUID).json()
    assert value(by_uid, "00280008") == 2
    assert value(by_uid, "00080060") == "US"


def test_pages_are_stable_and_say_when_there_is_more(pacs, patient_id, ct, us):
    everything = values(pacs.get("/instances", PatientID=patient_id).json(), SOP_UID)
    pages = []
    for offset in range(4):
        answer = pacs.get("/instances", PatientID=patient_id, limit=1, offset=offset)
        pages += values(answer.json(), SOP_UID)
        assert ("additional results" in answer.headers.get("Warning", "")) == (offset < 3)
    assert pages == everything
    assert pacs.get("/instances", PatientID=patient_id, offset=4).status_code == 204


def test_includefield_is_answered_from_the_index_and_from_the_files(pacs, ct):
    address = f"/studies/{ct[0].StudyInstanceUID}/series"
    known = pacs.get(address, includefield="StudyDescription,00080060")
    assert "Warning" not in known.headers
    assert value(known.json()[0], "00081030") == "CT Thorax"
    assert "Warning" not in pacs.get(address, includefield="all").headers
    in_file = pacs.get(address, includefield=["PatientWeight", "OperatorsName,00181030"])
    assert "Warning" not in in_file.headers
    assert [one.get("00101030") for one in in_file.json()] == [{"vr": "DS", "Value": [12.5]}] * 2
    assert value(in_file.json()[0], "00081070") == {"Alphabetic": "Müller^Jo"}
    assert "00081070" not in in_file.json()[1]


def test_every_attribute_of_an_instance_can_be_included(pacs, ct):
    found = pacs.get(
        f"{series_path(ct[0])}/instances", includefield="SliceThickness,00091001,7FE00010"
    ).json()
    assert values(found, "00180050") == [1.25, 1.25]
    assert values(found, "00090010") == ["ACME 1.0"] * 2, "a private attribute comes with its creator"
    assert [one["00091001"]["vr"] for one in found] == ["LO", "LO"]
    assert [one["7FE00010"] for one in found] == [{"vr": "OB"}] * 2


@pytest.mark.parametrize(
    ("field", "words"),
    [("SliceThickness", "not known to be the same"), ("NoSuchKeyword", "not a keyword or tag")],
)
def test_an_includefield_that_is_left_out_is_warned_of(pacs, ct, field, words):
    answer = pacs.get(f"/studies/{ct[0].StudyInstanceUID}/series", includefield=field)
    assert answer.status_code == 200
    assert words in answer.headers["Warning"]


@pytest.mark.parametrize(
    ("name", "studies"),
    [
        ("Mira Andermann", "ct"),
        ("MIRA^ÄNDERMANN", "ct"),
        ("mira", "ct us"),
        ("小東", "ct"),
        ("and*", "ct"),
        ("?endermann mira", "us"),
        ("andermann jo", ""),
    ],
)
def test_fuzzy_matching_finds_a_name_by_its_words(pacs, patient_id, ct, us, name, studies):
    uids = {"ct": ct[0].StudyInstanceUID, "us": us.StudyInstanceUID}
    found = found_studies(pacs, patient_id, PatientName=name, fuzzymatching="true")
    assert found == {uids[one] for one in studies.split()}


def test_fuzzy_matching_is_done_without_a_warning(pacs, patient_id, ct):
    answer = pacs.get("/studies", PatientID=patient_id, PatientName="andermann", fuzzymatching="true")
    assert "Warning" not in answer.headers
    assert found_studies(pacs, patient_id, PatientName="andermann", fuzzymatching="false") == set()


def test_empty_values_are_matched_where_that_is_asked_for(pacs, patient_id, ct, us):
    asked = {"ReferringPhysicianName": '""', "emptyvaluematching": "true"}
    assert found_studies(pacs, patient_id, **asked) == {us.StudyInstanceUID}
    assert found_studies(pacs, patient_id, ReferringPhysicianName='""') == set()


def test_a_parameter_that_is_none_of_dicom_is_passed_over_with_a_warning(pacs, ct):
    answer = pacs.get("/studies", StudyInstanceUID=ct[0].StudyInstanceUID, orderby="-StudyDate")
    assert answer.status_code == 200
    assert "orderby is not a parameter" in answer.headers["Warning"]


@pytest.mark.parametrize(
    "query",
    [
        {"SliceThickness": "1"},
        {"NoSuchAttribute": "1"},
        {"StudyInstanceUID": "abc"},
        {"StudyDate": "yesterday"},
        {"StudyDate": "-"},
        {"StudyTime": "25:00"},
        {"limit": "-1"},
        {"offset": "many"},
        {"Modality": "CT"},
        {"StudyDate": "20261301"},
        {"AccessionNumber": "ACC-1\\ACC*"},
        {"OtherPatientIDsSequence": "1"},
        {"OtherPatientIDsSequence.PatientName": "1"},
        {"PatientID.PatientID": "1"},
        {"fuzzymatching": "perhaps"},
        {"(0010,0020)": "X"},
        {"0010,0020": "X"},
        {"patientid": "X"},
        {"PATIENTID": "X"},
        {"patientName": "X"},
        {"requestattributessequence.scheduledprocedurestepid": "X"},
        {"PatientID": ["MRN"] * 51},
        {"PatientName": ["A"] * 250},
        {"PatientName": "a=b=c=d"},
        {"PatientName": " ".join(f"w{number}" for number in range(101)), "fuzzymatching": "true"},
        {"ModalitiesInStudy": ",".join(["CT"] * 501)},
    ],
)
def test_a_query_that_cannot_be_answered_exactly_is_refused_in_words(pacs, query):
    answer = pacs.get("/studies", **query)
    assert answer.status_code == 400
    assert answer.json()["detail"]


LONG_NAME = "Lopez Garcia^Maria del Carmen de la Santisima Trinidad"


def test_a_name_of_many_words_is_found(pacs):
    ds = make_dataset(PatientName=LONG_NAME, PatientID=generate_uid()[-10:])
    assert pacs.store(encode(ds)).status_code == 200
    words = "trinidad maria del carmen de la santisima LÓPEZ garcía"
    for name in (words, " ".join([words] * 11), f"{words} Lop*"):
        found = pacs.get("/studies", PatientName=name, fuzzymatching="true", PatientID=ds.PatientID)
        assert values(found.json(), STUDY_UID) == [ds.StudyInstanceUID]
    several = pacs.get("/studies", PatientName=["Lopez*"] * 48, PatientID=ds.PatientID)
    assert values(several.json(), STUDY_UID) == [ds.StudyInstanceUID]
    assert pacs.get("/studies", PatientName=f"{words} pedro", fuzzymatching="true").status_code == 204


def test_a_slash_at_the_end_makes_no_difference(pacs, ct):
    study = f"/studies/{ct[0].StudyInstanceUID}"
    for path in ("/studies", f"{study}/series", f"{study}/metadata", f"{study}/instances"):
        asked = {"StudyInstanceUID": ct[0].StudyInstanceUID} if path == "/studies" else {}
        assert pacs.get(f"{path}/", **asked).json() == pacs.get(path, **asked).json()
    assert pacs.post(multipart([encode(ct[0])]), path="/studies/").status_code == 200
    assert pacs.get("/nothing/").status_code == 501


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "SEARCH"])
def test_a_method_that_a_resource_has_not_is_refused_with_those_that_it_has(pacs, ct, method):
    study = f"/studies/{ct[0].StudyInstanceUID}"
    for path, allowed in (
        ("/studies", "GET, POST, HEAD, OPTIONS"),
        (f"{study}/series", "GET, HEAD, OPTIONS"),
    ):
        answer = requests.request(method, f"{pacs.url}{path}", headers=pacs.partner.headers(), timeout=60)
        assert answer.status_code == 405
        assert answer.headers["Allow"] == allowed
        assert answer.json()["detail"] == f"This resource takes {allowed}."
        assert answer.json()["reference"]
        assert answer.json()["detail"] in answer.headers["Warning"]


def test_a_nul_in_the_query_is_refused_in_words(pacs):
    answer = pacs.get("/studies", PatientName="a\0")
    assert answer.status_code == 400
    assert "NUL" in answer.json()["detail"]
    assert answer.json()["detail"] in answer.headers["Warning"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/dicom+json;q=0, */*", "multipart/related"),
        ("*/*, application/*;q=0", "multipart/related"),
        ('*/*, multipart/related;type="application/dicom+xml";q=0', "application/dicom+json"),
        ("application/dicom+json, application/*;q=0", "application/dicom+json"),
    ],
)
def test_what_is_accepted_with_no_weight_is_not_answered(pacs, ct, accept, content_type):
    answer = pacs.get("/studies", accept, StudyInstanceUID=ct[0].StudyInstanceUID)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].split(";")[0] == content_type
    nothing = "*/*, application/dicom+json;q=0, multipart/related;q=0"
    assert pacs.get("/studies", nothing, StudyInstanceUID=ct[0].StudyInstanceUID).status_code == 406


@pytest.mark.parametrize("resource", ["studies", "series", "instances"])
def test_includefield_all_gives_the_whole_table(pacs, ct, resource):
    asked = {"StudyInstanceUID": ct[0].StudyInstanceUID}
    answer = pacs.get(f"/{resource}", includefield="all", **asked)
    match = answer.json()[0]
    assert value(match, "00101030") == 12.5
    if resource != "studies":
        assert value(match, "00081070") == {"Alphabetic": "Müller^Jo"}
    if resource == "instances":
        assert "the metadata have all" in answer.headers["Warning"]
        assert "00180050" not in match
    else:
        assert "Warning" not in answer.headers


@pytest.mark.parametrize(
    "accept",
    [
        'multipart/related; type="application/dicom+xml"',
        "multipart/related; type=application/dicom+xml, application/dicom+json;q=0.5",
        "application/dicom+xml",
    ],
)
def test_an_answer_is_xml_where_that_is_wanted(pacs, ct, accept):
    address = f"/studies/{ct[0].StudyInstanceUID}/instances"
    answer = pacs.get(address, accept, includefield="SliceThickness")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(
        'multipart/related; type="application/dicom+xml"; boundary='
    )
    message = BytesParser(policy=HTTP).parsebytes(
        f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode() + answer.content
    )
    parts = list(message.iter_parts())
    assert {part.get_content_type() for part in parts} == {"application/dicom+xml"}
    told = [from_xml(part.get_payload(decode=True)) for part in parts]
    assert told == pacs.get(address, includefield="SliceThickness").json()
    assert pacs.get("/studies", accept, PatientID="no-such-number").status_code == 204


@pytest.mark.parametrize("accept", ["application/dicom+json;q=0.2, */*;q=0.1", "*/*", "application/json"])
def test_an_answer_is_json_by_default(pacs, ct, accept):
    answer = pacs.get(f"/studies/{ct[0].StudyInstanceUID}/series", accept)
    assert answer.headers["Content-Type"] == "application/dicom+json"


@pytest.mark.parametrize("accept", ["text/html", "application/dicom", 'multipart/related; type="image/jpeg"'])
def test_an_answer_that_is_not_written_here_is_refused(pacs, accept):
    assert pacs.get("/studies", accept).status_code == 406


def test_dicomweb_client_searches(pacs, patient_id, ct, us):
    client = pacs.client()
    found = client.search_for_studies(search_filters={"PatientID": patient_id}, limit=10)
    assert {Dataset.from_json(one).StudyInstanceUID for one in found} == {
        ct[0].StudyInstanceUID,
        us.StudyInstanceUID,
    }
    assert len(client.search_for_instances(ct[0].StudyInstanceUID)) == 3
    assert client.search_for_series(search_filters={"PatientID": "no-such-number"}) == []
    fuzzy = {"PatientName": "mira andermann", "PatientID": patient_id}
    assert (
        len(client.search_for_studies(search_filters=fuzzy, fuzzymatching=True, fields=["PatientWeight"]))
        == 1
    )


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances"])
def test_another_hospital_finds_nothing_of_it(gateway, other_partner, patient_id, ct, us, path):
    other = Pacs(gateway, other_partner)
    assert other.get(path, PatientID=patient_id).status_code == 204
    assert other.get(path, StudyInstanceUID=us.StudyInstanceUID).status_code == 204
    assert other.get(f"/studies/{ct[0].StudyInstanceUID}/series").status_code == 204


def test_nobody_without_a_valid_token_searches(pacs, ct):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        assert requests.get(f"{pacs.url}/studies", headers=headers, timeout=20).status_code == 401
    scoped = pacs.partner.headers("system/ImagingStudy.r")
    assert requests.get(f"{pacs.url}/studies", headers=scoped, timeout=20).status_code == 403
