"""Signed opinions as a partner searches for their reports: by columns that hold what the frozen report says.

Where all terms and the order are of columns the database counts and pages; else it leaves out what cannot match.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, false, func, not_, or_, select
from sqlalchemy.orm import Session

from gateway.case.access import Viewer
from gateway.case.searching import Condition, Form, HasId, HasKey, IdBegins, Term, Updated
from gateway.store.cases import visible
from gateway.store.resource_conditions import of_columns
from gateway.store.resource_search import Sort, SortValue, is_after
from gateway.store.tables import CaseRow, OpinionRow

_COLUMNS = {"updated": OpinionRow.signed_at, "id": OpinionRow.id}
_REFERENCES = {"subject": OpinionRow.report_subject, "basedOn": OpinionRow.report_based_on}
"""Columns by the path of DiagnosticReport that they hold."""


class ReportSearch:
    """Every term holds."""

    def __init__(self, session: Session, viewer: Viewer, terms: Sequence[Term] = ()) -> None:
        self._session = session
        decided = [_of_term(term) for term in terms]
        self._is_exact = all(condition is not None for condition in decided)
        self._query = (
            select(OpinionRow)
            .join(CaseRow, CaseRow.id == OpinionRow.case_id)
            .where(
                OpinionRow.signed_at.is_not(None),
                CaseRow.id.in_(visible(viewer).with_only_columns(CaseRow.id)),
                *(condition for condition in decided if condition is not None),
            )
        )

    def is_paged_by(self, order: Sequence[Sort]) -> bool:
        """Whether ``page`` and ``total`` say what the search asks for."""
        return self._is_exact and all(sort.by in _COLUMNS for sort in order)

    def total(self) -> int:
        return self._session.scalar(self._query.with_only_columns(func.count())) or 0

    def page(
        self, order: Sequence[Sort], after: tuple[SortValue, ...] | None, limit: int
    ) -> list[OpinionRow]:
        """The first ``limit`` after that position."""
        columns = [_COLUMNS[sort.by] for sort in order]
        query = self._query if after is None else self._query.where(is_after(columns, order, after))
        ordered = [
            c.desc() if sort.is_descending else c.asc() for c, sort in zip(columns, order, strict=True)
        ]
        return self._all(query.order_by(*ordered).limit(limit))

    def candidates(self) -> list[OpinionRow]:
        """All that match, and some that do not, where a term is not of columns; oldest first."""
        return self._all(self._query.order_by(OpinionRow.signed_at))

    def _all(self, query: Select[OpinionRow]) -> list[OpinionRow]:
        return list(self._session.scalars(query))


def _of_term(term: Term) -> ColumnElement[bool] | None:
    """None where a condition of it is not of columns."""
    found = [_of_condition(condition) for condition in term]
    decided = [condition for condition in found if condition is not None]
    return or_(false(), *decided) if len(decided) == len(found) else None


def _of_condition(condition: Condition) -> ColumnElement[bool] | None:
    if isinstance(condition, HasId | IdBegins | Updated):
        return of_columns(condition, OpinionRow.id, OpinionRow.signed_at)
    if not isinstance(condition, HasKey):
        return None
    paths = {key.path for key in condition.keys if key.form is Form.REFERENCE}
    if len(paths) != 1 or any(key.form is not Form.REFERENCE for key in condition.keys):
        return None
    column = _REFERENCES.get(paths.pop())
    if column is None:
        return None
    named = column.in_({key.value for key in condition.keys})
    return not_(named) if condition.is_not else named
