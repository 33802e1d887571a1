"""A FHIR bundle as the edge has read it: entries in order, faults named, nothing decided yet."""

from dataclasses import dataclass
from typing import Any

from gateway.errors import Issue


@dataclass(frozen=True, slots=True)
class Entry:
    """One Bundle.entry. ``method`` is POST, PUT, PATCH or empty (collection, document, message).

    ``refused``: the entry of a batch that is not taken, with the reason in ``issues``. ``sent_type``: the resource's
    type in the release that was sent; ``resource`` and ``url`` are R4. ``existing``: the reference that a condition
    was found to name.
    """

    index: int
    full_url: str
    resource: dict[str, Any] | None
    method: str = ""
    url: str = ""
    if_none_exist: str = ""
    if_match: str = ""
    issues: tuple[Issue, ...] = ()
    refused: bool = False
    sent_type: str = ""
    existing: str = ""

    @property
    def path(self) -> str:
        return f"Bundle.entry[{self.index}]"

    @property
    def type(self) -> str:
        return str(self.resource.get("resourceType", "")) if self.resource else ""


@dataclass(frozen=True, slots=True)
class Submission:
    """``bundle_type``: transaction, batch, collection, document or message.

    ``faults`` refuse the whole (a transaction's only): told together with references that lead nowhere.
    ``subject_elsewhere``: documents and lists may be about a Patient that is not here (IHE MHD ITI-65 2:3.65.4.1.2.2).
    ``is_single``: a transaction of one entry that was sent as a resource by itself.
    """

    bundle_type: str
    entries: tuple[Entry, ...]
    faults: tuple[Issue, ...] = ()
    subject_elsewhere: bool = False
    is_single: bool = False

    def place_of(self, entry: Entry) -> str:
        """FHIRPath of an entry's resource in what was sent."""
        return entry.sent_type if self.is_single else f"{entry.path}.resource"

    @property
    def kept(self) -> tuple[Entry, ...]:
        return tuple(e for e in self.entries if e.resource is not None and not e.refused)


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """What became of one entry: ``status`` created, updated, unchanged or refused."""

    status: str
    reference: str = ""
    version: int = 0
    updated_at: str = ""
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a bundle. ``opened``: a case began with it; ``repeated``: the same bytes came before."""

    receipt_id: str
    case_ids: tuple[str, ...]
    opened: bool
    repeated: bool
    entries: tuple[EntryOutcome, ...]
