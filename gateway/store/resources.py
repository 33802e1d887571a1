"""FHIR resources as partners sent them: versions, identities, search."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import simplejson
from sqlalchemy import ColumnElement, and_, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session, aliased

from gateway.case.access import Partner
from gateway.case.model import Source
from gateway.errors import NotFound
from gateway.store.tables import ReceiptRow, ResourceRow

_IN_CHUNK = 500


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A resource to be kept. ``identity`` is how the sender will name it again; see workflow/receive.py."""

    type: str
    fhir_id: str
    identity: str
    path: str
    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredResource:
    """A version of a partner's resource. ``content`` keeps decimals as Decimal, digits as sent."""

    pk: int
    type: str
    fhir_id: str
    version: int
    updated_at: datetime
    receipt_id: str
    receipt_sha256: str
    path: str
    case_id: str | None
    identity: str
    content: dict[str, Any]

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.fhir_id}"


_DECODER = simplejson.JSONDecoder(parse_float=Decimal)
_ENCODER = simplejson.JSONEncoder(use_decimal=True, ensure_ascii=False, separators=(",", ":"))


def loads(text: str | bytes) -> Any:
    """JSON with decimals kept as Decimal, so 1.00 stays 1.00 (FHIR R4 2.24.0.1, decimal)."""
    return _DECODER.decode(text if isinstance(text, str) else text.decode())


def dumps(value: Any) -> str:
    """The inverse of ``loads``: UTF-8 text without needless white space."""
    text: str = _ENCODER.encode(value)
    return text


def identities(
    session: Session, partner: Partner, wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """FHIR ids of current resources by (type, identity), of this partner only."""
    pairs = sorted(set(wanted))
    found: dict[tuple[str, str], str] = {}
    for start in range(0, len(pairs), _IN_CHUNK):
        chunk = pairs[start : start + _IN_CHUNK]
        rows = session.execute(
            select(ResourceRow.type, ResourceRow.identity, ResourceRow.fhir_id).where(
                ResourceRow.partner_id == partner.id,
                ResourceRow.current,
                ResourceRow.type.in_({kind for kind, _ in chunk}),
                ResourceRow.identity.in_({identity for _, identity in chunk}),
            )
        )
        found |= {(kind, identity): fhir_id for kind, identity, fhir_id in rows}
    return {pair: found[pair] for pair in pairs if pair in found}


def existing(session: Session, partner: Partner, references: Iterable[str]) -> set[str]:
    """Which of the references ``Type/id`` name a resource of this partner."""
    return set(current_versions(session, partner, references))


def current_versions(session: Session, partner: Partner, references: Iterable[str]) -> dict[str, int]:
    """By reference ``Type/id`` the version of each that is a resource of this partner."""
    wanted = sorted(set(references))
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _IN_CHUNK):
        chunk = [reference.split("/", 1) for reference in wanted[start : start + _IN_CHUNK]]
        rows = session.execute(
            select(ResourceRow.type, ResourceRow.fhir_id, ResourceRow.version).where(
                ResourceRow.partner_id == partner.id,
                ResourceRow.current,
                ResourceRow.type.in_({kind for kind, _ in chunk}),
                ResourceRow.fhir_id.in_({fhir_id for _, fhir_id in chunk}),
            )
        )
        found |= {f"{kind}/{fhir_id}": version for kind, fhir_id, version in rows}
    return {reference: found[reference] for reference in wanted if reference in found}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one NewVersion: created, updated or unchanged."""

    reference: str
    version: int
    status: str
    updated_at: datetime


def save(
    session: Session, partner: Partner, receipt: ReceiptRow, versions: Sequence[NewVersion], now: datetime
) -> list[Outcome]:
    """Keep each version in order. Content that does not differ from the current version changes nothing."""
    current = _current_rows(session, partner, [(v.type, v.fhir_id) for v in versions])
    new_rows: list[_Row] = []
    superseded: list[int] = []
    outcomes = []
    for new in versions:
        text = dumps(new.content)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        reference, before = f"{new.type}/{new.fhir_id}", current.get((new.type, new.fhir_id))
        if before is not None and before["fingerprint"] == fingerprint:
            outcomes.append(Outcome(reference, before["version"], "unchanged", before["updated_at"]))
            continue
        if before is not None:
            before["current"] = False
            superseded += [before["pk"]] if "pk" in before else []
        version = before["version"] + 1 if before else 1
        row: _Row = {
            "partner_id": partner.id,
            "type": new.type,
            "fhir_id": new.fhir_id,
            "version": version,
            "current": True,
            "identity": new.identity,
            "fingerprint": fingerprint,
            "receipt_id": receipt.id,
            "path": new.path,
            "content": text,
            "case_id": before["case_id"] if before else None,
            "updated_at": now,
        }
        new_rows.append(row)
        current[(new.type, new.fhir_id)] = row
        outcomes.append(Outcome(reference, version, "updated" if before else "created", now))
    _write(session, superseded, new_rows)
    return outcomes


_Row = dict[str, Any]
"""By column; ``pk`` of one that is in the database already."""


def _write(session: Session, superseded: list[int], new_rows: list[_Row]) -> None:
    for start in range(0, len(superseded), _IN_CHUNK):
        chosen = ResourceRow.pk.in_(superseded[start : start + _IN_CHUNK])
        session.execute(update(ResourceRow).where(chosen).values(current=False))
    if new_rows:
        session.execute(insert(ResourceRow), new_rows)


def _current_rows(
    session: Session, partner: Partner, keys: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], _Row]:
    """What a next version needs to know of the current one."""
    asked = (
        *(ResourceRow.pk, ResourceRow.type, ResourceRow.fhir_id, ResourceRow.version),
        *(ResourceRow.fingerprint, ResourceRow.case_id, ResourceRow.updated_at),
    )
    found: dict[tuple[str, str], _Row] = {}
    for start in range(0, len(keys), _IN_CHUNK):
        chunk = keys[start : start + _IN_CHUNK]
        rows = session.execute(
            select(*asked).where(
                ResourceRow.partner_id == partner.id,
                ResourceRow.current,
                ResourceRow.type.in_({kind for kind, _ in chunk}),
                ResourceRow.fhir_id.in_({fhir_id for _, fhir_id in chunk}),
            )
        )
        found |= {(row["type"], row["fhir_id"]): dict(row) for row in rows.mappings()}
    return found


def put_in_case(session: Session, partner: Partner, references: Iterable[str], case_id: str) -> None:
    """Make current resources part of a case. What is in another case already stays there."""
    by_type: dict[str, list[str]] = {}
    for reference in references:
        kind, fhir_id = reference.split("/", 1)
        by_type.setdefault(kind, []).append(fhir_id)
    for kind, ids in by_type.items():
        for start in range(0, len(ids), _IN_CHUNK):
            session.execute(
                update(ResourceRow)
                .where(
                    ResourceRow.partner_id == partner.id,
                    ResourceRow.type == kind,
                    ResourceRow.current,
                    ResourceRow.case_id.is_(None),
                    ResourceRow.fhir_id.in_(ids[start : start + _IN_CHUNK]),
                )
                .values(case_id=case_id)
            )


def of_case(session: Session, case_id: str) -> list[StoredResource]:
    """Current resources of a case in the order in which they were first received."""
    return _stored(session, ResourceRow.case_id == case_id, ResourceRow.current)


def by_reference(session: Session, partner_id: str, references: Iterable[str]) -> list[StoredResource]:
    """Current resources of one partner by ``Type/id``; unknown ones are left out."""
    by_type: dict[str, list[str]] = {}
    for wanted in sorted(set(references)):
        kind, slash, fhir_id = wanted.partition("/")
        if slash:
            by_type.setdefault(kind, []).append(fhir_id)
    rows: list[StoredResource] = []
    for kind, ids in by_type.items():
        for start in range(0, len(ids), _IN_CHUNK):
            chosen = ResourceRow.fhir_id.in_(ids[start : start + _IN_CHUNK])
            rows += _stored(
                session,
                ResourceRow.partner_id == partner_id,
                ResourceRow.current,
                ResourceRow.type == kind,
                chosen,
            )
    return rows


def earlier_versions(session: Session, partner_id: str, type: str, fhir_id: str) -> list[StoredResource]:
    """Versions of one resource before the current one, oldest first."""
    return _stored(
        session,
        ResourceRow.partner_id == partner_id,
        ResourceRow.type == type,
        ResourceRow.fhir_id == fhir_id,
        ResourceRow.current.is_(False),
    )


def at_source(session: Session, partner_id: str, source: Source) -> StoredResource | None:
    """The very version that a fact was read from, whatever has come since."""
    kind, _, fhir_id = (source.reference or "").partition("/")
    found = _stored(
        session,
        ResourceRow.partner_id == partner_id,
        ResourceRow.type == kind,
        ResourceRow.fhir_id == fhir_id,
        ResourceRow.receipt_id == source.receipt_id,
        ResourceRow.path == source.path,
    )
    return found[-1] if found else None


def read(session: Session, partner: Partner, type: str, fhir_id: str) -> StoredResource:
    """The current version. Raises NotFound where the partner has none."""
    rows = _stored(session, *_own(partner), ResourceRow.type == type, ResourceRow.fhir_id == fhir_id)
    if not rows:
        raise NotFound(f"No {type} of yours has the id {fhir_id}.")
    return rows[0]


def version(session: Session, partner: Partner, type: str, fhir_id: str, number: int) -> StoredResource:
    """One version, the current one or an earlier. Raises NotFound where the partner has none."""
    rows = _stored(
        session,
        ResourceRow.partner_id == partner.id,
        ResourceRow.type == type,
        ResourceRow.fhir_id == fhir_id,
        ResourceRow.version == number,
    )
    if not rows:
        raise NotFound(f"No {type} of yours has the id {fhir_id} and that version.")
    return rows[0]


def by_pk(session: Session, partner: Partner, pks: Sequence[int]) -> list[StoredResource]:
    """Versions of the partner's in the order of ``pks``."""
    found: dict[int, StoredResource] = {}
    for start in range(0, len(pks), _IN_CHUNK):
        chosen = ResourceRow.pk.in_(pks[start : start + _IN_CHUNK])
        rows = _stored(session, ResourceRow.partner_id == partner.id, chosen)
        found |= {row.pk: row for row in rows}
    return [found[pk] for pk in pks if pk in found]


def history(
    session: Session,
    partner: Partner,
    type: str,
    fhir_id: str | None = None,
    since: datetime | None = None,
    before: tuple[datetime, int] | None = None,
    limit: int = 500,
) -> list[StoredResource]:
    """Versions of a resource, or of all of a type, the newest first; ``before`` is when one came and its ``pk``."""
    conditions = _versions(partner, type, fhir_id, since)
    if before is not None:
        at, pk = ResourceRow.updated_at, ResourceRow.pk
        conditions.append(or_(at < before[0], and_(at == before[0], pk < before[1])))
    order = ResourceRow.updated_at.desc(), ResourceRow.pk.desc()
    newest = select(ResourceRow.pk).where(*conditions).order_by(*order).limit(limit)
    return by_pk(session, partner, list(session.scalars(newest)))


def types_of(session: Session, partner: Partner) -> set[str]:
    """Of which the partner has any."""
    return set(
        session.scalars(select(ResourceRow.type).where(ResourceRow.partner_id == partner.id).distinct())
    )


def as_of(
    session: Session,
    partner: Partner,
    type: str,
    until: datetime,
    since: datetime | None,
    after: str,
    limit: int,
) -> list[tuple[str, int, int]]:
    """FHIR id, ``pk`` and length of what was current at ``until``, changed after ``since``; in the order of the ids.

    Versions are never changed, so that the answer stays the same whatever comes later.
    """
    later = aliased(ResourceRow)
    is_superseded = exists().where(
        later.partner_id == ResourceRow.partner_id,
        later.type == ResourceRow.type,
        later.fhir_id == ResourceRow.fhir_id,
        later.version > ResourceRow.version,
        later.updated_at <= until,
    )
    query = select(ResourceRow.fhir_id, ResourceRow.pk, func.length(ResourceRow.content)).where(
        ResourceRow.partner_id == partner.id,
        ResourceRow.type == type,
        ResourceRow.fhir_id > after,
        ResourceRow.updated_at <= until,
        ~is_superseded,
    )
    if since is not None:
        query = query.where(ResourceRow.updated_at > since)
    return [tuple(row) for row in session.execute(query.order_by(ResourceRow.fhir_id).limit(limit))]


def count_versions(
    session: Session, partner: Partner, type: str, fhir_id: str | None = None, since: datetime | None = None
) -> int:
    """How many ``history`` gives in all."""
    query = select(func.count()).select_from(ResourceRow).where(*_versions(partner, type, fhir_id, since))
    return session.scalar(query) or 0


def _versions(
    partner: Partner, type: str, fhir_id: str | None, since: datetime | None
) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [ResourceRow.partner_id == partner.id, ResourceRow.type == type]
    if fhir_id is not None:
        found.append(ResourceRow.fhir_id == fhir_id)
    if since is not None:
        found.append(ResourceRow.updated_at >= since)
    return found


def _own(partner: Partner) -> tuple[Any, ...]:
    return ResourceRow.partner_id == partner.id, ResourceRow.current


def _stored(session: Session, *conditions: Any) -> list[StoredResource]:
    query = (
        select(
            *(ResourceRow.pk, ResourceRow.type, ResourceRow.fhir_id, ResourceRow.version),
            *(ResourceRow.updated_at, ResourceRow.receipt_id, ResourceRow.path, ResourceRow.case_id),
            *(ReceiptRow.sha256.label("receipt_sha256"), ResourceRow.identity, ResourceRow.content),
        )
        .join(ReceiptRow, ReceiptRow.id == ResourceRow.receipt_id)
        .where(*conditions)
        .order_by(ResourceRow.pk)
    )
    session.flush()
    rows = (
        session.connection().execute(query).mappings()
    )  # one by one: the session would hold all texts at once
    return [StoredResource(**(dict(row) | {"content": loads(row["content"])})) for row in rows]
