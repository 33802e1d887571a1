"""Warning header fields: where PS3.18 wants words for people (8.4.3; RFC 7234 5.5, code 299)."""

from collections.abc import Iterable

MAX_WARNINGS = 20
_AGENT = "second-opinion-gateway"


def warning_headers(texts: Iterable[str]) -> list[tuple[str, str]]:
    """One field for each different text; header fields are limited, so the rest is only counted."""
    distinct = list(dict.fromkeys(texts))
    told = distinct[:MAX_WARNINGS]
    if len(distinct) > len(told):
        told.append(f"{len(distinct) - len(told)} more warnings are not listed here.")
    return [("Warning", f'299 {_AGENT} "{_quoted(text)}"') for text in told]


def _quoted(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain.encode("ascii", "replace").decode().replace("\\", "\\\\").replace('"', '\\"')
