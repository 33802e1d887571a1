"""The A-ASSOCIATE-RQ of a peer (PS3.8 9.3.2), before pynetdicom reads it.

pynetdicom takes an item that it does not know for a broken one, and finds only in the middle of the negotiation that a
request cannot be answered. Here it is looked through first, and what nothing looks at is left out. The presentation
contexts are read here: many senders propose 128 of them for each image.
"""

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.presentation import PresentationContext

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
_UIDS_KNOWN = 1024


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
        self._contexts: dict[int, PresentationContext] = {}
        if version & 1:  # only this bit is tested (Table 9-11); what another version means is not known
            fixed = _FIXED.pack(head, 1, _PLACEHOLDER, _PLACEHOLDER)
            self.decode(fixed + b"".join(_items(pdu[_FIXED.size :], self._contexts)))

    def to_primitive(self) -> "A_ASSOCIATE":
        primitive = super().to_primitive()
        primitive._called_ae_title, primitive._calling_ae_title = self._titles
        primitive.presentation_context_definition_list = list(self._contexts.values())
        return primitive


def _ae_title(field: bytes) -> str:
    title = field.decode("latin-1").strip(" ")
    return title if _AE_TITLE.fullmatch(title) else ""


def _items(content: bytes, contexts: dict[int, PresentationContext]) -> Iterator[bytes]:
    """Those that pynetdicom is to read; the presentation contexts are put into ``contexts``, by their ids."""
    once: list[int] = []
    for kind, item in _walk(content):
        if kind == _APPLICATION_CONTEXT:
            once.append(kind)
            yield _encoded(kind, _name(item))
        elif kind == _PRESENTATION_CONTEXT:
            context = _presentation_context(item)
            if contexts.setdefault(item[0], context) is not context:
                raise ValueError("a presentation context whose id is that of another one")
        elif kind == _USER_INFORMATION:
            once.append(kind)
            yield _encoded(kind, _user_information(item))
    if sorted(once) != [_APPLICATION_CONTEXT, _USER_INFORMATION] or not contexts:
        raise ValueError("a request for an association that lacks a mandatory item, or has one twice")


def _presentation_context(content: bytes) -> PresentationContext:
    """Table 9-13: one abstract syntax, one transfer syntax or more, the id an odd number (9.3.2.2)."""
    if len(content) < 4 or content[0] % 2 == 0:
        raise ValueError("a presentation context without its id, or whose id is even")
    names: dict[int, list[UID]] = {_ABSTRACT_SYNTAX: [], _TRANSFER_SYNTAX: []}
    for kind, padded in _walk(content[4:]):
        if kind in names:
            names[kind].append(_uid(padded))
    if len(names[_ABSTRACT_SYNTAX]) != 1 or not names[_TRANSFER_SYNTAX]:
        raise ValueError("a presentation context without an abstract and a transfer syntax")
    context = PresentationContext()
    context._context_id = content[0]
    (context._abstract_syntax,) = names[_ABSTRACT_SYNTAX]
    context._transfer_syntax = list(dict.fromkeys(names[_TRANSFER_SYNTAX]))
    return context


def _user_information(content: bytes) -> bytes:
    """Neither identity nor implementation of a peer is looked at; without a maximum length there is none (D.1)."""
    found = [(kind, item) for kind, item in _walk(content) if kind in _LOOKED_AT]
    if _MAXIMUM_LENGTH not in [kind for kind, _ in found]:
        found.append((_MAXIMUM_LENGTH, _NO_MAXIMUM))
    return b"".join(_encoded(kind, item) for kind, item in found)


@lru_cache(_UIDS_KNOWN)
def _uid(padded: bytes) -> UID:
    return UID(_name(padded).decode())


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
