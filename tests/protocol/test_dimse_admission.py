"""Who may open an association: registered by title, by address, by the title they call (PS3.8 9.3.4)."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from pynetdicom.sop_class import Verification

from gateway.config import Config
from gateway.store import partners
from gateway.store.database import Database
from gateway.store.partners import ApplicationEntity, Registration
from tests.support.dimse import association, dcmtk, listener_in_this_process

IMPLICIT_LITTLE = "1.2.840.10008.1.2"

CALLING_UNKNOWN = "F: Reason: Calling AE Title Not Recognized"
CALLED_UNKNOWN = "F: Reason: Called AE Title Not Recognized"
PERMANENT = "F: Result: Rejected Permanent, Source: Service User"


@pytest.mark.parametrize(
    ("registered", "admitted"),
    [
        ({"addresses": ("127.0.0.0/8",)}, True),
        ({"addresses": ("10.0.0.0/8", "192.168.1.7")}, False),
        ({"host": "localhost", "port": 104}, True),
        ({"host": "10.0.0.1", "port": 104}, False),
        ({"certificate": "CN=pacs"}, False),
    ],
    ids=["network", "other-network", "host", "other-host", "certificate"],
)
def test_an_ae_is_admitted_from_where_it_is_registered(
    tmp_path: Path, registered: dict[str, object], admitted: bool
) -> None:
    with listener_in_this_process(tmp_path, ApplicationEntity("HOSPITAL_A", **registered)) as listener:
        done = dcmtk("echoscu", listener)
    assert (done.returncode == 0) is admitted
    assert (PERMANENT in done.stdout and CALLING_UNKNOWN in done.stdout) is not admitted


def test_an_ae_may_call_the_gateway_by_the_title_that_is_registered_for_it_only(tmp_path: Path) -> None:
    aes = (ApplicationEntity("HOSPITAL_A"), ApplicationEntity("PACS", called_ae_title="OPINIONS"))
    with listener_in_this_process(tmp_path, *aes) as listener:
        assert dcmtk("echoscu", listener, calling="PACS", called="OPINIONS").returncode == 0
        for calling, called in (("PACS", listener.ae_title), ("HOSPITAL_A", "OPINIONS")):
            done = dcmtk("echoscu", listener, calling=calling, called=called)
            assert PERMANENT in done.stdout
            assert CALLED_UNKNOWN in done.stdout


def test_one_partner_does_not_take_every_association(tmp_path: Path) -> None:
    aes = (ApplicationEntity("HOSPITAL_A"), ApplicationEntity("CT"))
    limits = {"max_associations": 3, "max_associations_of_partner": 2}
    with listener_in_this_process(tmp_path, *aes, **limits) as listener, ExitStack() as open_ones:
        with Database(Config(data_dir=tmp_path).sqlalchemy_url).transaction() as session:
            other = Registration("hospital-b", "B", application_entities=(ApplicationEntity("HOSPITAL_B"),))
            partners.add(session, other)
        first = open_ones.enter_context(association(listener, [(Verification, IMPLICIT_LITTLE)]))
        open_ones.enter_context(association(listener, [(Verification, IMPLICIT_LITTLE)], calling="CT"))

        refused = dcmtk("echoscu", listener)
        assert dcmtk("echoscu", listener, calling="HOSPITAL_B").returncode == 0
        first.release()

        assert "F: Result: Rejected Transient" in refused.stdout
        assert "F: Reason: Local Limit Exceeded" in refused.stdout
        assert dcmtk("echoscu", listener).returncode == 0
