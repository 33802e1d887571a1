"""The DICOM JSON model as a stranger sends it: parsed with every digit, nothing of it believed yet (PS3.18 Annex F)."""

import json
from decimal import Decimal
from typing import Any

from gateway.errors import NotDicom

MAX_JSON_OBJECTS = 1_000_000


def parse_json(content: bytes) -> list[Any]:
    """The data sets of an ``application/dicom+json``, each still to be looked at; one may stand without its list.

    Decimals keep their digits. Raises NotDicom.
    """
    if content.count(b"{") + content.count(b"[") > MAX_JSON_OBJECTS:
        raise NotDicom(f"The JSON has more than {MAX_JSON_OBJECTS} objects and lists.")
    try:
        found = json.loads(content, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_unique)
    except RecursionError as error:
        raise NotDicom("The metadata is nested too deep.") from error
    except ArithmeticError as error:
        raise NotDicom("The metadata has a number whose exponent is beyond every VR.") from error
    except ValueError as error:
        raise NotDicom("The metadata is not JSON.") from error
    return found if isinstance(found, list) else [found]


def _refuse(constant: str) -> None:
    raise NotDicom(
        f'The metadata has {constant}, which is no JSON; PS3.18 F.2.3 has "NaN", "inf" and "-inf" for it.'
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotDicom("The JSON says something twice in one object.")
    return found


def text_of(data_set: Any, tag: str) -> str:
    """The first value of an attribute as text, '' where there is none."""
    element = data_set.get(tag) if isinstance(data_set, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values and values[0] is not None else ""
