"""Real FHIR files in JSON and XML, damaged as networks, editors and hostile senders damage them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gateway.errors import NotFhir
from gateway.fhir.json_format import read_json
from gateway.fhir.xml_format import to_xml
from gateway.store.resources import dumps
from tests.support.any_value import ANY_VALUE, EXAMPLES, put, standing
from tests.support.bundles import FHIR_JSON
from tests.support.hostile_fhir import FHIR_XML
from tests.support.mutations import Mutation, of_bytes

MAX_FILE_BYTES = 60_000
FOLDERS = ("ips-connectathon", "mhd-iti65", "us-core", "validator-cases-r4", "synthea-r4")
OF_EACH_FOLDER = 25
FRAGMENTS = [
    b'"', b"\\", b"\\ud800", b"\\u0000",
    b"null", b"[", b"]", b"{", b"}", b",", b":", b"[]", b"{}", b'""', b"-", b"1e999",
    b"NaN", b"\xff", b"\xed\xa0\x80", b"\0", b"\xef\xbb\xbf", b"<", b">", b"</", b"/>", b"&", b"&x;", b"<!--", b"]]>",
    b'<!DOCTYPE x [<!ENTITY x "x">]>', b'"resourceType":"Bundle",', b'"resourceType":"Patient",', b'"contained":[{}],',
    b'"reference":"#",', b'"id":"x",', b'"extension":[{"url":"x"}],', b'"_id":{"id":"x"},', b"[" * 300, b'{"a":' * 300,
]  # fmt: skip


@dataclass(frozen=True)
class Sound:
    """A file as it was published; ``kind`` is its resource type."""

    kind: str
    content: dict[str, Any]

    def __repr__(self) -> str:
        return f"a sound {self.kind}"


@cache
def sound_files(shared_data: Path | None) -> tuple[Sound, ...]:
    files = sorted(EXAMPLES.glob("*.json"))
    for name in FOLDERS if shared_data is not None else ():
        small = [
            f
            for f in sorted((shared_data / "fhir" / name).glob("*.json"))
            if f.stat().st_size < MAX_FILE_BYTES
        ]
        files += small[:: max(1, len(small) // OF_EACH_FOLDER)]
    found = []
    for file in files:
        try:
            content = read_json(file.read_bytes())
        except NotFhir:
            continue
        if isinstance(kind := content.get("resourceType"), str):
            found.append(Sound(kind, content))
    return tuple(found)


class SoundFiles:
    """Has a short name, unlike all that they hold."""

    def __init__(self, shared_data: Path | None) -> None:
        self.all = sound_files(shared_data)

    def draw(self, chosen: st.DataObject) -> Sound:
        return self.all[chosen.draw(st.integers(0, len(self.all) - 1), label="file")]


def damaged(chosen: st.DataObject, files: SoundFiles) -> tuple[str, bytes, str]:
    """(kind, body, media type): values changed first, then bytes, of either format."""
    file = files.draw(chosen)
    content = file.content
    for _ in range(chosen.draw(st.integers(0, 3), label="values")):
        places = [("id",), *(place for place in standing(content) if place != ("resourceType",))]
        place = places[chosen.draw(st.integers(0, len(places) - 1), label="place")]
        content = put(content, place, chosen.draw(ANY_VALUE))
    media_type = chosen.draw(st.sampled_from([FHIR_JSON, FHIR_XML]))
    body = _in_xml(content) if media_type == FHIR_XML else dumps(content).encode()
    changes: list[Mutation] = chosen.draw(st.lists(of_bytes(FRAGMENTS), max_size=3))
    for change in changes:
        body = change(body)
    return file.kind, body, media_type


def _in_xml(content: dict[str, Any]) -> bytes:
    """As it is, or where a changed value cannot be written so, as a resource that says nothing."""
    try:
        return to_xml(content)
    except (AttributeError, TypeError, ValueError, RecursionError):
        return to_xml({"resourceType": json.loads(json.dumps(content["resourceType"]))})
