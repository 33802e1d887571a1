"""An SCU that sends data sets as their bytes stand, and announces of each what it is told to."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from tests.support.dimse import Answer, Listener, association
from tests.support.processes import wait_until

_CONTEXTS = 128
"""In one association (PS3.8 9.3.2.2)."""


@dataclass(frozen=True)
class DataSet:
    """What a C-STORE-RQ announces, and the encoded data set."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    content: bytes

    @property
    def context(self) -> tuple[str, str]:
        return self.sop_class_uid, self.transfer_syntax_uid


def send_data_sets(gateway: Listener, data_sets: Sequence[DataSet], calling: str) -> list[Answer]:
    """C-STORE each, on as few associations as there is room for its presentation contexts."""
    answers: list[Answer] = []
    for first in range(0, len(data_sets), _CONTEXTS):
        some = data_sets[first : first + _CONTEXTS]
        with association(gateway, [one.context for one in some], calling) as assoc:
            assoc._reactor_checkpoint.clear()  # the answers are read here, not in the association's thread
            wait_until(lambda assoc=assoc: assoc._is_paused)
            answers += [_store(assoc, one) for one in some]
            assoc._reactor_checkpoint.set()
    return answers


def _store(assoc: Association, sent: DataSet) -> Answer:
    (context_id,) = (
        cx.context_id
        for cx in assoc.accepted_contexts
        if (cx.abstract_syntax, cx.transfer_syntax[0]) == sent.context
    )
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sent.sop_class_uid, sent.sop_instance_uid
    request.DataSet = BytesIO(sent.content)
    assoc.dimse.send_msg(request, context_id)
    _, response = assoc.dimse.get_msg(block=True)
    assert response is not None, "the gateway did not answer"
    return Answer(response.Status, response.ErrorComment or "")
