"""C-FIND as SCP of the Patient Root and Study Root models (PS3.4 C.4.1, C.6): a partner finds its own imaging.

Keys of the levels above may be given or not, whether relational queries were negotiated or not: what does not match is
never answered. A key that cannot be matched is passed over, and the status of each match says so (C.2.2.1.3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from pynetdicom.sop_class import (  # type: ignore[attr-defined] # made at import
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
)

from gateway.case.access import Partner
from gateway.dimse.exchange import wait_for_room
from gateway.dimse.serving import Request
from gateway.dimse.status import (
    CANCELLED,
    IDENTIFIER_DOES_NOT_MATCH,
    OUT_OF_RESOURCES,
    PENDING,
    PENDING_KEYS_NOT_SUPPORTED,
    SUCCESS,
    Outcome,
    outcome,
)
from gateway.errors import InvalidContent
from gateway.store.imaging_criteria import Criterion, Page
from gateway.workflow import disclosure, imaging_find
from gateway.workflow.imaging_find import Matches
from gateway.workflow.imaging_query import Matching, MatchingKey, matching_key, read_criteria
from mappings.dicom_attributes import COMPUTED, IN_FILE, attributes_down_to
from mappings.dicom_identifier import AskedKey, answer, asked_keys, character_sets
from mappings.dicom_to_json import Json

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.events import Event

CHANNEL = "c-find"
PAGE = 500
MOST_MATCHES = 10_000
SOP_CLASSES = (PatientRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelFind)
_LEVELS = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "instance"}
_PATIENT_COUNTS = frozenset(
    {
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    }
)
_EVERYWHERE = frozenset({"RetrieveAETitle", "InstanceAvailability"})
_NOWHERE = frozenset({"RetrieveURL"})
_SUPPORTED_BYTES = bytes((1, 1, 1, 0, 0, 1, 1))  # as Extended, in the order of PS3.4 Table C.5-1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Extended:
    """What of PS3.4 Table C.5-1 the peer has asked for, all of which it gets: absent bytes are no."""

    information: bytes

    def matching(self) -> Matching:
        return Matching(combined=self._has(1), fuzzy=self._has(2), empty=self._has(5), every=self._has(6))

    def answered(self) -> bytes:
        """Timezone query adjustment and enhanced multi-frame conversion are not supported."""
        pairs = zip(self.information, _SUPPORTED_BYTES, strict=False)
        return bytes(asked & supported for asked, supported in pairs)

    def _has(self, place: int) -> bool:
        return self.information[place : place + 1] == b"\1"


def on_sop_extended(event: "Event") -> dict[str, bytes]:
    """Handler of EVT_SOP_EXTENDED."""
    asked = event.assoc.requestor.sop_class_extended
    return {uid: Extended(asked[uid]).answered() for uid in SOP_CLASSES if uid in asked}


@dataclass(frozen=True, slots=True)
class Query:
    """``asked`` are the keys that are answered; ``passed_over`` says whether there are others, or unmatched ones."""

    level_asked: str
    criteria: list[Criterion]
    asked: list[AskedKey]
    passed_over: bool
    extra_tags: frozenset[int]
    character_sets: list[str]

    @property
    def level(self) -> str:
        return _LEVELS[self.level_asked]

    @property
    def pending(self) -> Outcome:
        return Outcome(PENDING_KEYS_NOT_SUPPORTED if self.passed_over else PENDING)


def serve_c_find(request: Request) -> None:
    """Raises GatewayError, also after the first match: the operator may shut the partner out meanwhile."""
    query = _read(request)
    if query is None:
        request.respond(
            outcome(IDENTIFIER_DOES_NOT_MATCH, "The Query/Retrieve Level is not one of this model.")
        )
        return
    partner = request.permitted("s")
    count = 0
    for matches in _pages(request, partner, query):
        for match in matches.attributes:
            if request.is_cancelled or not wait_for_room(request.assoc):
                _end(request, CANCELLED, count)
                return
            request.permitted("s")
            request.respond(query.pending, ("Identifier", _identifier(request, query, match)))
            count += 1
        if matches.has_more and count >= MOST_MATCHES:
            _end(request, OUT_OF_RESOURCES, count, f"More than {MOST_MATCHES} match; ask for less.")
            return
    _end(request, CANCELLED if request.is_cancelled else SUCCESS, count)


def _read(request: Request) -> Query | None:
    """None for a level that is missing or none of the model's. Raises InvalidContent."""
    identifier = request.data_set(request.message.Identifier)
    level = str(identifier.get("QueryRetrieveLevel", "")).strip()
    sop_class_uid = request.message.AffectedSOPClassUID
    if level not in _LEVELS or (level == "PATIENT" and sop_class_uid != SOP_CLASSES[0]):
        return None
    asked = asked_keys(identifier)
    answered = [key for key in asked if _is_answered(_LEVELS[level], key)]
    keys, unmatched = _matching_keys(_LEVELS[level], asked)
    extended = Extended(request.assoc.requestor.sop_class_extended.get(sop_class_uid, b""))
    return Query(
        level,
        read_criteria(keys, extended.matching()),
        answered,
        unmatched or len(answered) < len(asked),
        _extra_tags(_LEVELS[level], answered),
        character_sets(identifier),
    )


def _extra_tags(level: str, answered: list[AskedKey]) -> frozenset[int]:
    """What only the files tell; where they are read, also how Instance Number is spelt: the index has its value."""
    in_files = frozenset(key.tag for key in answered if _is_in_file(level, key))
    if level != "instance" or not in_files:
        return in_files
    return in_files | {key.tag for key in answered if key.keyword == "InstanceNumber"}


def _is_answered(level: str, key: AskedKey) -> bool:
    """Of an instance every attribute is; a count only at its own level."""
    if key.keyword in _EVERYWHERE or (level == "patient" and key.keyword in _PATIENT_COUNTS):
        return True
    known = attributes_down_to(level).get(key.keyword)
    if known is None:
        return level == "instance"
    return key.keyword not in _NOWHERE and (known.source != COMPUTED or known.level == level)


def _is_in_file(level: str, key: AskedKey) -> bool:
    known = attributes_down_to(level).get(key.keyword)
    return known.source == IN_FILE if known else key.keyword not in _EVERYWHERE | _PATIENT_COUNTS


def _matching_keys(level: str, asked: list[AskedKey]) -> tuple[list[tuple[MatchingKey, str]], bool]:
    """The keys that have a value and can be matched, and whether there are some that cannot."""
    named = [(key.keyword, key.value) for key in asked if not key.items]
    named += [(f"{key.keyword}.{item.keyword}", item.value) for key in asked for item in key.items]
    found = [(matching_key(level, name), value) for name, value in named if value.strip("*")]
    return [(key, value) for key, value in found if key is not None], any(key is None for key, _ in found)


def _pages(request: Request, partner: Partner, query: Query) -> Iterator[Matches]:
    """Each on the trail before it is answered. The order is stable and nothing is deleted: none is left out."""
    for offset in range(0, MOST_MATCHES, PAGE):
        matches = imaging_find.find(
            request.services,
            partner,
            query.level,
            query.criteria,
            Page(PAGE, offset),
            query.extra_tags,
            is_spelt=True,
        )
        disclosure.record(
            request.services,
            partner,
            disclosure.SEARCH,
            f"imaging:{query.level}",
            request.origin(CHANNEL),
            found=len(matches.found),
        )
        yield matches
        if not matches.has_more:
            return


def _identifier(request: Request, query: Query, match: Json) -> "Dataset":
    always = {
        "00080052": {"vr": "CS", "Value": [query.level_asked]},
        "00080054": {"vr": "AE", "Value": [request.peer.caller.called_ae_title]},
    }
    return answer(match, query.asked, always, query.character_sets)


def refusal(error: Exception) -> Outcome | None:
    """PS3.4 Table C.4-1; as for C-MOVE and C-GET."""
    return outcome(IDENTIFIER_DOES_NOT_MATCH, str(error)) if isinstance(error, InvalidContent) else None


def _end(request: Request, code: int, count: int, words: str = "") -> None:
    log.info("searched", service="C_FIND", status=f"{code:04X}", matches=count)
    if request.is_open:
        request.respond(outcome(code, words))
