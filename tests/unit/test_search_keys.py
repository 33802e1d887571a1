"""Names, dates and times as searches compare them."""

import pytest

from gateway.store.search_keys import date_key, fold, name_key, time_key, words

SAME = [
    ("Ändermann", "ANDERMANN"),
    ("A\u0308ndermann", "\u00c4ndermann"),
    ("Großmann", "GROSSMANN"),
    ("Łukasz", "lukasz"),
    ("Søren Þór", "soren thor"),
    ("Nguyễn", "nguyen"),
    ("İstanbul", "istanbul"),
    ("Işık", "isik"),
    ("Семён", "СЕМЕН"),
    ("Άννα", "αννα"),
    ("أحمد", "احمد"),
    ("مُحَمَّد", "محمد"),
    ("שָׁלוֹם", "שלום"),
    ("ヤマダ", "やまだ"),
    ("ﾔﾏﾀﾞ", "やまだ"),
    ("김철수", "김철수"),
]
DIFFERENT = [("か", "が"), ("मेरा", "मिरा"), ("ปู", "ปี"), ("王", "玉"), ("Anna", "Anne")]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_case_accents_width_and_kana_make_no_difference(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_marks_that_make_another_word_make_a_difference(one, other):
    assert fold(one) != fold(other)


def test_a_name_is_taken_apart_into_the_words_of_its_components():
    assert words("Müller-Lüdenscheidt^Anna Maria^^Dr.=王^小東") == [
        *("muller", "ludenscheidt", "anna", "maria", "dr", "王", "小東")
    ]
    assert words("O\u2019Brien^S*n") == ["o", "brien", "s*n"]
    assert words("^^") == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("DOE^JOHN^^^", "doe^john"),
        (" Doe ^ John  Paul", "doe^john paul"),
        ("^Mira", "^mira"),
        ("Ändermann^Mira", "ändermann^mira"),
        ("^^^^", ""),
    ],
)
def test_a_group_is_compared_without_capitals_and_empty_ends(name, key):
    assert name_key(name) == key


@pytest.mark.parametrize(
    ("found", "key"),
    [
        ("20261101", "20261101"),
        ("2026.11.01", "20261101"),
        ("2026", ""),
        ("20261301", ""),
        ("tomorrow", ""),
        ("٢٠٢٦١١٠١", ""),
    ],
)
def test_dates_are_compared_as_eight_digits(found, key):
    assert date_key(found) == key


@pytest.mark.parametrize(
    ("found", "key"),
    [
        ("10", "100000.000000"),
        ("1015", "101500.000000"),
        ("101530.5", "101530.500000"),
        ("10:15:30", "101530.000000"),
        ("101530.1234567", ""),
        ("2500", ""),
        ("noon", ""),
    ],
)
def test_times_are_compared_to_the_microsecond(found, key):
    assert time_key(found) == key
