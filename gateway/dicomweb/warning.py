"""Warning header fields: where PS3.18 wants words for people (8.4.3; RFC 7234 5.5, code 299)."""

import re
from collections.abc import Iterable

MAX_WARNINGS = 20
_SHOWN = re.compile(r"[A-Za-z0-9.]{1,128}")
_AGENT = "second-opinion-gateway"


def warning_headers(texts: Iterable[str]) -> list[tuple[str, str]]:
    """One field for each different text; header fields are limited, so the rest is only counted."""
    distinct = list(dict.fromkeys(texts))
    told = distinct[:MAX_WARNINGS]
    if len(distinct) > len(told):
        told.append(f"{len(distinct) - len(told)} more warnings are not listed here.")
    return [("Warning", f'299 {_AGENT} "{_quoted(text)}"') for text in told]


def passed_over(name: str, of: str) -> str:
    """Words about a parameter that is not known, and so is ignored (8.3)."""
    return f"{shown(name)} is not a parameter of this {of} and is passed over."


def shown(name: str) -> str:
    """A parameter's name, where it is one that can be shown."""
    return name if _SHOWN.fullmatch(name) else "That parameter"


def _quoted(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
