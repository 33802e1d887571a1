"""Searching a partner's imaging: the index, and what only the stored files tell; the same for QIDO-RS and C-FIND."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.case.access import Viewer
from gateway.errors import NotDicom
from gateway.store import imaging_search
from gateway.store.database import Session
from gateway.store.imaging_criteria import Criterion, Page
from gateway.store.imaging_search import InstanceFound, PatientFound, SeriesFound, StudyFound
from gateway.store.objects import ObjectStore
from gateway.workflow import imaging_matches
from gateway.workflow.imaging_matches import Json
from mappings.dicom_to_header import read_attributes

if TYPE_CHECKING:
    from gateway.services import Services

Found = PatientFound | StudyFound | SeriesFound | InstanceFound

_SEARCHES: dict[str, Any] = {
    "patient": imaging_search.search_patients,
    "study": imaging_search.search_studies,
    "series": imaging_search.search_series,
    "instance": imaging_search.search_instances,
}


@dataclass(frozen=True, slots=True)
class Matches:
    """``attributes`` are those of each found, as DICOM JSON, to be read once."""

    found: Sequence[Found]
    attributes: Iterable[Json]
    has_more: bool


def find(
    services: "Services",
    viewer: Viewer,
    level: str,
    criteria: Sequence[Criterion],
    page: Page,
    extra_tags: frozenset[int] = frozenset(),
    *,
    is_spelt: bool = False,
) -> Matches:
    """One page of what matches at the level: patient, study, series or instance.

    ``extra_tags`` are read from the stored file of each match, the first of a study or series, and are absent where
    that does not have them; DS and IS of them with ``is_spelt`` as texts, as they are written there. Raises
    StoreUnavailable.
    """
    with services.database.reading() as session:
        rows = _SEARCHES[level](session, viewer, criteria, Page(page.limit + 1, page.offset))
        found = rows[: page.limit]
        keys = _object_keys(session, found) if extra_tags else ()
    attributes: Iterable[Json] = map(imaging_matches.of, found)
    if keys:
        files = (_in_file(services.objects, key, extra_tags, is_spelt) for key in keys)
        attributes = [match | file for match, file in zip(attributes, files, strict=True)]
    return Matches(found, attributes, len(rows) > page.limit)


def _object_keys(session: Session, found: Sequence[Any]) -> Sequence[str]:
    if found and isinstance(found[0], InstanceFound):
        return [one.object_key for one in found]
    return imaging_search.first_files(session, found)


def _in_file(objects: ObjectStore, key: str, tags: frozenset[int], is_spelt: bool) -> Json:
    with objects.open(key) as file:
        try:
            return read_attributes(file, tags, is_spelt=is_spelt)
        except NotDicom:  # it was readable when it came
            return {}
