"""What is there in part: series not come, fewer instances than the record says, gaps in a stack of slices."""

import itertools
import statistics
from collections.abc import Iterator, Sequence

from gateway.case.checks.missing import fetching, received
from gateway.case.expected import merged
from gateway.case.model import Case, Finding, Series, Severity, Study

GAP_FACTOR = 1.5
"""A step between neighbouring slices longer than this many times the usual step is a gap."""
SPACING_TOLERANCE_MM = 0.01
_FEWEST_SLICES = 3
MAX_TOLD = 20


def series_not_received(case: Case) -> Iterator[Finding]:
    """A series that the record's ImagingStudy lists and that did not come with its study.

    How: the Series Instance UIDs that are listed are compared with those that arrived.
    Limits: an ImagingStudy that lists no series has none to miss.
    """
    for expected in merged(case.record.expected_studies):
        study = received(case, expected)
        if study is None:
            continue
        held = {series.series_instance_uid for series in study.series}
        for series in expected.series:
            if series.series_instance_uid and series.series_instance_uid not in held:
                yield Finding(
                    f"series-not-received:{series.series_instance_uid}",
                    "series-not-received",
                    Severity.LIMITS,
                    f"{study.title}: a {series.modality or 'further'} series",
                    f"The records list this series, and no image of it has arrived.{fetching(case, expected)}",
                    (("Series Instance UID", series.series_instance_uid),),
                    "Please send the series.",
                )


def instances_missing(case: Case) -> Iterator[Finding]:
    """Fewer instances than the record says, by series where it counts them, else by study.

    How: ImagingStudy.series.numberOfInstances, else ImagingStudy.numberOfInstances, against the different SOP Instance
    UIDs that arrived.
    Limits: more images than the record counts are not told; nor are fewer frames inside one instance.
    """
    for expected in merged(case.record.expected_studies):
        study = received(case, expected)
        if study is None:
            continue
        counts = {series.series_instance_uid: _count(series) for series in study.series}
        by_series = [
            s for s in expected.series if s.instances is not None and s.series_instance_uid in counts
        ]
        for series in by_series:
            yield from _fewer(
                series.series_instance_uid,
                study.title,
                series.instances or 0,
                counts[series.series_instance_uid],
                fetching(case, expected),
            )
        if not by_series and expected.instance_count is not None:
            yield from _fewer(
                study.study_instance_uid,
                study.title,
                expected.instance_count,
                sum(counts.values()),
                fetching(case, expected),
            )


def instance_damaged(case: Case) -> Iterator[Finding]:
    """Images whose files are damaged behind their headers: cut off, broken in structure, or with too few pixels; or
    whose text, the name perhaps, may be shown wrongly.

    How: every file is walked to its end when it arrives, its pixel data are measured against what the header says, and
    its text is read in the character sets that it names.
    Limits: what is compressed is not decoded, so a broken picture inside it is not noticed, nor are changed pixels.
    """
    for study in case.studies:
        damaged = [i for series in study.series for i in series.instances if i.fault]
        if damaged:
            yield Finding(
                f"instance-damaged:{study.study_instance_uid}",
                "instance-damaged",
                Severity.LIMITS,
                study.title,
                f"{len(damaged)} images arrived damaged, or with text that may be shown wrongly. They are kept.",
                (
                    ("Study Instance UID", study.study_instance_uid),
                    ("images", str(len(damaged))),
                    *((i.sop_instance_uid, i.fault) for i in damaged[:MAX_TOLD]),
                ),
                "Please look whether the images and their text are whole in your archive, and send them again.",
            )


def _count(series: Series) -> int:
    return len({i.sop_instance_uid for i in series.instances})


def _fewer(uid: str, subject: str, expected: int, arrived: int, fetched: str) -> Iterator[Finding]:
    if arrived < expected:
        yield Finding(
            f"instances-missing:{uid}",
            "instances-missing",
            Severity.LIMITS,
            subject,
            f"The records say {expected} images, and {arrived} have arrived.{fetched}",
            (("expected", str(expected)), ("arrived", str(arrived)), ("UID", uid)),
            "Please send the missing images.",
        )


def slice_gap(case: Case) -> Iterator[Finding]:
    """Gaps inside a stack by position (mm along the normal), else by instance number.

    How: where more than half of a series' images, and ``_FEWEST_SLICES`` at least, have a position, their distances are
    compared with the usual one, which is the median; else Instance Numbers must follow each other.
    Threshold: a distance of more than ``GAP_FACTOR`` times the usual one is a gap; positions closer than
    ``SPACING_TOLERANCE_MM`` mm are one. Both are set here: no standard gives them, and they were not yet measured on
    clinical series.
    Limits: slices missing at either end are not seen. A series of several orientations, as a localizer is, or numbers
    with gaps on purpose can be told wrongly. Frames inside one instance are not looked at.
    """
    for study in case.studies:
        for series in study.series:
            positions = sorted({i.position for i in series.instances if i.position is not None})
            if len(positions) >= _FEWEST_SLICES and len(positions) * 2 > len(series.instances):
                yield from _position_gaps(study, series, positions)
            else:
                yield from _number_gaps(study, series)


def _position_gaps(study: Study, series: Series, positions: Sequence[float]) -> Iterator[Finding]:
    steps = [b - a for a, b in itertools.pairwise(positions) if b - a > SPACING_TOLERANCE_MM]
    if not steps:
        return
    usual = statistics.median(steps)
    gaps = [(a, b) for a, b in itertools.pairwise(positions) if b - a > GAP_FACTOR * usual]
    if gaps:
        absent = sum(round((b - a) / usual) - 1 for a, b in gaps)
        where = "; ".join(f"between {a:.1f} and {b:.1f} mm" for a, b in gaps[:5])
        yield _gap(study, series, f"About {absent} slices are missing ({where}).", f"{usual:.2f} mm")


def _number_gaps(study: Study, series: Series) -> Iterator[Finding]:
    numbers = sorted({i.number for i in series.instances if i.number is not None})
    absent = [
        f"{a + 1} to {b - 1}" if b - a > 2 else f"{a + 1}"
        for a, b in itertools.pairwise(numbers)
        if b - a > 1
    ]
    if absent:
        yield _gap(study, series, f"Image numbers are missing: {', '.join(absent[:10])}.", "")


def _gap(study: Study, series: Series, text: str, usual: str) -> Finding:
    facts = [("Series Instance UID", series.series_instance_uid), ("images", str(len(series.instances)))]
    if usual:
        facts.append(("usual distance", usual))
    words = series.description or f"series {series.number if series.number is not None else ''}".strip()
    return Finding(
        f"slice-gap:{series.series_instance_uid}",
        "slice-gap",
        Severity.LIMITS,
        f"{study.title}: {words}",
        text,
        tuple(facts),
        "Please send the whole series.",
    )
