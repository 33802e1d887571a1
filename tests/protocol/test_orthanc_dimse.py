"""Orthanc as DIMSE peer of the gateway: an archive by others sends to it (PS3.4 Annexes A, B)."""

from io import BytesIO

from pydicom import dcmread
from pydicom.uid import generate_uid

from tests.support.dicom_files import encode, make_dataset
from tests.support.dimse import Archive
from tests.support.gateway_process import GatewayProcess
from tests.support.orthanc import Orthanc
from tests.support.processes import wait_until


def test_what_orthanc_sends_is_kept(gateway: GatewayProcess, orthanc: Orthanc) -> None:
    orthanc.add_modality("gateway", gateway.ae_title, gateway.dicom_port, LocalAet="HOSPITAL_A")
    ds = make_dataset()
    ids = orthanc.upload(encode(ds))

    done = orthanc.post("/modalities/gateway/store", ids)

    assert (done["InstancesCount"], done["FailedInstancesCount"]) == (1, 0)
    assert dcmread(BytesIO(Archive(gateway).instance(ds.SOPInstanceUID).file_bytes)) == ds


def test_orthanc_has_committed_what_it_sent_and_is_told_what_is_not_kept(
    gateway: GatewayProcess, orthanc: Orthanc
) -> None:
    partner = gateway.add_partner("orthanc-commits", ae_title="ORTHANC_COMMITS")
    address = f"127.0.0.1:{orthanc.dicom_port}"
    gateway.command("partner", "set-ae", partner.id, partner.ae_title, "--address", address)
    orthanc.add_modality(
        "committing",
        gateway.ae_title,
        gateway.dicom_port,
        LocalAet=partner.ae_title,
        AllowStorageCommitment=True,
    )
    kept, stranger = make_dataset(), make_dataset()
    orthanc.post("/modalities/committing/store", orthanc.upload(encode(kept)))
    named = [[str(ds.SOPClassUID), str(ds.SOPInstanceUID)] for ds in (kept, stranger)]

    asked = orthanc.post("/modalities/committing/storage-commitment", {"DicomInstances": named})
    report = f"/storage-commitment/{asked['ID']}"
    wait_until(lambda: orthanc.get(report)["Status"] != "Pending", 60)

    told = orthanc.get(report)
    assert told["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in told["Success"]] == [kept.SOPInstanceUID]
    (failed,) = told["Failures"]
    assert (failed["SOPInstanceUID"], failed["FailureReason"]) == (stranger.SOPInstanceUID, 0x0112)


def test_orthanc_has_its_images_moved_back_to_it(gateway: GatewayProcess, orthanc: Orthanc) -> None:
    partner = gateway.add_partner("orthanc-moves", ae_title="ORTHANC_MOVES")
    address = f"127.0.0.1:{orthanc.dicom_port}"
    gateway.command("partner", "set-ae", partner.id, orthanc.ae_title, "--address", address)
    orthanc.add_modality("moving", gateway.ae_title, gateway.dicom_port, LocalAet=partner.ae_title)
    ds = make_dataset()
    ids = orthanc.upload(encode(ds))
    orthanc.post("/modalities/moving/store", ids)
    orthanc.forget(ids)

    resources = {
        "Level": "Study",
        "TargetAet": orthanc.ae_title,
        "Resources": [{"StudyInstanceUID": ds.StudyInstanceUID}],
    }
    orthanc.post("/modalities/moving/move", resources)

    assert dcmread(BytesIO(orthanc.file(ds.SOPInstanceUID))) == ds


def test_orthanc_finds_what_it_sent_at_each_level(gateway: GatewayProcess, orthanc: Orthanc) -> None:
    orthanc.add_modality("finding", gateway.ae_title, gateway.dicom_port, LocalAet="HOSPITAL_A")
    ds = make_dataset(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", PatientID=generate_uid())
    orthanc.post("/modalities/finding/store", orthanc.upload(encode(ds)))

    def found(level: str, **query: str) -> list[dict[str, str]]:
        asked = orthanc.post("/modalities/finding/query", {"Level": level, "Query": query})
        answers = f"/queries/{asked['ID']}/answers"
        return [orthanc.get(f"{answers}/{number}/content?simplify") for number in orthanc.get(answers)]

    [patient] = found("Patient", PatientID=ds.PatientID, PatientName="müller*")
    assert (patient["PatientID"], patient["PatientName"]) == (ds.PatientID, "Müller^Jörg")
    [study] = found("Study", PatientID=ds.PatientID, StudyInstanceUID="")
    assert study["StudyInstanceUID"] == ds.StudyInstanceUID
    above = {"PatientID": ds.PatientID, "StudyInstanceUID": ds.StudyInstanceUID}
    [series] = found("Series", SeriesInstanceUID="", Modality="CT", **above)
    assert series["SeriesInstanceUID"] == ds.SeriesInstanceUID
    [image] = found("Instance", SeriesInstanceUID=ds.SeriesInstanceUID, SOPInstanceUID="", **above)
    assert image["SOPInstanceUID"] == ds.SOPInstanceUID
    assert found("Study", PatientID=ds.PatientID, PatientName="Meier*") == []
