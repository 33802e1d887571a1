"""Messages as they arrive: a C-STORE's data set goes to disk, never whole into memory, and is never decoded.

A C-STORE is served in the thread that reads the socket, as soon as its last fragment is here: the peer waits for the
answer (no asynchronous operations are negotiated), and a second thread would only cost time. All other messages are
pynetdicom's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from gateway.auth.ae import Caller, Recognised
from gateway.case.access import Origin, Partner
from gateway.dimse.command_set import (
    C_STORE_RQ,
    StoreRequest,
    command_field,
    read_elements,
    read_store_request,
    store_response,
)
from gateway.dimse.status import CANNOT_UNDERSTAND, Outcome
from gateway.dimse.upper_layer import Noticed
from gateway.errors import GatewayError, NotDicom, NotSupported
from gateway.store.objects import Spool
from gateway.workflow.receive_stream import InstanceStream
from mappings.dicom_file_meta import encode_file_meta

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from gateway.dimse.upper_layer import UpperLayer
    from gateway.services import Services

MAX_COMMAND_BYTES = 64 * 1024
MAX_IDENTIFIER_BYTES = 64 * 1024 * 1024  # a storage commitment of 100,000 instances is a fifth of it
_COMMAND, _LAST = 0x01, 0x02  # bits of the message control header (PS3.8 E.2)
_IDLE_SECONDS = 0.25


@dataclass(slots=True)
class Peer:
    """Who is at the other end of an association. ``recognised``: as what it was last known again, and when."""

    caller: Caller
    partner: Partner
    origin: Origin
    recognised: Recognised
    recognised_at: float


class ArrivingDataSet:
    """The data set of one C-STORE, which becomes a DICOM file in a spool.

    What goes wrong while it arrives is kept for ``received``, and the rest let go: an exception in the thread that
    reads the socket would end the association and with it the instances that follow. ``error`` is what is wrong with it
    before it arrives.
    """

    def __init__(self, open_spool: Callable[[], Spool], error: GatewayError | None = None) -> None:
        self._open_spool = open_spool
        self._spool: Spool | None = None
        self._error = error

    def write(self, fragment: memoryview) -> None:
        if self._error is not None:
            return
        try:
            if self._spool is None:
                self._spool = self._open_spool()
            self._spool.write(fragment)
        except GatewayError as error:
            self._error = error

    def received(self) -> Spool:
        """The complete file, from now on the caller's. Raises what went wrong while it arrived."""
        if self._error is not None:
            raise self._error
        if self._spool is None:
            raise NotDicom("The C-STORE request came without a data set.")
        spool, self._spool = self._spool, None
        return spool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file unless somebody received it."""
        if self._spool is not None:
            self._spool.remove()


Serve = Callable[["StoringDimse", StoreRequest, ArrivingDataSet], Outcome]


class StoringDimse(DIMSEServiceProvider):
    """The DIMSE provider of one association. ``peer`` is None until the association is admitted.

    ``serve`` answers a C-STORE whose data set has arrived, and raises nothing.
    """

    def __init__(self, assoc: "Association", services: "Services", serve: Serve) -> None:
        super().__init__(assoc)
        self.peer: Peer | None = None
        self.stream = InstanceStream(services)
        self.msg_queue = Noticed(self._upper_layer.notice)
        self._objects, self._serve = services.objects, serve
        self._other_services = frozenset(cx.abstract_syntax for cx in assoc.acceptor.supported_contexts)
        self._context_id = -1  # of the message that comes, or came last
        self._longest_pdu = 0  # that the peer takes; 0 is any
        self._command = bytearray()
        self._passed_on = 0
        self._storing: tuple[StoreRequest, ArrivingDataSet] | None = None

    @property
    def _upper_layer(self) -> "UpperLayer":
        return cast("UpperLayer", self.dul)

    def receive_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        """One presentation data value (PS3.8 E.2). Raises ValueError when what comes makes no message."""
        if context_id != self._context_id:
            self._change_context(context_id)
        if self.message is not None:
            if control & _COMMAND:
                raise ValueError("a command inside a data set")
            self._pass_on(context_id, control, fragment)
        elif control & _COMMAND:
            self._take_command(context_id, control, fragment)
        elif self._storing is not None:
            request, arriving = self._storing
            arriving.write(fragment)
            self.stream.keep_up()
            if control & _LAST:
                self._finish(request, arriving)
        else:
            raise ValueError("a data set without a command")

    def _change_context(self, context_id: int) -> None:
        """All fragments of a message come in one context, without those of another between them (PS3.8 E.1)."""
        if self._command or self._storing is not None or self.message is not None:
            raise ValueError("a message in two presentation contexts")
        if context_id not in self.assoc._accepted_cx:
            raise ValueError("a message in a presentation context that was not accepted")
        self._context_id, self._longest_pdu = context_id, self.maximum_pdu_size

    @property
    def abstract_syntax(self) -> str:
        """Of the presentation context in which the message came."""
        return str(self.assoc._accepted_cx[self._context_id].abstract_syntax)

    def _take_command(self, context_id: int, control: int, fragment: memoryview) -> None:
        self._command += fragment
        if self._storing is not None or len(self._command) > MAX_COMMAND_BYTES:
            raise ValueError("a command inside a data set, or without an end")
        if not control & _LAST:
            return
        command = bytes(self._command)
        self._command.clear()
        elements = read_elements(command)
        if command_field(elements) == C_STORE_RQ:
            self._begin(read_store_request(context_id, elements))
        else:
            self.stream.catch_up()
            self._passed_on = 0
            self._pass_on(context_id, control, memoryview(command))

    def _begin(self, request: StoreRequest) -> None:
        self.stream.begin()
        arriving = ArrivingDataSet(lambda: self._new_spool(request), self._what_forbids_storing())
        self._storing = request, arriving
        if not request.has_data_set:
            self._finish(request, arriving)

    def _what_forbids_storing(self) -> NotSupported | None:
        """In the context of the request (PS3.7 9.1.1.1.9, D.3.3.4)."""
        context = self.assoc._accepted_cx[self._context_id]
        if context.abstract_syntax in self._other_services:
            return NotSupported("This presentation context is not for storage.")
        if not context.as_scp:
            return NotSupported("The sender has negotiated not to store this SOP class.")
        return None

    def _finish(self, request: StoreRequest, arriving: ArrivingDataSet) -> None:
        self._storing = None
        with arriving:
            outcome = self._answer(request, arriving)
        self._upper_layer.send_now(store_response(request, outcome, self._longest_pdu))
        self.stream.keep_up()

    def _answer(self, request: StoreRequest, arriving: ArrivingDataSet) -> Outcome:
        """A request that lacks a mandatory element is answered too; without a message id there is no way to."""
        if request.message_id is None:
            raise ValueError("a C-STORE request without a message id")
        if not (request.sop_class_uid and request.sop_instance_uid):
            return Outcome(CANNOT_UNDERSTAND, "The request lacks a mandatory element.")
        return self._serve(self, request, arriving)

    def _pass_on(self, context_id: int, control: int, fragment: memoryview) -> None:
        self._passed_on += len(fragment)
        if self._passed_on > MAX_IDENTIFIER_BYTES:
            raise ValueError("a message of more than is taken")
        primitive = P_DATA()
        values: Any = [[context_id, bytes((control,)) + fragment]]
        primitive.presentation_data_value_list = values
        self.receive_primitive(primitive)

    def get_msg(self, block: bool = False) -> Any:
        """Called by the association's thread every millisecond: it rests until there is something for it."""
        if not block and self.msg_queue.empty():
            self._upper_layer.notice.wait(_IDLE_SECONDS)
            self._upper_layer.notice.clear()
        return super().get_msg(block)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """The time that the answer took here is not the peer's idleness."""
        self.dul._idle_timer.restart()
        super().send_msg(primitive, context_id)

    def close(self) -> None:
        """Remove what an association left behind that ended in the middle of a data set."""
        if self._storing is not None:
            self._storing[1].__exit__()

    def _new_spool(self, request: StoreRequest) -> Spool:
        context = self.assoc._accepted_cx[request.context_id]
        spool = self._objects.spool()
        syntax = str(context.transfer_syntax[0])
        spool.write(encode_file_meta(request.sop_class_uid, request.sop_instance_uid, syntax))
        return spool
