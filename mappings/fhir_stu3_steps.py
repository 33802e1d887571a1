"""What no row of fhir_stu3.yaml can say: elements of STU3 that take several of R4's, by what they say.

A step takes what it turns out of the resource, and gives what it made of it in the other release.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mappings.fhir_conversion_table import to_r4
from mappings.fhir_cross_version import url_of
from mappings.fhir_definitions import Release
from mappings.fhir_elements import Resource, has_code, objects, text
from mappings.fhir_type_names import renamed_reference

if TYPE_CHECKING:
    from mappings.fhir_conversion import Conversion

Turned = tuple[Resource, Resource]
"""What is left of the resource, and what was made of the rest."""
Step = Callable[["Conversion", Resource], Turned]

_RELATED = {"has-member": "hasMember", "derived-from": "derivedFrom"}
_UID_SYSTEM = "urn:dicom:uid"
_ACCESSION = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}
_AVAILABLE = frozenset({"ONLINE", "OFFLINE", "NEARLINE"})
_AVAILABILITY = url_of(Release.STU3, "ImagingStudy.availability")
_DESCRIPTION = url_of(Release.STU3, "ReferralRequest.description")
_UNDONE = {"Immunization": "completed", "Procedure": "unknown", "Communication": "aborted"}
"""The STU3 status of what was not done, where none was sent."""


def not_done_in(_: Conversion, content: Resource) -> Turned:
    """notDone, notGiven and taken ``n`` turn the meaning round: R4 says so by the status."""
    type_name = str(content["resourceType"])
    flag, marks, status = _flag(type_name)
    if content.get(flag) is not marks and content.get(flag) != marks:
        implied = content.get(flag) is False  # what R4 says by any other status
        return ({k: v for k, v in content.items() if k != flag} if implied else content), {}
    rest = {k: v for k, v in content.items() if k not in (flag, "status", "_status")}
    sent = content.get("status")
    if not isinstance(sent, str):
        return rest, {"status": status}
    kept = {"url": url_of(Release.STU3, f"{type_name}.status"), "valueCode": sent}
    return rest, {"status": status, "_status": {"extension": [kept]}}


def not_done_out(_: Conversion, content: Resource) -> Turned:
    type_name = str(content["resourceType"])
    flag, marks, status = _flag(type_name)
    restored = url_of(Release.STU3, f"{type_name}.{flag}")
    if content.get("status") == status:
        beside = content.get("_status")
        kept = [
            e["valueCode"]
            for e in objects(beside.get("extension") if isinstance(beside, dict) else None)
            if e.get("url") == url_of(Release.STU3, f"{type_name}.status") and "valueCode" in e
        ]
        rest = {k: v for k, v in content.items() if k not in ("status", "_status")}
        return rest, {flag: marks, "status": kept[0] if kept else _UNDONE.get(type_name, "completed")}
    if (
        any(e.get("url") == restored for e in objects(content.get("extension")))
        or type_name == "Communication"
    ):
        return content, {}
    implied: dict[str, Resource] = {"Immunization": {flag: False}, "MedicationStatement": {flag: "unk"}}
    return content, implied.get(type_name, {})


def _flag(type_name: str) -> tuple[str, Any, str]:
    """(STU3 element, value that turns the meaning round, R4 status)."""
    if type_name == "MedicationStatement":
        return "taken", "n", "not-taken"
    return "notGiven" if type_name == "Immunization" else "notDone", True, "not-done"


def observation_in(conversion: Conversion, content: Resource) -> Turned:
    """related by its type; what R4 has no element for stays (an extension)."""
    made: Resource = {}
    left = []
    for related in _list(content.get("related")):
        name = _RELATED.get(text(related.get("type"))) if isinstance(related, dict) else None
        if name and set(related) == {"type", "target"} and isinstance(related["target"], dict):
            made.setdefault(name, []).append(conversion.data_type(related["target"], "Reference"))
        else:
            left.append(related)
    return _rest(content, "related", left), made


def observation_out(conversion: Conversion, content: Resource) -> Turned:
    related = [
        {"type": kind, "target": conversion.data_type(target, "Reference")}
        for kind, name in _RELATED.items()
        for target in objects(_list(content.get(name)))
    ]
    rest = {k: v for k, v in content.items() if k not in _RELATED.values()}
    return rest, {"related": related} if related else {}


def imaging_study_in(conversion: Conversion, content: Resource) -> Turned:
    """uid and accession are identifiers in R4; it has a status, which STU3 tells by where the images are kept."""
    made: Resource = {}
    rest = dict(content)
    identifiers = []
    if isinstance(uid := content.get("uid"), str) and "_uid" not in content:
        identifiers.append({"system": _UID_SYSTEM, "value": uid})
        del rest["uid"]
    if isinstance(accession := content.get("accession"), dict):
        found = conversion.data_type(accession, "Identifier") or {}
        kind = found["type"] if isinstance(found.get("type"), dict) else {}
        codings = [*objects(kind.get("coding")), _ACCESSION]
        identifiers.append(found | {"type": kind | {"coding": codings}})
        del rest["accession"]
    if identifiers:
        made["identifier"] = identifiers
    if text(content.get("availability")) in _AVAILABLE:
        made["status"] = "available"
    return rest, made


def imaging_study_out(conversion: Conversion, content: Resource) -> Turned:
    made: Resource = {}
    left = []
    for identifier in _list(content.get("identifier")):
        if not isinstance(identifier, dict):
            left.append(identifier)
        elif identifier.get("system") == _UID_SYSTEM and "uid" not in made:
            made["uid"] = identifier.get("value")
        elif has_code(identifier.get("type"), "ACSN") and "accession" not in made:
            made["accession"] = _plain_accession(conversion.data_type(identifier, "Identifier"))
        else:
            left.append(identifier)
    rest = _rest(content, "identifier", left)
    if any(e.get("url") == _AVAILABILITY for e in objects(content.get("extension"))):
        rest = {k: v for k, v in rest.items() if k != "status"}  # made of what STU3 says of the images
    return rest, {k: v for k, v in made.items() if v is not None}


def _plain_accession(identifier: Resource | None) -> Resource | None:
    """Without the type that says what the element itself says."""
    kind = (identifier or {}).get("type")
    if identifier is None or not isinstance(kind, dict):
        return identifier
    codings = [c for c in _list(kind.get("coding")) if c != _ACCESSION]
    rest = {k: v for k, v in kind.items() if k != "coding"} | ({"coding": codings} if codings else {})
    return {k: v for k, v in identifier.items() if k != "type"} | ({"type": rest} if rest else {})


def referral_in(_: Conversion, content: Resource) -> Turned:
    """What a ReferralRequest describes is read with its notes, and is marked as what it was."""
    description = content.get("description")
    if not isinstance(description, str):
        return content, {}
    note = {"extension": [{"url": _DESCRIPTION, "valueString": description}], "text": description}
    return {k: v for k, v in content.items() if k != "description"}, {"note": [note]}


def referral_out(_: Conversion, content: Resource) -> Turned:
    notes = _list(content.get("note"))
    mine = [n for n in notes if any(e.get("url") == _DESCRIPTION for e in _extensions(n))]
    left = [note for note in notes if note not in mine]
    return _rest(content, "note", left), {"description": mine[0]["text"]} if mine else {}


def bundle_out(conversion: Conversion, content: Resource) -> Turned:
    """Addresses of entries by the names that their resources have in STU3."""
    entries = []
    for entry in objects(_list(content.get("entry"))):
        resource = entry.get("resource")
        own = f"{resource.get('resourceType')}/{resource.get('id')}" if isinstance(resource, dict) else ""
        changed = _readdressed(conversion, entry, "fullUrl", own)
        for holder, name in (("request", "url"), ("response", "location")):
            if isinstance(entry.get(holder), dict):
                changed[holder] = _readdressed(conversion, entry[holder], name, own)
        entries.append(changed)
    return _rest(content, "entry", entries), {}


def _readdressed(conversion: Conversion, holder: Resource, name: str, own: str) -> Resource:
    is_told = isinstance(holder.get(name), str)
    return holder | ({name: _renamed(conversion, holder[name], own)} if is_told else {})


def _renamed(conversion: Conversion, address: str, own: str) -> str:
    """``own`` is the ``Type/id`` of the resource that an absolute address is of."""
    types = conversion.table.types
    base, found, rest = address.rpartition(own) if own else ("", "", address)
    return base + renamed_reference(types, found or rest, to_r4=False) + (rest if found else "")


def capability_statement_out(_: Conversion, content: Resource) -> Turned:
    """A type that has several names in STU3 is offered under each."""
    rest = [
        mode | {"resource": [r for one in objects(mode.get("resource")) for r in _by_name(one)]}
        for mode in objects(_list(content.get("rest")))
    ]
    return content | {"rest": rest}, {"acceptUnknown": "no"}


def _by_name(resource: Resource) -> list[Resource]:
    names = [theirs for theirs, r4 in to_r4(Release.STU3).types if r4 == resource.get("type")]
    return [resource | {"type": name} for name in names] or [resource]


def _extensions(note: Any) -> list[Resource]:
    return objects(note.get("extension")) if isinstance(note, dict) and "text" in note else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _rest(content: Resource, name: str, left: list[Any]) -> Resource:
    """The resource with what is left of an element, or without it."""
    rest = {k: v for k, v in content.items() if k != name}
    return rest | ({name: left} if left else {})


STEPS_IN: dict[str, Step] = {
    **dict.fromkeys(("Communication", "Immunization", "MedicationStatement", "Procedure"), not_done_in),
    "ImagingStudy": imaging_study_in,
    "Observation": observation_in,
    "ReferralRequest": referral_in,
}
STEPS_OUT: dict[str, Step] = {
    "Bundle": bundle_out,
    "CapabilityStatement": capability_statement_out,
    **dict.fromkeys(("Communication", "Immunization", "MedicationStatement", "Procedure"), not_done_out),
    "ImagingStudy": imaging_study_out,
    "Observation": observation_out,
    "ReferralRequest": referral_out,
}
"""By resource type in STU3."""

TOLD = {
    "Communication.notDone": "true: status not-done, and the status that was sent beside it",
    "ImagingStudy.accession": "identifier of type ACSN",
    "ImagingStudy.availability": "status available for ONLINE, OFFLINE and NEARLINE; kept as an extension too",
    "ImagingStudy.uid": "identifier of system urn:dicom:uid",
    "Immunization.notGiven": "true: status not-done, and the status that was sent beside it",
    "MedicationStatement.taken": "n: status not-taken, and the status that was sent beside it; else as an extension",
    "Observation.related": "hasMember for has-member, derivedFrom for derived-from; others as an extension",
    "Procedure.notDone": "true: status not-done, and the status that was sent beside it",
    "ReferralRequest.description": "a note that says in an extension what it is",
}
"""What the steps make of an element, in words."""
