"""What a hospital's scopes allow by DICOM's own protocol is what they allow by DICOMweb."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)
from sqlalchemy import select

from gateway.config import Config
from gateway.store import partners
from gateway.store.database import Database
from gateway.store.partners import ApplicationEntity, Registration
from gateway.store.tables import AuditRow, StudyRow
from mappings.storage_commitment import SOP_INSTANCE_UID
from tests.support.dimse import (
    TEST_FILES,
    Answer,
    RunningListener,
    association,
    listener_in_this_process,
    new_instance,
    send,
)
from tests.support.finding import find, identifier
from tests.support.processes import wait_until
from tests.support.retrieving import reference, request

SUCCESS, NOT_AUTHORIZED = 0x0000, 0x0124
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
ALLOWED = {
    "system/*.cruds": {"store", "commit", "find", "get", "move"},
    "system/ImagingStudy.c": {"store", "commit"},
    "system/ImagingStudy.s": {"find", "commit"},
    "system/ImagingStudy.r": {"get", "move"},
    "system/ImagingStudy.rs": {"find", "get", "move", "commit"},
    "system/Patient.rs": set(),
}


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningListener]:
    with listener_in_this_process(tmp_path_factory.mktemp("scopes"), max_associations=16) as running:
        with Database(Config(data_dir=running.data_dir).sqlalchemy_url).transaction() as session:
            for number, scope in enumerate(ALLOWED):
                entity = ApplicationEntity(f"SCOPED_{number}")
                hospital = Registration(
                    f"scoped-{number}", "S", scopes=(scope,), application_entities=(entity,)
                )
                partners.add(session, hospital)
        yield running


def calling_with(scope: str) -> str:
    return f"SCOPED_{list(ALLOWED).index(scope)}"


@pytest.mark.parametrize(("scope", "allowed"), ALLOWED.items())
def test_a_scope_allows_the_same_as_by_dicomweb(
    listener: RunningListener, tmp_path: Path, scope: str, allowed: set[str]
) -> None:
    file = new_instance(tmp_path / "one.dcm", TEST_FILES / "CT_small.dcm")
    calling = calling_with(scope)
    (stored,) = send(listener, file, calling=calling)
    statuses = {"store": stored.status}
    statuses["find"] = find(listener, identifier("STUDY", StudyInstanceUID="1.2.3"), calling=calling).status
    asked = identifier("STUDY", StudyInstanceUID="1.2.3")
    get, move = StudyRootQueryRetrieveInformationModelGet, StudyRootQueryRetrieveInformationModelMove
    models = [(model, EXPLICIT_LITTLE) for model in (get, move, StorageCommitmentPushModel)]
    with association(listener, models, calling) as assoc:
        statuses["get"] = list(assoc.send_c_get(asked, get))[-1][0].Status
        statuses["move"] = list(assoc.send_c_move(asked, "NOWHERE", move))[-1][0].Status
        commitment = request(reference(file))
        told, _ = assoc.send_n_action(commitment, 1, StorageCommitmentPushModel, SOP_INSTANCE_UID)
        statuses["commit"] = told.Status
    assert {service for service, status in statuses.items() if status != NOT_AUTHORIZED} == allowed


def test_what_may_not_be_stored_is_refused_and_on_the_trail(
    listener: RunningListener, tmp_path: Path
) -> None:
    file = new_instance(tmp_path / "one.dcm", TEST_FILES / "CT_small.dcm")
    calling = calling_with("system/ImagingStudy.rs")
    assert send(listener, file, calling=calling) == [
        Answer(NOT_AUTHORIZED, "This partner may not create imaging.")
    ]
    number = calling.removeprefix("SCOPED_")
    with Database(Config(data_dir=listener.data_dir).sqlalchemy_url).reading() as session:
        last = session.scalars(
            select(AuditRow).where(AuditRow.action == "refused").order_by(AuditRow.id)
        ).all()[-1]
        kept = session.scalars(select(StudyRow).where(StudyRow.partner_id == f"scoped-{number}")).all()
    assert (last.actor, last.subject) == (f"partner:scoped-{number}", f"partner:scoped-{number}")
    assert (last.channel, last.detail) == ("c-store", {"cause": "Forbidden"})
    assert kept == []
    wait_until(lambda: not list((listener.data_dir / "incoming").iterdir()))
