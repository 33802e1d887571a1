"""What the records say of one study, brought together where several of them speak of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.case.fetching import InstanceAddress, is_uid
from gateway.case.model import ExpectedSeries, ExpectedStudy


def merged(studies: Iterable[ExpectedStudy]) -> tuple[ExpectedStudy, ...]:
    """One for each Study Instance UID, in order; a study without one stays as it is."""
    found: dict[object, ExpectedStudy] = {}
    for index, study in enumerate(studies):
        key = study.study_instance_uid or index
        known = found.get(key)
        found[key] = study if known is None else _merged(known, study)
    return tuple(found.values())


def _merged(one: ExpectedStudy, other: ExpectedStudy) -> ExpectedStudy:
    series = _merged_series([*one.series, *other.series])
    return replace(
        one,
        accession=one.accession or other.accession,
        description=one.description or other.description,
        series_count=_larger(one.series_count, other.series_count),
        instance_count=_larger(one.instance_count, other.instance_count),
        series=series,
        places=tuple(dict.fromkeys([*one.places, *other.places])),
    )


def _merged_series(series: Iterable[ExpectedSeries]) -> tuple[ExpectedSeries, ...]:
    found: dict[str, ExpectedSeries] = {}
    for item in series:
        known = found.get(item.series_instance_uid, item)
        uids = dict.fromkeys([*known.sop_instance_uids, *item.sop_instance_uids])
        found[item.series_instance_uid] = ExpectedSeries(
            item.series_instance_uid,
            known.modality or item.modality,
            _larger(known.instances, item.instances),
            tuple(uids),
        )
    return tuple(found.values())


def _larger(one: int | None, other: int | None) -> int | None:
    return max((n for n in (one, other) if n is not None), default=None)


def listed(study: ExpectedStudy) -> tuple[InstanceAddress, ...]:
    """Every instance of the study, where the record names them all; () where somebody must be asked which there are.

    A record that gives no count lists all that it means: a manifest may select.
    """
    found = tuple(
        InstanceAddress(series.series_instance_uid, uid)
        for series in study.series
        for uid in series.sop_instance_uids
    )
    is_whole = (
        len(found) >= (study.instance_count or 0)
        and len(study.series) >= (study.series_count or 0)
        and all(s.sop_instance_uids and len(s.sop_instance_uids) >= (s.instances or 0) for s in study.series)
        and all(is_uid(a.series_instance_uid) and is_uid(a.sop_instance_uid) for a in found)
    )
    return found if is_whole else ()


def counted(study: ExpectedStudy) -> int | None:
    """How many instances the record says there are; None where it does not say."""
    if study.instance_count:
        return study.instance_count
    by_series = [series.instances for series in study.series]
    return sum(n or 0 for n in by_series) if by_series and None not in by_series else None


@dataclass(frozen=True, slots=True)
class Progress:
    """``expected`` is None where nobody has told how many there are."""

    expected: int | None
    here: int

    @property
    def is_complete(self) -> bool:
        return self.expected is not None and 0 < self.expected <= self.here


def progress(study: ExpectedStudy, stored: set[str]) -> Progress:
    """Measured by the instances that the record lists, else by their number."""
    wanted = {address.sop_instance_uid for address in listed(study)}
    if wanted:
        return Progress(len(wanted), len(wanted & stored))
    return Progress(counted(study), len(stored))
