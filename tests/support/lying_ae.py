"""An application entity of pynetdicom's that answers C-FIND truly, and C-GET as it is told to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from tests.support.fetching import Imaging

TITLE = "LIAR"
Send = Callable[[Any, Dataset], Dataset | None]
"""What is sent for an asked instance, by event and data set; None for nothing."""


class LyingAe:
    """``asked`` are the SOP Instance UIDs of its C-GETs, in order."""

    def __init__(self, imaging: Imaging) -> None:
        self._instances = dict(zip(imaging.uids, imaging.files, strict=True))
        self.asked: list[str] = []
        self.send: Send = lambda _event, ds: ds
        self.port = 0

    def find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        for uid in self._instances if event.identifier.QueryRetrieveLevel == "IMAGE" else ():
            found = Dataset()
            found.QueryRetrieveLevel = "IMAGE"
            found.StudyInstanceUID = event.identifier.StudyInstanceUID
            found.SeriesInstanceUID = event.identifier.SeriesInstanceUID
            found.SOPInstanceUID, found.SOPClassUID = uid, CTImageStorage
            yield 0xFF00, found

    def get(self, event: Any) -> Iterator[Any]:
        wanted = event.identifier.SOPInstanceUID
        uids = [wanted] if isinstance(wanted, str) else list(wanted)
        self.asked += uids
        yield len(uids)
        for uid in uids:
            ds = dcmread(DicomBytesIO(self._instances[uid]))
            sent = self.send(event, ds)
            if sent is not None:
                yield 0xFF00, sent


@contextmanager
def lying_ae(imaging: Imaging) -> Iterator[LyingAe]:
    lying, ae = LyingAe(imaging), AE(TITLE)
    for model in (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet):
        ae.add_supported_context(model)
    ae.add_supported_context(CTImageStorage, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_C_FIND, lying.find), (evt.EVT_C_GET, lying.get)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    lying.port = server.server_address[1]
    try:
        yield lying
    finally:
        server.shutdown()
