"""Orthanc as DIMSE peer of the gateway: an archive by others sends to it (PS3.4 Annexes A, B)."""

from io import BytesIO

from pydicom import dcmread

from tests.support.dicom_files import encode, make_dataset
from tests.support.dimse import Archive
from tests.support.gateway_process import GatewayProcess
from tests.support.orthanc import Orthanc


def test_what_orthanc_sends_is_kept(gateway: GatewayProcess, orthanc: Orthanc) -> None:
    orthanc.add_modality("gateway", gateway.ae_title, gateway.dicom_port, LocalAet="HOSPITAL_A")
    ds = make_dataset()
    ids = orthanc.upload(encode(ds))

    done = orthanc.post("/modalities/gateway/store", ids)

    assert (done["InstancesCount"], done["FailedInstancesCount"]) == (1, 0)
    assert dcmread(BytesIO(Archive(gateway).instance(ds.SOPInstanceUID).file_bytes)) == ds
