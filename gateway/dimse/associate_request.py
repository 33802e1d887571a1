"""The A-ASSOCIATE-RQ of a peer (PS3.8 9.3.2), before pynetdicom reads it.

pynetdicom takes an item that it does not know for a broken one, and finds only in the middle of the negotiation that a
request cannot be answered. Here it is looked through first, and what nothing looks at is left out.
"""

import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pynetdicom.pdu import A_ASSOCIATE_RQ

if TYPE_CHECKING:
    from pynetdicom.pdu_primitives import A_ASSOCIATE

_FIXED = struct.Struct(">6sHxx16s16s32x")  # PS3.8 Table 9-11
_ITEM = struct.Struct(">BxH")
_APPLICATION_CONTEXT, _PRESENTATION_CONTEXT, _USER_INFORMATION = 0x10, 0x20, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_MAXIMUM_LENGTH, _ASYNCHRONOUS_OPERATIONS, _ROLE, _EXTENDED = 0x51, 0x53, 0x54, 0x56
_LOOKED_AT = frozenset({_MAXIMUM_LENGTH, _ASYNCHRONOUS_OPERATIONS, _ROLE, _EXTENDED})
_NO_MAXIMUM = b"\0\0\0\0"
_UID = re.compile(rb"[0-9.]{1,64}")
_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")  # PS3.5 6.2, AE: no backslash, no control character
_PLACEHOLDER = b"?".ljust(16)


class AssociateRequest(A_ASSOCIATE_RQ):
    """An AE title that is none is '', which pynetdicom takes for a PDU that cannot be read: it is to be rejected.

    Raises ValueError for what cannot be answered (PS3.8 9.3.2): a mandatory item that is missing or twice there, a
    presentation context id that is even, 0 or given twice, a name that is no UID, items that are longer than what
    they are in. Items of unknown types are passed over (9.3.1, D.2; PS3.7 D.3.3).
    """

    def __init__(self, pdu: bytes) -> None:
        super().__init__()
        if len(pdu) < _FIXED.size:
            raise ValueError("a request for an association without its mandatory fields")
        head, version, called, calling = _FIXED.unpack_from(pdu)
        self._titles = _ae_title(called), _ae_title(calling)
        self.protocol_version = version
        if version & 1:  # only this bit is tested (Table 9-11); what another version means is not known
            fixed = _FIXED.pack(head, 1, _PLACEHOLDER, _PLACEHOLDER)
            self.decode(fixed + b"".join(_items(pdu[_FIXED.size :])))

    def to_primitive(self) -> "A_ASSOCIATE":
        primitive = super().to_primitive()
        primitive._called_ae_title, primitive._calling_ae_title = self._titles
        return primitive


def _ae_title(field: bytes) -> str:
    title = field.decode("latin-1").strip(" ")
    return title if _AE_TITLE.fullmatch(title) else ""


def _items(content: bytes) -> Iterator[bytes]:
    """Those that are understood."""
    context_ids: set[int] = set()
    once: list[int] = []
    for kind, item in _walk(content):
        if kind == _APPLICATION_CONTEXT:
            once.append(kind)
            yield _encoded(kind, _name(item))
        elif kind == _PRESENTATION_CONTEXT:
            yield _encoded(kind, _presentation_context(item, context_ids))
        elif kind == _USER_INFORMATION:
            once.append(kind)
            yield _encoded(kind, _user_information(item))
    if sorted(once) != [_APPLICATION_CONTEXT, _USER_INFORMATION] or not context_ids:
        raise ValueError("a request for an association that lacks a mandatory item, or has one twice")


def _presentation_context(content: bytes, known_ids: set[int]) -> bytes:
    """Table 9-13: one abstract syntax, one transfer syntax or more, the id an odd number (9.3.2.2)."""
    if len(content) < 4:
        raise ValueError("a presentation context without its id")
    context_id = content[0]
    names = [
        (kind, _name(name))
        for kind, name in _walk(content[4:])
        if kind in (_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX)
    ]
    kinds = [kind for kind, _ in names]
    if context_id % 2 == 0 or context_id in known_ids:
        raise ValueError("a presentation context whose id is even, or of another one")
    if kinds.count(_ABSTRACT_SYNTAX) != 1 or _TRANSFER_SYNTAX not in kinds:
        raise ValueError("a presentation context without an abstract and a transfer syntax")
    known_ids.add(context_id)
    return content[:4] + b"".join(_encoded(kind, name) for kind, name in names)


def _user_information(content: bytes) -> bytes:
    """Neither identity nor implementation of a peer is looked at; without a maximum length there is none (D.1)."""
    found = [(kind, item) for kind, item in _walk(content) if kind in _LOOKED_AT]
    if _MAXIMUM_LENGTH not in [kind for kind, _ in found]:
        found.append((_MAXIMUM_LENGTH, _NO_MAXIMUM))
    return b"".join(_encoded(kind, item) for kind, item in found)


def _name(padded: bytes) -> bytes:
    """A UID (Annex F), which some pad as in a data set."""
    name = padded.rstrip(b"\0 ")
    if not _UID.fullmatch(name):
        raise ValueError("a name that is no UID")
    return name


def _walk(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        if at + _ITEM.size > len(content):
            raise ValueError("an item without its length")
        kind, length = _ITEM.unpack_from(content, at)
        at += _ITEM.size + length
        if at > len(content):
            raise ValueError("an item that is longer than what it is in")
        yield kind, content[at - length : at]


def _encoded(kind: int, content: bytes) -> bytes:
    return _ITEM.pack(kind, len(content)) + content
