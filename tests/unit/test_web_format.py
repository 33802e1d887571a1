"""Values as the pages show them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from gateway.web import format
from gateway.web.visit import safe_next


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("2019-05-03", "3 May 2019"),
        ("2019-05", "May 2019 (day not given)"),
        ("2019", "2019 (month and day not given)"),
        ("2026-10-13T09:20:00+09:00", "13 Oct 2026, 09:20 +09:00"),
        ("2026-10-13T09:20:11.123Z", "13 Oct 2026, 09:20 UTC"),
        ("2026-10-13T09:20", "13 Oct 2026, 09:20 local time"),
        ("2019-02-30", "2019-02-30"),
        ("2019-13", "2019-13"),
        ("0000-01-01", "0000-01-01"),
        ("spring 2019", "spring 2019"),
        ("in March 2019", "in March 2019"),
        ("", ""),
    ],
)
def test_a_date_is_shown_as_far_as_it_was_sent_and_never_completed(sent: str, shown: str) -> None:
    assert format.sent_date(sent) == shown


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("20261015 104200", "15 Oct 2026, 10:42 local time"),
        ("20261015 104200.123456", "15 Oct 2026, 10:42 local time"),
        ("20261015 10", "15 Oct 2026"),
        ("20261015", "15 Oct 2026"),
        ("20261335", "20261335"),
        ("2026.10.15", "2026.10.15"),
        ("March 2026", "March 2026"),
        ("", ""),
    ],
)
def test_a_dicom_time_without_offset_says_that_it_is_local(sent: str, shown: str) -> None:
    assert format.started(sent) == shown


@pytest.mark.parametrize(
    ("born", "shown"),
    [
        ("2026-11-24", "0 days"),
        ("2026-11-23", "1 day"),
        ("2026-10-28", "27 days"),
        ("2026-10-27", "4 weeks"),
        ("2026-08-24", "3 months"),
        ("2024-11-25", "23 months"),
        ("2024-11-24", "2 years"),
        ("2018-11-25", "7 years"),
        ("2018-11-24", "8 years"),
        ("2027-01-01", ""),
        ("2018-05", ""),
        ("", ""),
    ],
)
def test_an_age_is_given_in_the_unit_of_paediatrics_and_only_when_certain(born: str, shown: str) -> None:
    assert format.age(born, date(2026, 11, 24)) == shown


def test_sizes_and_waits_are_words() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert [format.size(n) for n in (0, 999, 1000, 47_200, 123_456_789)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "47.2 kB",
        "123 MB",
    ]
    assert format.instant(now) == "24 Nov 2026, 12:00 UTC"
    assert [format.waiting(now - timedelta(days=d, hours=1), now) for d in (0, 1, 9)] == [
        "today",
        "1 day",
        "9 days",
    ]


@pytest.mark.parametrize("target", ["/", "/cases/SO-1?x=1", "/imaging#study-1"])
def test_a_path_of_this_site_is_gone_on_to(target: str) -> None:
    assert safe_next(target) == target


@pytest.mark.parametrize(
    "target",
    ["//evil", "///evil", "/\\evil", "https://evil", "evil", "", "/a\nb", "/\t/evil", "javascript:x"],
)
def test_another_site_is_never_gone_on_to(target: str) -> None:
    assert safe_next(target) == "/"
