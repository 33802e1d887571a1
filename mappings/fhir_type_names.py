"""Resource types that have another name in R4, and the ids and references that tell them apart there.

ProcedureRequest and ReferralRequest of STU3 are both ServiceRequest in R4. A server may number both from 1: so the id
of all but the first of such types begins with the name that it had, ReferralRequest/1 being
ServiceRequest/ReferralRequest-1, and by that it gets its name back.
"""

import hashlib
import re

Types = tuple[tuple[str, str], ...]
"""Pairs of a type's name in the other release and in R4, the first one of an R4 type being its plain counterpart."""

_RELATIVE = re.compile(r"^([A-Z][A-Za-z]+)(/|\?|$)([^/]*)(.*)$")
_ID_CHARACTERS = 64


def r4_name(types: Types, type_name: str, fhir_id: str) -> tuple[str, str]:
    """(type, id) in R4."""
    r4 = dict(types).get(type_name, type_name)
    if r4 == type_name or _plain(types, r4) == type_name:
        return r4, fhir_id
    return r4, prefixed(type_name, fhir_id) if fhir_id else ""


def original_name(types: Types, type_name: str, fhir_id: str) -> tuple[str, str]:
    """(type, id) in the other release, of an R4 resource."""
    names = [theirs for theirs, r4 in types if r4 == type_name]
    for theirs in names[1:]:
        if fhir_id.startswith(f"{theirs}-"):
            return theirs, fhir_id.removeprefix(f"{theirs}-")
    return names[0] if names else type_name, fhir_id


def other_names(types: Types, r4: str) -> list[str]:
    """The types that are this one in R4, but for its plain counterpart: their ids begin with them."""
    return [theirs for theirs, name in types if name == r4][1:]


def renamed_reference(types: Types, reference: str, *, to_r4: bool) -> str:
    """``Type/id`` (with or without version), ``Type?criteria`` or ``Type``; any other reference stays as it is."""
    found = _RELATIVE.match(reference)
    if not found or not types:
        return reference
    type_name, mark, rest, more = found.groups()
    name, fhir_id = (r4_name if to_r4 else original_name)(types, type_name, rest if mark == "/" else "")
    return f"{name}{mark}{fhir_id if mark == '/' else rest}{more}"


def prefixed(type_name: str, fhir_id: str) -> str:
    """An id that tells the type that its resource had; 64 characters at most (FHIR R4 2.24.0.1, id)."""
    found = f"{type_name}-{fhir_id}"
    if len(found) <= _ID_CHARACTERS:
        return found
    return f"{type_name}-{hashlib.sha256(fhir_id.encode()).hexdigest()[:40]}"


def _plain(types: Types, r4: str) -> str:
    return next((theirs for theirs, name in types if name == r4), r4)
