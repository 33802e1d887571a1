"""Criteria as conditions of SQL, the same on SQLite and PostgreSQL.

An attribute is found in a column where it has one, else in the DICOM JSON of its study or series; names in the table
of names.
"""

import re
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, String, and_, cast, func, literal, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from gateway.case.access import Scope, Viewer, scope
from gateway.store import search_keys
from gateway.store.imaging_criteria import (
    Between,
    Criterion,
    Empty,
    FuzzyName,
    InItem,
    InList,
    Key,
    Like,
    Moments,
    NameLike,
    OneOf,
)
from gateway.store.tables import InstanceRow, SeriesRow, StudyNameRow, StudyRow

_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "StudyInstanceUID": StudyRow.study_instance_uid,
    "StudyDate": StudyRow.search_date,
    "StudyTime": StudyRow.search_time,
    "StudyDescription": StudyRow.description,
    "AccessionNumber": StudyRow.accession_number,
    "PatientID": StudyRow.patient_id,
    "PatientBirthDate": StudyRow.patient_birth_date,
    "PatientSex": StudyRow.patient_sex,
    "SeriesInstanceUID": SeriesRow.series_instance_uid,
    "SeriesNumber": SeriesRow.series_number,
    "SeriesDescription": SeriesRow.description,
    "Modality": SeriesRow.modality,
    "BodyPartExamined": SeriesRow.body_part,
    "SOPInstanceUID": InstanceRow.sop_instance_uid,
    "SOPClassUID": InstanceRow.sop_class_uid,
    "InstanceNumber": InstanceRow.instance_number,
    "NumberOfFrames": InstanceRow.frames,
    "Rows": InstanceRow.rows,
    "Columns": InstanceRow.columns,
    "AvailableTransferSyntaxUID": InstanceRow.transfer_syntax_uid,
}
_AS_SENT = {
    "StudyDate": StudyRow.study_date,
    "StudyTime": StudyRow.study_time,
    "PatientName": StudyRow.patient_name,
}
_STARTS = {"PatientID": StudyRow.patient_id_start, "AccessionNumber": StudyRow.accession_start}
_LISTS = {"ModalitiesInStudy": StudyRow.modalities, "SOPClassesInStudy": StudyRow.sop_classes}
_ATTRIBUTES = {"study": StudyRow.attributes, "series": SeriesRow.attributes}
_HIGHEST = "\U0010ffff"
_WILD = re.compile(r"[*?]")

Text = ColumnElement[str] | InstrumentedAttribute[str]
Test = Callable[[Text], ColumnElement[bool]]


def conditions(session: Session, viewer: Viewer, criteria: Sequence[Criterion]) -> list[ColumnElement[bool]]:
    """One for each criterion, on the tables of the level that the keys are of and of the levels above."""
    made = Conditions(session.get_bind().dialect.name == "sqlite", viewer)
    return [made.of(criterion) for criterion in criteria]


class Conditions:
    """``viewer``: names are looked for among those of its studies only."""

    def __init__(self, is_sqlite: bool, viewer: Viewer) -> None:
        self._is_sqlite = is_sqlite
        self._viewer = viewer

    def of(self, criterion: Criterion) -> ColumnElement[bool]:
        match criterion:
            case OneOf(key, values):
                return self._one_of(key, values)
            case Like(key, pattern, ignore_case):
                return self._like(key, pattern, ignore_case)
            case NameLike(key, pattern):
                return self._name(key, pattern)
            case FuzzyName(key, pattern):
                return or_(self._name(key, pattern), self._words(key, pattern))
            case Between(key, first, last):
                return self._between(key, first, last)
            case Moments():
                return _moments(criterion)
            case InList(key, patterns, every):
                found = [self._in_list(_LISTS[key.keyword], pattern) for pattern in patterns]
                return and_(*found) if every else or_(*found)
            case InItem(key, wanted):
                return self._in_item(key, wanted)
            case Empty(key):
                return self._empty(key)

    def _test(self, key: Key, test: Test) -> ColumnElement[bool]:
        """On the column, or on any value of the attribute."""
        if (column := _COLUMNS.get(key.keyword)) is not None:
            return test(column)
        return self._any_value(_ATTRIBUTES[key.level], (key.tag, "Value"), test)

    def _one_of(self, key: Key, values: tuple[str | int, ...]) -> ColumnElement[bool]:
        exact = self._test(key, lambda text: text.in_(values))
        if (begins := _STARTS.get(key.keyword)) is not None:
            return and_(begins.in_([search_keys.start(str(value)) for value in values]), exact)
        return exact

    def _like(self, key: Key, pattern: str, ignore_case: bool) -> ColumnElement[bool]:
        if ignore_case:
            return self._test(key, lambda text: self._matches(self._lower(text), pattern.lower()))
        exact = self._test(key, lambda text: self._matches(text, pattern))
        if (begins := _STARTS.get(key.keyword)) is not None:
            return and_(_starts_with(begins, search_keys.start(_certain(pattern))), exact)
        return exact

    def _name(self, key: Key, pattern: str) -> ColumnElement[bool]:
        groups = [group for name in pattern.split("=") if (group := search_keys.name_key(name))]
        return self._all_named(key, search_keys.GROUP, groups)

    def _words(self, key: Key, pattern: str) -> ColumnElement[bool]:
        words = [word for word in search_keys.words(pattern) if word.strip("*")]
        return self._all_named(key, search_keys.WORD, words)

    def _all_named(self, key: Key, form: str, patterns: list[str]) -> ColumnElement[bool]:
        """A pattern of nothing but empty components and ``*`` is of every name."""
        named = (self._named(key, form, search_keys.bounded(pattern)) for pattern in patterns)
        return and_(true(), *named)

    def _named(self, key: Key, form: str, pattern: str) -> ColumnElement[bool]:
        found = select(StudyNameRow.study_id).where(
            StudyNameRow.keyword == key.keyword,
            StudyNameRow.form == form,
            _starts_with(StudyNameRow.text, _certain(pattern)),
            self._matches(StudyNameRow.text, pattern),
        )
        if scope(self._viewer) is Scope.OWN:
            found = found.where(StudyNameRow.partner_id == self._viewer.id)
        return StudyRow.id.in_(found)

    def _between(self, key: Key, first: str, last: str) -> ColumnElement[bool]:
        """Of a time in JSON, written less exactly than the range, its digits decide: zeros at the end say nothing."""
        if key.keyword not in _COLUMNS:
            first = first.rstrip("0.") if "." in first else first
        return self._test(key, lambda text: _between(text, first, last))

    def _in_list(self, column: InstrumentedAttribute[Any], pattern: str) -> ColumnElement[bool]:
        return self._any_value(column, (), lambda text: self._matches(text, pattern))

    def _in_item(self, key: Key, wanted: tuple[tuple[str, str], ...]) -> ColumnElement[bool]:
        def has_all(item: Text) -> ColumnElement[bool]:
            return and_(true(), *(self._has(item, tag, pattern) for tag, pattern in wanted))

        return self._any_value(_ATTRIBUTES[key.level], (key.tag, "Value"), has_all, is_json=True)

    def _has(self, item: Text, tag: str, pattern: str) -> ColumnElement[bool]:
        return self._any_value(item, (tag, "Value"), lambda text: self._matches(text, pattern))

    def _empty(self, key: Key) -> ColumnElement[bool]:
        column = _AS_SENT.get(key.keyword, _COLUMNS.get(key.keyword))
        if column is None:
            return ~self._any_value(_ATTRIBUTES[key.level], (key.tag, "Value"), lambda _: true())
        return column.is_(None) if column.nullable else column == ""

    def _any_value(
        self, json: Any, path: tuple[str, ...], test: Test, is_json: bool = False
    ) -> ColumnElement[bool]:
        """Whether a value of the JSON array at ``path`` passes; ``is_json`` where the values are objects."""
        if self._is_sqlite:
            place = "$" + "".join(f'."{name}"' for name in path)
            values = func.json_each(json, place).table_valued("value")
        else:
            array = func.json_extract_path(json, *path) if path else json
            each = func.json_array_elements if is_json else func.json_array_elements_text
            values = each(array).table_valued("value")
        value = values.c.value if is_json else cast(values.c.value, String)
        return select(literal(1)).select_from(values).where(test(value)).exists()

    def _matches(self, text: Text, pattern: str) -> ColumnElement[bool]:
        """Case sensitive, which LIKE is not on SQLite."""
        if not _WILD.search(pattern):
            return text == pattern
        if self._is_sqlite:
            return text.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))
        escaped = reduce(lambda made, letter: made.replace(letter, "\\" + letter), "\\%_", pattern)
        return text.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")

    def _lower(self, text: Text) -> ColumnElement[str]:
        """Of every script. On SQLite it is database.py's; a PostgreSQL cluster of locale C has ASCII only too, and
        Debian and Docker ship it with ICU."""
        return func.lower(text if self._is_sqlite else text.collate("und-x-icu"))


def _moments(moments: Moments) -> ColumnElement[bool]:
    """The dates alone first: they have an index."""
    date, time = _COLUMNS[moments.date.keyword], _COLUMNS[moments.time.keyword]
    (first_date, first_time), (last_date, last_time) = moments.first, moments.last
    ends = [time != ""]
    if first_date:
        ends.append(or_(date > first_date, time >= first_time))
    if last_date:
        ends.append(or_(date < last_date, time <= last_time))
    return and_(_between(date, first_date, last_date), *ends)


def _certain(pattern: str) -> str:
    """What stands before the first wild card."""
    return _WILD.split(pattern, maxsplit=1)[0]


def _starts_with(sorted_text: InstrumentedAttribute[str], beginning: str) -> ColumnElement[bool]:
    """As a range, which finds its place in an index."""
    return and_(sorted_text >= beginning, sorted_text < beginning + _HIGHEST) if beginning else true()


def _between(text: Text, first: str, last: str) -> ColumnElement[bool]:
    ends = [text >= first] if first else []
    return and_(text != "", *ends, *([text <= last] if last else []))
