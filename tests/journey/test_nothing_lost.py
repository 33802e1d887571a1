"""Kill any process with SIGKILL in the middle of the work: what was acknowledged is there afterwards, and goes on."""

from pathlib import Path

import pytest

from tests.support.gateway_process import INTAKE, SPECIALIST, GatewayProcess
from tests.support.steady_sender import Sender, everything_is_there, kill_part

CASES = 6


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", ["web", "dimse", "worker", "everything"])
def test_nothing_acknowledged_is_lost_when_a_process_is_killed(part: str, tmp_path: Path) -> None:
    with GatewayProcess() as gateway:
        partner = gateway.add_partner("hospital-a", name="Hospital A", ae_title="HOSPITAL_A")
        gateway.add_user(INTAKE)
        gateway.add_user(SPECIALIST)
        sender = Sender(gateway, partner, tmp_path, wanted=CASES)
        sender.start()
        assert sender.started_case.wait(60), "the sender got nowhere"
        kill_part(gateway, part)
        sender.join(200)
        assert not sender.is_alive(), "the sender did not finish"
        assert sender.failure is None
        assert len(sender.cases) == CASES
        everything_is_there(gateway, sender)
