"""Real DICOM files, damaged in the ways that networks, disks and old software damage them, and in hostile ones."""

import os
import secrets
import struct
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from gateway.errors import NotDicom
from mappings.dicom_to_header import read_header
from tests.support.dicom_files import real_files

MAX_FILE_BYTES = 200_000
EXAMPLES = int(os.environ.get("GATEWAY_TEST_EXAMPLES") or 1)
"""How many times as many examples as in ``make test`` (``make soak`` has more)."""

Mutation = Callable[[bytes], bytes]

LENGTHS = [0, 1, 2, 3, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]
SYNTAXES = [
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.5", b"1.2.999", b"", b"x",
]  # fmt: skip
FRAGMENTS = [
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",  # an item, its end, a sequence's end
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 1500,
    b"\x10\x00\x20\x00LO\x06\x00OTHER ",
    b"\x10\x00\x20\x00LO\x06\x00OTHER " * 3,
    b"\x08\x00\x05\x00CS\x0e\x00ISO 2022 IR 87",
    b"\x08\x00\x05\x00CS\x08\x00nonsense",
    b"\x28\x00\x08\x00IS\x0a\x001234567890",
    b"\x28\x00\x10\x00US\x02\x00\xff\xff",
    b"\x09\x00\x10\x00LO\x04\x00ACME\x09\x00\x01\x10ZZ\x02\x00ab",
    b"\xff" * 40,
    bytes(40),
]


def few(examples: int) -> settings:
    """Bounded, the same at each run, and without hypothesis' own clock: a busy machine is no fault."""
    return settings(
        max_examples=examples * EXAMPLES,
        deadline=None,
        derandomize=EXAMPLES == 1,
        suppress_health_check=list(HealthCheck),
    )


@cache
def whole_files(shared_data: Path | None) -> tuple[bytes, ...]:
    """Different small files that are taken as they are."""
    folders = sorted(shared_data.glob("dicom/*/*.dcm")) if shared_data else []
    found = {}
    for path in [*real_files(), *folders]:
        content = path.read_bytes()
        try:
            header = read_header(BytesIO(content), "")
        except NotDicom:
            continue
        if len(content) < MAX_FILE_BYTES:
            found.setdefault((header.transfer_syntax_uid, header.sop_class_uid, len(content) % 7), content)
    return tuple(found.values())


def _cut(share: float) -> Mutation:
    return lambda file: file[: int(len(file) * share)]


def _overwrite(share: float, new: bytes) -> Mutation:
    def mutate(file: bytes) -> bytes:
        at = int(len(file) * share)
        return file[:at] + new + file[at + len(new) :]

    return mutate


def _insert(share: float, new: bytes) -> Mutation:
    return lambda file: file[: int(len(file) * share)] + new + file[int(len(file) * share) :]


def _flip(share: float, bit: int) -> Mutation:
    def mutate(file: bytes) -> bytes:
        at = min(int(len(file) * share), len(file) - 1)
        return file[:at] + bytes([file[at] ^ (1 << bit)]) + file[at + 1 :] if file else file

    return mutate


def _repeat(share: float, count: int) -> Mutation:
    return lambda file: _insert(share, file[int(len(file) * share) :][:count])(file)


def _delete(share: float, count: int) -> Mutation:
    return lambda file: file[: int(len(file) * share)] + file[int(len(file) * share) + count :]


def _swap(share: float, count: int) -> Mutation:
    def mutate(file: bytes) -> bytes:
        at = int(len(file) * share)
        return file[:at] + file[at + count : at + 2 * count] + file[at : at + count] + file[at + 2 * count :]

    return mutate


def _resyntax(uid: bytes) -> Mutation:
    def mutate(file: bytes) -> bytes:
        at = file.find(b"\x02\x00\x10\x00UI")
        if at < 0:
            return file
        length = int.from_bytes(file[at + 6 : at + 8], "little")
        padded = uid + b"\0" * (len(uid) % 2)
        return file[: at + 6] + struct.pack("<H", len(padded)) + padded + file[at + 8 + length :]

    return mutate


def _element_length(number: int, length: int) -> Mutation:
    """The length of an element, found by what looks like a VR."""

    def mutate(file: bytes) -> bytes:
        places = [
            at
            for at in range(132, min(len(file), 6000))
            if file[at : at + 2].isalpha() and file[at - 1] < 0x20
        ]
        if not places:
            return file
        at = places[number % len(places)] + 2
        return file[:at] + struct.pack("<H", length & 0xFFFF) + file[at + 2 :]

    return mutate


def of_bytes(fragments: list[bytes]) -> st.SearchStrategy[Mutation]:
    """Of any file; most of them early in it, where its header is."""
    share = st.one_of(st.floats(0, 1), st.floats(0, 0.2), st.floats(0, 0.01))
    count = st.integers(1, 300)
    return st.one_of(
        st.builds(_cut, share),
        st.builds(_flip, share, st.integers(0, 7)),
        st.builds(_overwrite, share, st.binary(min_size=1, max_size=8)),
        st.builds(_insert, share, st.sampled_from(fragments)),
        st.builds(_repeat, share, count),
        st.builds(_delete, share, count),
        st.builds(_swap, share, count),
        st.sampled_from(fragments).map(lambda new: lambda file: file + new),
    )


def mutations() -> st.SearchStrategy[list[Mutation]]:
    """Of a DICOM file."""
    share = st.one_of(st.floats(0, 1), st.floats(0, 0.2), st.floats(0, 0.01))
    one = st.one_of(
        of_bytes(FRAGMENTS),
        st.builds(_overwrite, share, st.sampled_from(LENGTHS).map(lambda length: struct.pack("<I", length))),
        st.builds(_resyntax, st.sampled_from(SYNTAXES)),
        st.builds(_element_length, st.integers(0, 200), st.sampled_from(LENGTHS)),
        st.just(lambda file: file[132:] if file[128:132] == b"DICM" else file),
    )
    return st.lists(one, min_size=1, max_size=4)


def mutated(file: bytes, changes: list[Mutation]) -> bytes:
    for change in changes:
        file = change(file)
    return file


def with_fresh_uid(file: bytes) -> bytes:
    """Under a SOP Instance UID that nobody used, of the same length."""
    uid = read_header(BytesIO(file), "").sop_instance_uid
    digits = "".join(str(secrets.randbelow(9) + 1) for _ in range(min(12, len(uid) - 2)))
    own = uid[: len(uid) - len(digits) - 1].rstrip(".") or "1"
    own = f"{own}.{digits}".ljust(len(uid), "7")[: len(uid)]
    return file.replace(uid.encode(), own.encode())
