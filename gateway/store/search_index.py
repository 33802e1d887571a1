"""The values that resources are found by: three tables beside them, filled in the order in which the resources came.

Receiving does not wait for them (ADR 34): a worker fills them in, and a search what is not there yet.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from sqlalchemy import ARRAY, Table, delete, func, insert, literal, select
from sqlalchemy.orm import Session

from gateway.case.access import Partner
from gateway.case.searching import Key, SearchValues
from gateway.store.resources import loads
from gateway.store.tables import (
    ResourceRow,
    SearchDateRow,
    SearchKeyRow,
    SearchProgressRow,
    SearchTextRow,
)

PRESENT = "present"
_Values = type[SearchKeyRow] | type[SearchDateRow] | type[SearchTextRow]


@dataclass(frozen=True, slots=True)
class Unindexed:
    """A version whose values are to be written; ``text`` is empty of one that is no longer current."""

    pk: int
    type: str
    text: str

    @property
    def content(self) -> dict[str, object]:
        found: dict[str, object] = loads(self.text) if self.text else {}
        return found


def is_complete(session: Session, partner: Partner) -> bool:
    """Whether all that the partner has sent, as the session sees it, can be found."""
    return session.scalar(_waiting(session, partner).limit(1)) is None


def unindexed(session: Session, partner: Partner, limit: int) -> list[Unindexed]:
    """The oldest of the partner's versions that have no values yet."""
    query = (
        _waiting(session, partner)
        .add_columns(ResourceRow.type, ResourceRow.current, ResourceRow.content)
        .limit(limit)
    )
    return [
        Unindexed(pk, kind, text if is_current else "")
        for pk, kind, is_current, text in session.execute(query)
    ]


def _waiting(session: Session, partner: Partner):  # type: ignore[no-untyped-def]  # a Select of what add_columns adds
    done = session.scalar(
        select(SearchProgressRow.resource_pk).where(SearchProgressRow.partner_id == partner.id)
    )
    return (
        select(ResourceRow.pk)
        .where(ResourceRow.partner_id == partner.id, ResourceRow.pk > (done or 0))
        .order_by(ResourceRow.pk)
    )


def write(session: Session, partner: Partner, found: Sequence[tuple[Unindexed, SearchValues]]) -> None:
    """Values of the versions that ``unindexed`` gave, in the transaction that asked for them, under partners.lock."""
    keys: list[tuple[Any, ...]] = []
    dates: list[tuple[Any, ...]] = []
    texts: list[tuple[Any, ...]] = []
    places = {name: Places(partner, name) for name in {version.type for version, _ in found}}
    for version, values in found:
        place = places[version.type]
        own = {place.of_key(key) for key in values.keys} | {
            place.of(PRESENT, name) for name in values.present
        }
        keys += [(key, version.pk) for key in own]
        dates += [(place.of(path), version.pk, low, high) for path, low, high in values.dates]
        texts += [(place.of(path), text, version.pk) for path, text in values.texts]
    for table, rows in ((SearchKeyRow, keys), (SearchDateRow, dates), (SearchTextRow, texts)):
        if rows:
            _insert(session, table, sorted(rows))  # neighbours in the index are written together
    session.merge(SearchProgressRow(partner_id=partner.id, resource_pk=found[-1][0].pk))


def _insert(session: Session, table: _Values, rows: Sequence[tuple[Any, ...]]) -> None:
    """Tens of thousands of rows, in the order of the table's columns, without what the ORM does for each of them."""
    connection, core = session.connection(), cast(Table, table.__table__)
    if connection.dialect.name == "postgresql":
        columns = zip(core.columns, zip(*rows, strict=True), strict=True)
        arrays = [func.unnest(literal(list(values), ARRAY(column.type))) for column, values in columns]
        connection.execute(insert(core).from_select(core.columns.keys(), select(*arrays)))
    else:
        statement = str(insert(core).compile(dialect=connection.dialect))
        connection.exec_driver_sql(statement, list(rows))


def begin_again(session: Session) -> None:
    """Forget all values: they are made anew. For when what they are made by has changed."""
    for table in (SearchKeyRow, SearchDateRow, SearchTextRow, SearchProgressRow):
        session.execute(delete(table))


class Places:
    """Hashes of values and of where they stand, within one partner's resources of one type.

    Two that are the same by chance (64 bits) could only mix up values of the partner's own resources of that type,
    since every search asks for partner and type beside.
    """

    def __init__(self, partner: Partner, type_name: str) -> None:
        self._start = blake2b(f"{partner.id}\x1f{type_name}\x1f".encode(), digest_size=8)
        self._known: dict[tuple[str, ...], int] = {}

    def of(self, *parts: str) -> int:
        known = self._known.get(parts)
        if known is None:
            found = self._start.copy()
            found.update("\x1f".join(parts).encode("utf-8", "surrogatepass"))
            known = self._known[parts] = int.from_bytes(found.digest(), signed=True)
        return known

    def of_key(self, key: Key) -> int:
        return self.of(key.path, key.form, key.value)

    def of_each(self, paths: Iterable[str]) -> list[int]:
        return [self.of(path) for path in paths]
