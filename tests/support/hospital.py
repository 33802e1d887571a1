"""A hospital and the programme's staff on the wire: EHR, PACS, intake and specialist."""

from typing import Any

import requests

from tests.support.bundles import FhirClient, in_letters, wait_for
from tests.support.dicom_files import make_file, multipart, related
from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess, StaffLogin
from tests.support.partner import Partner


class Pacs:
    """Sends images by STOW-RS."""

    def __init__(self, gateway: GatewayProcess, partner: Partner) -> None:
        self.base = gateway.dicomweb_url
        self.partner = partner

    def store(self, *files: bytes) -> requests.Response:
        headers = self.partner.headers() | {"Content-Type": related(), "Accept": "application/dicom+json"}
        return requests.post(f"{self.base}/studies", data=multipart(files), headers=headers, timeout=60)

    def instances(self, study_instance_uid: str) -> list[str]:
        """SOP Instance UIDs that QIDO-RS finds in a study."""
        answer = requests.get(
            f"{self.base}/studies/{study_instance_uid}/instances",
            headers=self.partner.headers() | {"Accept": "application/dicom+json"},
            timeout=60,
        )
        return [i["00080018"]["Value"][0] for i in answer.json()] if answer.status_code == 200 else []


CHECKLIST = "checklist-item"


class Staff:
    """One member of staff, signed in to the JSON API."""

    def __init__(self, gateway: GatewayProcess, login: StaffLogin) -> None:
        self.base = f"{gateway.base_url}/api"
        self.http = requests.Session()
        answer = self.post("session", login=login.login, password=login.password)
        assert answer.ok, answer.text

    def post(self, path: str, **body: Any) -> requests.Response:
        return self.http.post(f"{self.base}/{path}", json=body, timeout=60)

    def get(self, path: str) -> Any:
        answer = self.http.get(f"{self.base}/{path}", timeout=60)
        assert answer.ok, answer.text
        return answer.json()

    def case(self, case_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"cases/{case_id}")
        return found

    def sign(self, case_id: str) -> requests.Response:
        """Sign what the case says now."""
        return self.post(f"cases/{case_id}/sign", confirmed=self.case(case_id)["fingerprint"])

    def open_checks(self, case_id: str) -> set[str]:
        """Names of the checks whose findings are open, but for the checklists: most tests' records are bare."""
        return {f["check"] for f in self.findings(case_id, "open")}

    def findings(self, case_id: str, *states: str) -> list[dict[str, Any]]:
        """As ``open_checks``: each finding with the id and state of it, of any state where none is given."""
        return [
            one["finding"] | {"id": one["id"], "state": one["state"]}
            for one in self.case(case_id)["findings"]
            if one["finding"]["check"] != CHECKLIST and (not states or one["state"] in states)
        ]


def images(mrn: str, count: int, study: str, series: str, **attributes: Any) -> list[bytes]:
    """A CT stack of the child that tests.support.bundles.referral(mrn) is about; slices 2 mm apart."""
    told = {
        "PatientName": f"Okafor^Amara {in_letters(mrn)}",
        "PatientID": mrn,
        "PatientBirthDate": "20180309",
        "PatientSex": "F",
        "StudyDescription": "CT abdomen",
    }
    return [
        make_file(
            **(
                told
                | {
                    "StudyInstanceUID": study,
                    "SeriesInstanceUID": series,
                    "SOPInstanceUID": f"{series}.{number}",
                    "InstanceNumber": number,
                    "ImagePositionPatient": [0, 0, number * 2.0],
                    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                }
                | attributes
            ),
        )
        for number in range(1, count + 1)
    ]


class Scene:
    """A running gateway with one hospital and the staff."""

    def __init__(self, gateway: GatewayProcess, partner: Partner) -> None:
        self.gateway = gateway
        self.ehr = FhirClient(gateway, partner)
        self.pacs = Pacs(gateway, partner)
        self.intake = Staff(gateway, INTAKE)
        self.specialist = Staff(gateway, SPECIALIST)

    def wait_for_checks(self, case_id: str, *wanted: str) -> None:
        """Until exactly these checks have open findings."""
        wait_for(lambda: self.intake.open_checks(case_id) == set(wanted))

    def wait_for_study(self, case_id: str) -> dict[str, Any]:
        """The first study of the case, once it is there."""
        found: dict[str, Any] = wait_for(lambda: (self.intake.case(case_id)["studies"] or [None])[0])
        return found

    def sign(self, case_id: str) -> None:
        """Accept, assign, draft and sign a case on which nothing blocks."""
        users = self.intake.get("users?role=specialist")["users"]
        specialist_id = next(user["id"] for user in users if user["name"] == SPECIALIST.name)
        assert self.intake.post(f"cases/{case_id}/accept").ok
        assert self.intake.post(f"cases/{case_id}/assign", specialist_id=specialist_id).ok
        written = {"findings_text": "A lesion.", "conclusion": "Resectable.", "recommendations": "Surgery."}
        assert self.specialist.post(f"cases/{case_id}/draft", **written).ok
        signed = self.specialist.sign(case_id)
        assert signed.ok, signed.text
