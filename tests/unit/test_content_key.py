"""A resource without a lasting name is known again by what it says and by what that rests on."""

from typing import Any

import pytest

from gateway.workflow.content_key import content_keys
from gateway.workflow.submission import Entry


def keys_of(
    resources: dict[str, dict[str, Any]], given: dict[int, tuple[str, str]] | None = None
) -> list[str]:
    """The digests by order of the resources; their names are their fullUrls."""
    entries = tuple(Entry(i, url, resource) for i, (url, resource) in enumerate(resources.items()))
    found = content_keys(entries, given or {}, {entry.full_url: entry for entry in entries})
    return [found[entry.index][1] for entry in entries if entry.index in found]


def observation(words: str, *members: str) -> dict[str, Any]:
    refs = [{"reference": member} for member in members]
    return {"resourceType": "Observation", "code": {"text": words}, "hasMember": refs}


def patient(name: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": name}]}


def test_the_same_content_under_other_names_has_the_same_key() -> None:
    before = keys_of({"urn:1": observation("x", "urn:2"), "urn:2": observation("y")})
    after = keys_of({"urn:8": observation("x", "urn:9") | {"id": "7"}, "urn:9": observation("y")})
    assert before == after


def test_the_same_words_about_another_child_have_another_key() -> None:
    def about(name: str) -> str:
        return keys_of({"urn:1": observation("x", "urn:2"), "urn:2": patient(name)})[0]

    assert about("Okafor") != about("Weber")
    key = {1: ("Patient", "identifier:a|1")}, {1: ("Patient", "identifier:a|2")}
    resources = {"urn:1": observation("x", "urn:2"), "urn:2": patient("Okafor")}
    assert keys_of(resources, key[0]) != keys_of(resources, key[1])


def test_what_an_entry_does_not_refer_to_does_not_change_its_key() -> None:
    alone = {"urn:1": observation("x", "urn:2"), "urn:2": observation("y", "urn:1")}
    assert keys_of(alone) == keys_of(alone | {"urn:3": observation("z", "urn:1")})[:2]


def test_entries_of_one_circle_are_told_apart() -> None:
    first, second, third = keys_of(
        {
            "urn:1": observation("x", "urn:2"),
            "urn:2": observation("y", "urn:3"),
            "urn:3": observation("z", "urn:1"),
        }
    )
    assert len({first, second, third}) == 3


@pytest.mark.parametrize("circle", [False, True])
def test_the_child_counts_however_far_away_it_is(circle: bool) -> None:
    def chain(name: str) -> str:
        length = 30 if circle else 300
        links = {f"urn:{n}": observation("x", f"urn:{n + 1}") for n in range(length)}
        if circle:
            links["urn:0"]["hasMember"].append({"reference": "urn:0"})
        return keys_of(links | {f"urn:{length}": patient(name)})[0]

    assert chain("Okafor") != chain("Weber")


@pytest.mark.timeout(10)
def test_long_chains_and_wide_circles_are_read_in_no_time() -> None:
    chain = {f"urn:{n}": observation("x", f"urn:{n + 1}") for n in range(3000)}
    assert len(keys_of(chain)) == 3000
    every = [f"urn:{n}" for n in range(40)]
    assert len(keys_of({url: observation(url, *every) for url in every})) == 40
