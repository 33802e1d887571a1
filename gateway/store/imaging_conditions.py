"""Criteria as conditions of SQL, the same on SQLite and PostgreSQL.

An attribute is found in a column where it has one, else in the DICOM JSON of its study or series; names in the table
of names. What is asked of a patient holds of one patient of a study: of the first, whose columns the study has, or of
another one (ADR 31).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    String,
    Subquery,
    and_,
    cast,
    func,
    intersect,
    literal,
    or_,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from gateway.case.access import Scope, Viewer, scope
from gateway.store import search_keys
from gateway.store.imaging_criteria import (
    PATIENT,
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
from gateway.store.studies import visible
from gateway.store.tables import InstanceRow, OtherPatientRow, SeriesRow, StudyNameRow, StudyRow

_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "StudyInstanceUID": StudyRow.study_instance_uid,
    "StudyDate": StudyRow.search_date,
    "StudyTime": StudyRow.search_time,
    "StudyDescription": StudyRow.description,
    "AccessionNumber": StudyRow.accession_number,
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
_OF_PATIENT = {
    "PatientID": "patient_id",
    "PatientBirthDate": "patient_birth_date",
    "PatientSex": "patient_sex",
}
_AS_SENT = {
    "StudyDate": StudyRow.study_date,
    "StudyTime": StudyRow.study_time,
}
_LISTS = {"ModalitiesInStudy": StudyRow.modalities, "SOPClassesInStudy": StudyRow.sop_classes}
_ATTRIBUTES: dict[str, InstrumentedAttribute[Any]] = {
    "study": StudyRow.attributes,
    "series": SeriesRow.attributes,
}
_HIGHEST = "\U0010ffff"
_WILD = re.compile(r"[*?]")

AnyColumns = Select[*tuple[Any, ...]]
Text = ColumnElement[str] | InstrumentedAttribute[str]
PatientTable = type[StudyRow] | type[OtherPatientRow]
Test = Callable[[Text], ColumnElement[bool]]


def is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def narrow(
    session: Session,
    viewer: Viewer,
    studies: AnyColumns,
    criteria: Sequence[Criterion],
    patients: Subquery | None = None,
) -> AnyColumns:
    """``studies`` selects from the tables of the level that the keys are of and of the levels above.

    ``patients``, of ``patients_matched``, stand for what is asked of a patient.
    """
    if patients is not None:
        criteria = [one for one in criteria if not _is_of_patient(one)]
        ids = select(patients.c.study_id).distinct().subquery()
        studies = studies.join(ids, ids.c.study_id == StudyRow.id)
    return _narrow(Conditions(is_sqlite(session), viewer), studies, criteria)


def patients_matched(session: Session, viewer: Viewer, criteria: Iterable[Criterion]) -> Subquery | None:
    """(study_id, number) of the patients of whom holds all that is asked of one, each once.

    None where that need not be known: nothing is asked of a patient, or no study of the viewer's has another patient
    than that of its first instance.
    """
    asked = [one for one in criteria if _is_of_patient(one)]
    if not asked or not has_other_patients(session, viewer):
        return None
    first = narrow(session, viewer, visible(viewer), asked).with_only_columns(
        StudyRow.id.label("study_id"), literal(0).label("number")
    )
    others = other_patients(session, viewer, asked).with_only_columns(
        OtherPatientRow.study_id, OtherPatientRow.number
    )
    return union_all(first, others).subquery()


def has_other_patients(session: Session, viewer: Viewer) -> bool:
    return session.execute(_own(viewer, select(OtherPatientRow.number)).limit(1)).first() is not None


def other_patients(session: Session, viewer: Viewer, asked: Sequence[Criterion]) -> AnyColumns:
    """Those who can be retrieved and of whom all that is asked holds."""
    found = visible(viewer).join(OtherPatientRow, OtherPatientRow.study_id == StudyRow.id)
    found = _own(viewer, found).where(OtherPatientRow.patient_instances > 0)
    return _narrow(Conditions(is_sqlite(session), viewer, OtherPatientRow), found, asked)


def _own(viewer: Viewer, query: AnyColumns) -> AnyColumns:
    return query.where(OtherPatientRow.partner_id == viewer.id) if scope(viewer) is Scope.OWN else query


def _is_of_patient(criterion: Criterion) -> bool:
    return not isinstance(criterion, Moments) and criterion.key.level == PATIENT


def _narrow(made: "Conditions", studies: AnyColumns, criteria: Iterable[Criterion]) -> AnyColumns:
    """Names are joined: SQLite, which has no statistics, would otherwise go through every study and look whether it is
    among those of the name.
    """
    for criterion in criteria:
        if not isinstance(criterion, NameLike | FuzzyName):
            studies = studies.where(made.of(criterion))
        elif (named := made.named(criterion)) is not None:
            studies = studies.join(named, made.is_named(named))
    return studies


class Conditions:
    """``viewer``: names are looked for among those of its studies only.

    ``patient`` is where what is asked of a patient stands.
    """

    def __init__(self, is_sqlite: bool, viewer: Viewer, patient: PatientTable = StudyRow) -> None:
        self._is_sqlite = is_sqlite
        self._viewer = viewer
        self._patient = patient
        self._starts = {"PatientID": patient.patient_id_start, "AccessionNumber": StudyRow.accession_start}
        self._as_sent = _AS_SENT | {"PatientName": patient.patient_name}
        self._columns = _COLUMNS | {
            keyword: getattr(patient, column) for keyword, column in _OF_PATIENT.items()
        }
        self._attributes = _ATTRIBUTES | {PATIENT: patient.attributes}

    def of(
        self, criterion: OneOf | Like | Between | Moments | InList | InItem | Empty
    ) -> ColumnElement[bool]:
        match criterion:
            case OneOf(key, values):
                return self._one_of(key, values)
            case Like(key, pattern, ignore_case):
                return self._like(key, pattern, ignore_case)
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
        if (column := self._columns.get(key.keyword)) is not None:
            return test(column)
        return self._any_value(self._attributes[key.level], (key.tag, "Value"), test)

    def _one_of(self, key: Key, values: tuple[str | int, ...]) -> ColumnElement[bool]:
        exact = self._test(key, lambda text: text.in_(values))
        if (begins := self._starts.get(key.keyword)) is not None:
            starts = [search_keys.start(str(value)) for value in values]
            return and_(begins.in_(starts) if len(starts) > 1 else begins == starts[0], exact)
        return exact

    def _like(self, key: Key, pattern: str, ignore_case: bool) -> ColumnElement[bool]:
        if ignore_case:
            return self._test(key, lambda text: self._matches(self._lower(text), pattern.lower()))
        exact = self._test(key, lambda text: self._matches(text, pattern))
        if (begins := self._starts.get(key.keyword)) is not None:
            return and_(_starts_with(begins, search_keys.start(_certain(pattern))), exact)
        return exact

    def named(self, criterion: NameLike | FuzzyName) -> Subquery | None:
        """(study_id, patient_number) of who is called so, each once.

        What is found word by word is found beside what is found whole. A pattern of nothing but empty components and
        ``*`` is of every name: None.
        """
        key, pattern = criterion.key, criterion.pattern
        groups = [group for name in pattern.split("=") if (group := search_keys.name_key(name))]
        words = [word for word in search_keys.words(pattern) if word.strip("*")]
        found = [self._named(key, search_keys.GROUP, groups)] if groups else []
        if isinstance(criterion, FuzzyName) and words:
            found.append(self._named(key, search_keys.WORD, words))
        return union(*found).subquery() if found else None

    def is_named(self, named: Subquery) -> ColumnElement[bool]:
        """Joins the studies, or other patients, with what ``named`` has found."""
        number = 0 if self._patient is StudyRow else OtherPatientRow.number
        return and_(named.c.study_id == StudyRow.id, named.c.patient_number == number)

    def _named(self, key: Key, form: str, patterns: Sequence[str]) -> AnyColumns:
        """Who has a name of each pattern. Side by side, not one within the other: a name may have a hundred words."""
        found = [self._of_name(key, form, search_keys.bounded(one)) for one in dict.fromkeys(patterns)]
        return found[0].distinct() if len(found) == 1 else select(intersect(*found).subquery())

    def _of_name(self, key: Key, form: str, pattern: str) -> Select[str, int]:
        found = select(StudyNameRow.study_id, StudyNameRow.patient_number).where(
            StudyNameRow.keyword == key.keyword,
            StudyNameRow.form == form,
            _starts_with(StudyNameRow.text, _certain(pattern)),
            self._matches(StudyNameRow.text, pattern),
        )
        if scope(self._viewer) is Scope.OWN:
            found = found.where(StudyNameRow.partner_id == self._viewer.id)
        return found

    def _between(self, key: Key, first: str, last: str) -> ColumnElement[bool]:
        """Of a time in JSON, written less exactly than the range, its digits decide: zeros at the end say nothing."""
        if key.keyword not in self._columns:
            first = first.rstrip("0.") if "." in first else first
        return self._test(key, lambda text: _between(text, first, last))

    def _in_list(self, column: InstrumentedAttribute[Any], pattern: str) -> ColumnElement[bool]:
        return self._any_value(column, (), lambda text: self._matches(text, pattern))

    def _in_item(self, key: Key, wanted: tuple[tuple[str, str], ...]) -> ColumnElement[bool]:
        def has_all(item: Text) -> ColumnElement[bool]:
            return and_(true(), *(self._has(item, tag, pattern) for tag, pattern in wanted))

        return self._any_value(self._attributes[key.level], (key.tag, "Value"), has_all, is_json=True)

    def _has(self, item: Text, tag: str, pattern: str) -> ColumnElement[bool]:
        return self._any_value(item, (tag, "Value"), lambda text: self._matches(text, pattern))

    def _empty(self, key: Key) -> ColumnElement[bool]:
        column = self._as_sent.get(key.keyword, self._columns.get(key.keyword))
        if column is None:
            return ~self._any_value(self._attributes[key.level], (key.tag, "Value"), lambda _: true())
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
