"""A hospital that sends case after case by all three doors, while processes of the gateway are killed."""

import hashlib
import itertools
import os
import secrets
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.support.bundles import FhirClient, imaging_study, referral, wait_for
from tests.support.dimse import send
from tests.support.gateway_process import GatewayProcess
from tests.support.hospital import Pacs, Scene, images
from tests.support.partner import Partner

SLICES = 3
NOT_ACKNOWLEDGED = (
    AssertionError,
    OSError,
    requests.RequestException,
    KeyError,
    ValueError,
    AttributeError,  # pynetdicom's answer without a status: the association ended
    RuntimeError,  # pynetdicom's too, before the request was sent
)


@dataclass
class Sender(threading.Thread):
    """Writes down what was acknowledged. What was not is sent again until it is, as a real sender does.

    It ends after so many ``wanted`` cases, or with the case during which ``stop`` was set.
    """

    gateway: GatewayProcess
    partner: Partner
    folder: Path
    wanted: int | None = None
    cases: dict[str, str] = field(default_factory=dict)  # case id by Study Instance UID
    instances: dict[str, bytes] = field(default_factory=dict)  # acknowledged files by their SHA-256
    attempts: int = 0
    failure: BaseException | None = None
    started_case: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.ehr, self.pacs = FhirClient(self.gateway, self.partner), Pacs(self.gateway, self.partner)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        try:
            for number in itertools.count():
                if number == self.wanted or self.stop.is_set():
                    return
                self.send_case()
                self.started_case.set()
        except BaseException as failure:
            self.failure = failure
            raise

    def send_case(self) -> None:
        """Imaging before, with and after its referral."""
        mrn, study, series = secrets.token_hex(5), uid(), uid()
        stack = images(mrn, SLICES, study, series)
        self.until_acknowledged(lambda: self.c_store(stack[:1]))
        sent = referral(mrn, imaging=imaging_study(study, {series: SLICES}))
        self.cases[study] = self.until_acknowledged(lambda: self.ehr.open_case(sent))
        self.until_acknowledged(lambda: self.stow(stack[1:2]))
        self.until_acknowledged(lambda: self.c_store(stack[2:]))

    def until_acknowledged(self, act: Any) -> Any:
        deadline = time.monotonic() + 90
        while True:
            self.attempts += 1
            try:
                return act()
            except NOT_ACKNOWLEDGED:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stow(self, files: list[bytes]) -> bool:
        answer = self.pacs.store(*files)
        assert answer.status_code == 200, answer.text
        return self.acknowledge(files)

    def c_store(self, files: list[bytes]) -> bool:
        paths = [self.folder / f"{hashlib.sha256(file).hexdigest()}.dcm" for file in files]
        for path, file in zip(paths, files, strict=True):
            path.write_bytes(file)
        answers = send(self.gateway, *paths, calling=self.partner.ae_title)
        assert [answer.status for answer in answers] == [0] * len(files)
        return self.acknowledge(files)

    def acknowledge(self, files: list[bytes]) -> bool:
        self.instances |= {hashlib.sha256(file).hexdigest(): file for file in files}
        return True


def uid() -> str:
    return f"2.25.{secrets.randbits(96)}"


def kill_part(gateway: GatewayProcess, part: str) -> None:
    if part == "everything":
        gateway.kill()
        gateway.start()
        return
    pids = gateway.dimse_pids() if part == "dimse" else [gateway.pids()[part]]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: gateway.pids().get(part, pids[0]) not in pids, 30)
    gateway.wait_ready()


def everything_is_there(gateway: GatewayProcess, sender: Sender) -> None:
    """Each case with its study and no finding, each acknowledged instance, and nothing else."""
    scene = Scene(gateway, sender.partner)
    for study, case_id in sender.cases.items():
        assert scene.wait_for_study(case_id)["study_instance_uid"] == study
        scene.wait_for_checks(case_id)
        assert len(scene.intake.case(case_id)["studies"]) == 1
        assert scene.ehr.task(case_id)["status"] == "received"
    kept = {hashlib.sha256(file).hexdigest() for study in sender.cases for file in retrieve(scene, study)}
    assert {data_set(file) for file in sender.instances.values()} == kept


def retrieve(scene: Scene, study: str) -> list[bytes]:
    """The data sets of a study's instances, read back by WADO-RS."""
    found = []
    for instance in scene.pacs.instances(study):
        answer = requests.get(
            f"{scene.pacs.base}/studies/{study}/series/{instance.rsplit('.', 1)[0]}/instances/{instance}",
            headers=scene.pacs.partner.headers() | {"Accept": "application/dicom"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        found.append(without_meta(answer.content))
    return found


def data_set(file: bytes) -> str:
    return hashlib.sha256(without_meta(file)).hexdigest()


def without_meta(file: bytes) -> bytes:
    """What follows preamble and group 0002 (PS3.10 7.1): the length of the group stands in (0002,0000)."""
    length = int.from_bytes(file[140:144], "little")
    return file[144 + length :]
