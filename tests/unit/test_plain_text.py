"""Dates without ambiguity, legible characters, the direction of writing."""

import pytest

from mappings.plain_text import date_words, direction, legible, paragraphs, started_words


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("2019-05-03", "3 May 2019"),
        ("2019-05", "May 2019"),
        ("2019", "2019"),
        ("2026-03-17T08:10:00+02:00", "17 March 2026, 08:10 +02:00"),
        ("2026-03-17T08:10:00.123Z", "17 March 2026, 08:10 UTC"),
        ("2026-03-17T08:10", "17 March 2026, 08:10 local time"),
        ("2019-13", "2019-13"),
        ("2019-02-30", "2019-02-30"),
        ("0000", "0000"),
        ("03/05/2019", "03/05/2019"),
        ("", ""),
    ],
)
def test_a_date_is_as_precise_as_it_was_sent_and_what_is_none_is_shown_as_sent(sent, words):
    assert date_words(sent) == words


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ("20260318 142011.25", "18 March 2026, 14:20 local time"),
        ("20260318 14", "18 March 2026"),
        ("20260318", "18 March 2026"),
        ("20260399", "20260399"),
        ("142011", "142011"),
        ("", ""),
    ],
)
def test_a_study_time_is_told_as_local_and_no_date_is_made_up(sent, words):
    assert started_words(sent) == words


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("7.2 cm الكتلة", "ltr"),
        ("(12) ليلى", "rtl"),
        ("שלום", "rtl"),
        ("莱拉", "ltr"),
        ("123", "ltr"),
        ("", "ltr"),
    ],
)
def test_text_runs_in_the_direction_of_its_first_letter(text, side):
    assert direction(text) == side


def test_line_ends_become_one_kind_and_tabs_stay():
    assert legible("a\r\nb\rc\td\x1fe") == "a\nb\nc\td\ufffde"


@pytest.mark.parametrize(
    ("text", "parts"),
    [("", []), (" \n\n ", []), ("a\nb\n \t\nc", ["a\nb", "c"]), ("\n\n  a\n", ["  a"])],
)
def test_empty_lines_part_paragraphs(text, parts):
    assert paragraphs(text) == parts
