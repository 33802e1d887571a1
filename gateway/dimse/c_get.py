"""C-GET as SCP (PS3.4 C.4.3): a partner's own instances on the association on which it asks.

They are sent in the presentation contexts for which the peer has proposed itself as SCP (PS3.7 D.3.3.4), as their bytes
stand where one has the stored transfer syntax.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made at import
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelGet,
)

from gateway.dimse import exchange, retrieve
from gateway.dimse.command_set import C_STORE_RQ
from gateway.dimse.data_set import opened, syntax_for
from gateway.dimse.retrieve import Delivery, SubOperation
from gateway.dimse.serving import Request
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from gateway.store.tables import InstanceRow

CHANNEL = "c-get"
SOP_CLASSES = (
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelGet,
)
ANSWER_SECONDS = 60.0
_WARNINGS = frozenset({0x0001, 0x0107, 0x0116, 0xB000, 0xB006, 0xB007})  # PS3.7 C.3, PS3.4 Table B.2-1

log = structlog.get_logger(__name__)

Contexts = dict[tuple[str, str], int]
"""The presentation context for each SOP class and transfer syntax in which the peer stores."""


def serve_c_get(request: Request) -> None:
    """Raises GatewayError before the first sub-operation; what goes wrong with one is counted."""
    with_patients = request.message.AffectedSOPClassUID == PatientRootQueryRetrieveInformationModelGet
    partner, rows = retrieve.find(request, retrieve.wanted(request, with_patients))
    retrieve.disclose(request, partner, CHANNEL, rows)
    retrieve.run(request, rows, _deliver(request, rows))


def _deliver(request: Request, rows: Sequence["InstanceRow"]) -> Delivery:
    contexts = _storing_contexts(request.assoc)
    for number, row in enumerate(rows):
        yield row, _send(request, contexts, row, number % 0xFFFF + 1)


def _storing_contexts(assoc: "Association") -> Contexts:
    """Those of a SOP class for which the peer has proposed the SCP role."""
    roles = assoc.requestor.role_selection
    return {
        (str(cx.abstract_syntax), str(cx.transfer_syntax[0])): cast(int, cx.context_id)
        for cx in assoc.accepted_contexts
        if cx.abstract_syntax in roles and roles[cx.abstract_syntax].scp_role
    }


def _send(request: Request, contexts: Contexts, row: "InstanceRow", message_id: int) -> SubOperation:
    """Raises UnknownSender, Forbidden when the peer may be sent nothing more."""
    request.permitted("r")
    accepted = [transfer for abstract, transfer in contexts if abstract == row.sop_class_uid]
    syntax = syntax_for(row, accepted)
    if syntax is None:
        return SubOperation.FAILED
    command = _command(row, message_id)
    try:
        with opened(request.services, row, syntax) as data:
            if not exchange.send(request.assoc, contexts[row.sop_class_uid, syntax], command, data):
                return SubOperation.FAILED
    except GatewayError as error:
        log.warning("c-get-instance-failed", instance=row.id, reason=str(error))
        return SubOperation.FAILED
    return _how(request.assoc, row, message_id)


def _command(row: "InstanceRow", message_id: int) -> Dataset:
    command = Dataset()
    command.AffectedSOPClassUID = UID(row.sop_class_uid)
    command.CommandField = C_STORE_RQ
    command.MessageID = message_id
    command.Priority = 0x0000
    command.AffectedSOPInstanceUID = UID(row.sop_instance_uid)
    return command


def _how(assoc: "Association", row: "InstanceRow", message_id: int) -> SubOperation:
    """Without an answer the peer is as good as gone: the association is aborted."""
    answer = exchange.receive_answer(assoc, message_id, ANSWER_SECONDS)
    if answer is None:
        if exchange.is_open(assoc):
            assoc.abort()
        return SubOperation.FAILED
    if answer.Status == 0x0000:
        return SubOperation.COMPLETED
    if answer.Status in _WARNINGS:
        return SubOperation.WARNING
    log.warning("c-get-instance-refused", instance=row.id, status=f"{answer.Status:04X}")
    return SubOperation.FAILED
