"""Who plays, with what, and what has happened so far."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from gateway.demo import imaging
from gateway.demo.hospital import Hospital
from gateway.demo.receiver import ReportReceiver
from gateway.demo.running import RunningGateway
from gateway.demo.staff import StaffMember
from gateway.demo.timeline import StepFailed, Timeline

EXAMPLES = Path(__file__).resolve().parents[2] / "conformance" / "examples"
WAIT_SECONDS = 20.0
POLL_SECONDS = 0.1

Resource = dict[str, Any]


def example(name: str) -> bytes:
    """Raises StepFailed where only the program was installed, without the project's folder."""
    file = EXAMPLES / name
    if not file.is_file():
        raise StepFailed(f"{file} is not there: the demo is played from the project's own folder")
    return file.read_bytes()


@dataclass
class Stage:
    timeline: Timeline
    gateway: RunningGateway
    hospital: Hospital
    receiver: ReportReceiver
    folder: Path
    output: Path
    intake: StaffMember
    specialist: StaffMember
    referral: bytes
    supplement: bytes
    task: Resource = field(default_factory=dict)
    report: Resource = field(default_factory=dict)
    open_findings: dict[str, str] = field(default_factory=dict)
    _ct: list[Dataset] = field(default_factory=list)

    @property
    def case_id(self) -> str:
        return str(self.task["id"])

    @property
    def service_request(self) -> str:
        return str(self.task["focus"]["reference"])

    @property
    def ct(self) -> list[Dataset]:
        """Made at the first use."""
        if not self._ct:
            self._ct = imaging.ct_series(json.loads(self.referral))
        return self._ct

    def ultrasound(self) -> list[Dataset]:
        return imaging.ultrasound(json.loads(self.referral))

    def saved(self, instances: Sequence[Dataset]) -> list[Path]:
        """As the files that a PACS would send."""
        files = [self.folder / f"{ds.SOPInstanceUID}.dcm" for ds in instances]
        for ds, file in zip(instances, files, strict=True):
            ds.save_as(file, enforce_file_format=True)
        return files

    def case(self) -> Resource:
        return self.intake.case(self.case_id)

    def wait_for_findings(self, *expected: str) -> list[str]:
        """Wait until exactly these checks have open findings; returns what opened and closed, in words.

        The checklists' findings are not looked at: they are clinicians' to change.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            found = {
                f["id"]: f["finding"]
                for f in self.case()["findings"]
                if f["state"] == "open" and f["finding"]["check"] != "checklist-item"
            }
            if sorted(finding["check"] for finding in found.values()) == sorted(expected):
                return self._changes({key: f"{f['subject']} ({f['check']})" for key, f in found.items()})
            if time.monotonic() > deadline:
                names = ", ".join(sorted(f["check"] for f in found.values())) or "none"
                raise StepFailed(f"open findings should be {', '.join(sorted(expected))}, and are {names}")
            time.sleep(POLL_SECONDS)

    def _changes(self, found: dict[str, str]) -> list[str]:
        opened = [f"+ opened  {words}" for key, words in found.items() if key not in self.open_findings]
        closed = [f"- closed  {words}" for key, words in self.open_findings.items() if key not in found]
        self.open_findings = found
        return opened + closed
