"""What the records say of one study, brought together where several of them speak of it."""

from collections.abc import Iterable
from dataclasses import replace

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


def is_listed(study: ExpectedStudy) -> bool:
    """Whether the record names every instance of it, so that nobody has to be asked which there are.

    A record that gives no count lists all that it means: a manifest may select.
    """
    counted = sum(len(s.sop_instance_uids) for s in study.series)
    return (
        counted > 0
        and counted >= (study.instance_count or 0)
        and len(study.series) >= (study.series_count or 0)
        and all(s.sop_instance_uids and len(s.sop_instance_uids) >= (s.instances or 0) for s in study.series)
    )
