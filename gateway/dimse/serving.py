"""One request of a peer, from its message to its responses (PS3.7 8, 9)."""

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode, encode

from gateway.auth.ae import require_imaging_scope
from gateway.case.access import Origin, Partner
from gateway.dimse.admission import partner_now
from gateway.dimse.arriving import Peer, StoringDimse
from gateway.dimse.exchange import is_open
from gateway.dimse.status import Outcome
from gateway.errors import Forbidden, InvalidContent

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

    from gateway.services import Services


@dataclass(frozen=True, slots=True)
class Request:
    """``message`` is pynetdicom's primitive of the request; its responses are of the same class."""

    services: "Services"
    assoc: "Association"
    message: Any
    context: "PresentationContext"

    @property
    def peer(self) -> Peer:
        """Raises Forbidden when nobody has been admitted."""
        peer = cast(StoringDimse, self.assoc.dimse).peer
        if peer is None:
            raise Forbidden("This association was not admitted.")
        return peer

    def permitted(self, *interactions: str) -> Partner:
        """The partner as registered now, which may do one of these to imaging: c, r, s.

        Asked anew before each message that bears data of patients. Raises UnknownSender, Forbidden.
        """
        partner = partner_now(self.services, self.peer)
        require_imaging_scope(partner, *interactions)
        return partner

    def origin(self, channel: str) -> Origin:
        return Origin(channel, self.peer.origin.address)

    @property
    def is_cancelled(self) -> bool:
        """By a C-CANCEL (PS3.7 9.3.2.3)."""
        return self.message.MessageID in self.assoc.dimse.cancel_req

    @property
    def is_open(self) -> bool:
        return is_open(self.assoc)

    def data_set(self, encoded: BytesIO | None) -> Dataset:
        """Raises InvalidContent when it cannot be decoded."""
        syntax = self._syntax
        try:
            ds = decode(
                encoded or BytesIO(), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated
            )
            for element in ds.iterall():  # pydicom decodes a value when it is looked at
                _ = element.value
        except Exception as error:  # whatever pydicom cannot read of what the peer sent
            raise InvalidContent("The data set of the request cannot be read.") from error
        return ds

    def respond(
        self, outcome: Outcome, data_set: tuple[str, Dataset] | None = None, **parameters: Any
    ) -> None:
        """``data_set`` is the response's keyword for it, as Identifier, and what is sent under it."""
        answer = type(self.message)()
        answer.MessageIDBeingRespondedTo = self.message.MessageID
        for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID"):
            requested = getattr(self.message, keyword.replace("Affected", "Requested"), None)
            if hasattr(answer, keyword):
                setattr(answer, keyword, getattr(self.message, keyword, None) or requested)
        answer.Status, answer.ErrorComment = outcome.code, outcome.comment or None
        for keyword, value in parameters.items():
            setattr(answer, keyword, value)
        if data_set is not None:
            setattr(answer, data_set[0], self.encoded(data_set[1]))
        self.assoc.dimse.send_msg(answer, self.context_id)

    @property
    def context_id(self) -> int:
        return cast(int, self.context.context_id)

    def encoded(self, ds: Dataset) -> BytesIO:
        """In the transfer syntax of the request's presentation context."""
        syntax = self._syntax
        return BytesIO(encode(ds, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated) or b"")

    @property
    def _syntax(self) -> UID:
        return UID(self.context.transfer_syntax[0])
