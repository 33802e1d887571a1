"""In which character sets texts can be written so that who keeps to the standard reads them (PS3.3 C.12.1.1.2).

pydicom writes the texts. It takes the default repertoire for ISO 8859-1, gives ISO 2022 IR 58 no escape sequence, and
of several character sets takes the first that can hold a text; so of what it can write this takes only what is written
as the standard says.
"""

import re
from collections.abc import Collection, Iterable, Sequence

UTF_8 = "ISO_IR 192"
_ESCAPE = "\x1b"
_DEFAULT_REPERTOIRE = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})  # ISO-IR 6: of seven bits (PS3.5 6.1.2.1)
_TABLES = {  # Specific Character Set -> Python's codec: Tables C.12-2 and C.12-3
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "166": "tis_620",
}
_ALONE = {f"ISO_IR {number}": codec for number, codec in _TABLES.items()} | {
    UTF_8: "utf_8",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
_EXTENDING = {f"ISO 2022 IR {number}": codec for number, codec in _TABLES.items()}
_KANA = re.compile("[\uff61-\uff9f]+")  # of JIS X 0201, in G1
_JIS_X_0201 = frozenset({"ISO_IR 13", "ISO 2022 IR 13"})
_NOT_IN_JIS_X_0201 = frozenset("\\~")  # there they are yen sign and overline
_KANJI = {
    "ISO 2022 IR 87": b"\x1b$B",
    "ISO 2022 IR 159": b"\x1b$(D",
}  # in G0, in place of ASCII (Table C.12-4)
_IN_TWO_BYTES = {"ISO 2022 IR 149": "euc_kr"}  # in G1, beside ASCII (Table C.12-4)
_PARTS = re.compile(r"[\^=]")  # of a PN: where the first character set is in force again (PS3.5 6.1.2.5.3)
_LINES = frozenset("\t\n\f\r")  # there too, and pydicom does not see to it


def pieces_of(vr: str, text: str) -> list[str]:
    """What is written on its own."""
    return _PARTS.split(text) if vr == "PN" else [text]


def true_character_sets(asked: Sequence[str], pieces: Collection[str]) -> Sequence[str]:
    """``asked``, the values of Specific Character Set, where each piece can be written so; else UTF-8.

    () for the default repertoire, where that holds all of them and is what was asked or nothing better was.
    """
    first = asked[0] if asked else ""
    is_known = _is_known(asked)
    if all(piece.isascii() and _ESCAPE not in piece for piece in pieces):
        if first in _DEFAULT_REPERTOIRE or not is_known:
            return ()
        return (UTF_8,) if first in _JIS_X_0201 and _has_any(pieces, _NOT_IN_JIS_X_0201) else asked
    if not is_known or _has_any(pieces, {_ESCAPE}):
        return (UTF_8,)
    if len(asked) > 1 and _has_any(pieces, _LINES):
        return (UTF_8,)
    return asked if all(_is_written_truly(asked, piece) for piece in pieces) else (UTF_8,)


def _is_known(asked: Sequence[str]) -> bool:
    """One of them without code extensions; several with, of which one of two bytes is never the first (C.12.1.1.2)."""
    if len(asked) <= 1:
        return not asked or asked[0] in _DEFAULT_REPERTOIRE or asked[0] == "ISO_IR 13" or asked[0] in _ALONE
    firsts = {"", "ISO 2022 IR 6", "ISO 2022 IR 13", *_EXTENDING}
    others = firsts - {""} | _KANJI.keys() | _IN_TWO_BYTES.keys()
    return asked[0] in firsts and set(asked[1:]) <= others


def _has_any(pieces: Iterable[str], letters: Iterable[str]) -> bool:
    return any(letter in piece for letter in letters for piece in pieces)


def _is_written_truly(asked: Sequence[str], piece: str) -> bool:
    """pydicom writes a piece in the first of the character sets that it believes to hold all of it."""
    for character_set in asked or ("",):
        if character_set in _DEFAULT_REPERTOIRE:
            if piece.isascii():
                return True
            if _can_encode(piece, "latin_1"):
                return False  # it would be written as ISO 8859-1
        elif _holds(character_set, piece):
            return True
        elif _can_encode(piece, _IN_TWO_BYTES.get(character_set, "ascii")):
            return False  # it would be written in more bytes than the character set has
    return _is_written_truly_in_parts(asked, piece)


def _is_written_truly_in_parts(asked: Sequence[str], piece: str) -> bool:
    """After what stands in place of ASCII pydicom goes back to a first character set of G0, and to no other."""
    if len(asked) < 2 or not (asked[0] in _DEFAULT_REPERTOIRE or asked[0] in _JIS_X_0201):
        return False
    first, *others = asked
    wide = [one for one in others if one in _KANJI]
    return all(
        not (first in _JIS_X_0201 and letter in _NOT_IN_JIS_X_0201)
        if letter.isascii()
        else not _can_encode(letter, "latin_1") and any(_holds(one, letter) for one in wide)
        for letter in piece
    )


def _holds(character_set: str, piece: str) -> bool:
    if character_set in _JIS_X_0201:
        return bool(_KANA.fullmatch(piece)) or (piece.isascii() and not _has_any([piece], _NOT_IN_JIS_X_0201))
    if character_set in _KANJI:
        return bool(piece) and all(_is_kanji(letter, _KANJI[character_set]) for letter in piece)
    if character_set in _IN_TWO_BYTES:
        return all(_can_encode(letter, _IN_TWO_BYTES[character_set], 2) for letter in piece)
    return _can_encode(piece, (_ALONE | _EXTENDING)[character_set])


def _is_kanji(letter: str, escape: bytes) -> bool:
    try:
        return letter.encode("iso2022_jp_2").startswith(escape)
    except UnicodeError:
        return False


def _can_encode(piece: str, codec: str, most_bytes: int | None = None) -> bool:
    try:
        encoded = piece.encode(codec)
    except UnicodeError:
        return False
    return most_bytes is None or len(encoded) <= most_bytes
