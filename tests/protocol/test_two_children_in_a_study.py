"""A hospital's mix-up, instances of two children under one UID: each is told, found and given as its own (ADR 31)."""

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.support.dicom_files import encode, make_dataset
from tests.support.dicomweb import (
    Pacs,
    instance_path,
    items,
    parts_of,
    series_path,
    value,
    values,
)
from tests.support.dimse import dcmtk
from tests.support.finding import PATIENT_ROOT, STUDY_ROOT, find, identifier
from tests.support.gateway_process import GatewayProcess
from tests.support.partner import Partner

PATIENT_ID, STUDY_UID, SOP_UID = "00100020", "0020000D", "00080018"
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.fixture(scope="module")
def pacs(gateway: GatewayProcess, partner: Partner) -> Pacs:
    return Pacs(gateway, partner)


@pytest.fixture(scope="module")
def number() -> str:
    return generate_uid()[-10:]


@pytest.fixture(scope="module")
def adam(pacs: Pacs, number: str) -> Dataset:
    ds = make_dataset(PatientID=f"A{number}", PatientName=f"Adam^Kid{number}", PatientWeight="21")
    assert pacs.store(encode(ds)).status_code == 200
    return ds


@pytest.fixture(scope="module")
def bert(pacs: Pacs, number: str, adam: Dataset) -> Dataset:
    """In Adam's study."""
    ds = make_dataset(
        StudyInstanceUID=adam.StudyInstanceUID,
        PatientID=f"B{number}",
        PatientName=f"Bert^Other{number}",
        PatientWeight="18",
        SeriesNumber=2,
    )
    assert pacs.store(encode(ds)).status_code == 200
    return ds


def test_qido_rs_finds_each_child_as_itself_and_warns_of_both(pacs, adam, bert):
    for child, other in ((adam, bert), (bert, adam)):
        for resource in ("studies", "series", "instances"):
            answer = pacs.get(f"/{resource}", PatientID=child.PatientID, includefield="PatientWeight")
            [match] = answer.json()
            assert value(match, PATIENT_ID) == child.PatientID
            assert value(match, "00100010") == {"Alphabetic": str(child.PatientName)}
            assert value(match, "00101030") == float(child.PatientWeight)
            assert str(other.PatientID) not in answer.text
            assert (
                f"Study {adam.StudyInstanceUID} holds instances of more than one patient"
                in (answer.headers["Warning"])
            )
    everything = pacs.get(f"/studies/{adam.StudyInstanceUID}/instances")
    assert values(everything.json(), PATIENT_ID) == [adam.PatientID, bert.PatientID]
    told = {value(one, SOP_UID): value(one, PATIENT_ID) for one in everything.json()}
    metadata = pacs.get(f"/studies/{adam.StudyInstanceUID}/metadata")
    assert {value(one, SOP_UID): value(one, PATIENT_ID) for one in metadata.json()} == told
    assert "more than one patient" in metadata.headers["Warning"]


def test_wado_rs_warns_where_an_answer_is_of_both_and_only_there(pacs, adam, bert):
    study = f"/studies/{adam.StudyInstanceUID}"
    for path, accept in ((study, AS_STORED), (f"{study}/rendered", ""), (f"{study}/thumbnail", "")):
        assert "more than one patient" in pacs.get(path, accept).headers["Warning"]
    for path in (instance_path(adam), series_path(bert)):
        assert "Warning" not in pacs.get(path, AS_STORED).headers
    other = pacs.get("/studies", StudyInstanceUID=adam.StudyInstanceUID, PatientID=bert.PatientID)
    assert len(other.json()) == 1


@pytest.mark.parametrize(
    ("root", "level"),
    [(PATIENT_ROOT, "PATIENT"), (PATIENT_ROOT, "STUDY"), (STUDY_ROOT, "SERIES"), (STUDY_ROOT, "IMAGE")],
)
def test_c_find_answers_each_child_as_itself(gateway, adam, bert, root, level):
    for child in (adam, bert):
        asked = identifier(level, PatientID=child.PatientID, PatientName=None, PatientWeight=None)
        found = find(gateway, asked, root)
        assert found.values("PatientID") == [child.PatientID]
        assert found.values("PatientName") == [child.PatientName]


@pytest.mark.parametrize(
    ("level", "of_study"), [("PATIENT", False), ("STUDY", True)], ids=["patient level", "study level"]
)
def test_c_get_by_patient_gives_only_that_childs_instances(gateway, adam, bert, tmp_path, level, of_study):
    keys = [f"QueryRetrieveLevel={level}", f"PatientID={bert.PatientID}"]
    keys += [f"StudyInstanceUID={bert.StudyInstanceUID}"] if of_study else []
    options = ("-od", tmp_path, *(word for key in keys for word in ("-k", key)))
    done = dcmtk("getscu", gateway, "-P", "+B", options=options)
    assert done.returncode == 0, done.stdout
    assert [dcmread(path).PatientID for path in tmp_path.iterdir()] == [bert.PatientID]


def test_the_retrieve_url_of_other_content_gives_that_content(pacs, adam, number):
    """Adam's SOP Instance UID in another child's study, and in another series of his own."""
    clara = make_dataset(
        SOPInstanceUID=adam.SOPInstanceUID, PatientID=f"C{number}", PatientName=f"Clara^Third{number}"
    )
    again = make_dataset(
        StudyInstanceUID=adam.StudyInstanceUID,
        SOPInstanceUID=adam.SOPInstanceUID,
        PatientID=adam.PatientID,
        PatientName=adam.PatientName,
    )
    for other in (clara, again):
        content = encode(other)
        answer = pacs.store(content)
        assert answer.status_code == 202
        [stored] = items(answer, "00081199")
        url = value(stored, "00081190").removeprefix(pacs.url)
        assert url == instance_path(other)
        assert [part for _, part in parts_of(pacs.get(url, AS_STORED))] == [content]
        assert [part for _, part in parts_of(pacs.get(series_path(other), AS_STORED))] == [content]
    assert [part for _, part in parts_of(pacs.get(instance_path(adam), AS_STORED))] == [encode(adam)]
    [study] = pacs.get("/studies", PatientID=clara.PatientID).json()
    assert value(study, STUDY_UID) == clara.StudyInstanceUID
    assert values(pacs.get("/instances", PatientID=clara.PatientID).json(), SOP_UID) == [clara.SOPInstanceUID]
    assert len(parts_of(pacs.get(f"/studies/{clara.StudyInstanceUID}", AS_STORED))) == 1
