"""What no row of fhir_r5.yaml can say: elements of R5 that take several of R4's, by what they say.

A step takes what it turns out of the resource, and gives what it made of it in the other release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from mappings.fhir_cross_version import url_of
from mappings.fhir_definitions import Release, elements_of, resource_model
from mappings.fhir_elements import Resource, coded, objects
from mappings.fhir_places import append_to

if TYPE_CHECKING:
    from mappings.fhir_conversion import Conversion

Turned = tuple[Resource, Resource]
"""What is left of the resource, and what was made of the rest."""
Step = Callable[["Conversion", Resource], Turned]

_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_PARTICIPANTS = {"author": "recorder", "informant": "asserter"}
_ADHERENCE = {
    "taking": "active",
    "taking-as-directed": "active",
    "taking-not-as-directed": "active",
    "not-taking": "not-taken",
    "not-taking-not-as-directed": "not-taken",
    "not-taking-as-directed": "not-taken",
    "on-hold": "on-hold",
    "on-hold-as-directed": "on-hold",
    "on-hold-not-as-directed": "on-hold",
    "stopped": "stopped",
    "stopped-as-directed": "stopped",
    "stopped-not-as-directed": "stopped",
}
"""CodeSystem medication-statement-adherence to R4 medication-statement-status."""


def participants_in(conversion: Conversion, content: Resource) -> Turned:
    """participant to recorder (its author) and asserter (its informant), where it says nothing more."""
    made: Resource = {}
    left = []
    for participant in _list(content.get("participant")):
        name = _participation(participant)
        actor = conversion.data_type(participant["actor"], "Reference") if name else None
        if actor is None or name in made:
            left.append(participant)
        else:
            made[name] = actor
    return _rest(content, "participant", left), made


def _participation(participant: Any) -> str:
    if not isinstance(participant, dict) or set(participant) != {"function", "actor"}:
        return ""
    function, actor = participant["function"], participant["actor"]
    for code, name in _PARTICIPANTS.items():
        if function == {"coding": [{"system": _PARTICIPATION, "code": code}]} and isinstance(actor, dict):
            return name
    return ""


def participants_out(conversion: Conversion, content: Resource) -> Turned:
    made = []
    for code, name in _PARTICIPANTS.items():
        if isinstance(content.get(name), dict):
            function = {"coding": [{"system": _PARTICIPATION, "code": code}]}
            made.append({"function": function, "actor": conversion.data_type(content[name], "Reference")})
    rest = {k: v for k, v in content.items() if k not in _PARTICIPANTS.values() or not isinstance(v, dict)}
    return rest, {"participant": made} if made else {}


def condition_in(conversion: Conversion, content: Resource) -> Turned:
    """Condition.participant; each evidence (CodeableReference) is one with a code or a detail."""
    rest, made = participants_in(conversion, content)
    told = _list(rest.get("evidence"))
    if told and all(isinstance(e, dict) and e and set(e) <= {"concept", "reference"} for e in told):
        made["evidence"] = [_evidence(conversion, e) for e in told]
        rest = _rest(rest, "evidence", [])
    return rest, made


def _evidence(conversion: Conversion, told: Resource) -> Resource:
    pairs = (("code", "concept", "CodeableConcept"), ("detail", "reference", "Reference"))
    return {
        name: [conversion.data_type(told[member], kind)]
        for name, member, kind in pairs
        if isinstance(told.get(member), dict)
    }


def condition_out(conversion: Conversion, content: Resource) -> Turned:
    rest, made = participants_out(conversion, content)
    told = _list(rest.get("evidence"))
    if told and all(isinstance(e, dict) and e and set(e) <= {"code", "detail"} for e in told):
        made["evidence"] = [one for e in told for one in _codeable_references(conversion, e)]
        rest = _rest(rest, "evidence", [])
    return rest, made


def _codeable_references(conversion: Conversion, evidence: Resource) -> list[Resource]:
    codes = [{"concept": conversion.data_type(c, "CodeableConcept")} for c in objects(evidence.get("code"))]
    details = [{"reference": conversion.data_type(r, "Reference")} for r in objects(evidence.get("detail"))]
    if len(codes) == len(details) == 1:
        return [codes[0] | details[0]]
    return [*codes, *details]


def contact_in(conversion: Conversion, content: Resource) -> Turned:
    """contact.telecom to telecom: what else a contact says (of whom, where, when) goes with its first telecom.

    Of an Organization, only a contact that says no more is the organisation's own.
    """
    telecom: list[Resource] = []
    left = []
    for contact in _list(content.get("contact")):
        found = [conversion.data_type(t, "ContactPoint") for t in _telecom(contact)]
        points = [point for point in found if point is not None]
        more = {k: v for k, v in contact.items() if k != "telecom"} if isinstance(contact, dict) else {}
        if not points or (more and content["resourceType"] == "Organization"):
            left.append(contact)
            continue
        if more:
            append_to(points[0], "extension", _rest_of_contact(conversion, content, more))
        telecom += points
    return _rest(content, "contact", left), {"telecom": telecom} if telecom else {}


def _rest_of_contact(conversion: Conversion, content: Resource, more: Resource) -> Resource | None:
    type_name = str(content["resourceType"])
    model = resource_model(type_name, Release.R5)
    url = url_of(Release.R5, f"{type_name}.contact")
    return conversion.extension(url, elements_of(model)["contact"], more, None) if model else None


def _telecom(contact: Any) -> Iterable[Resource]:
    return objects(contact.get("telecom")) if isinstance(contact, dict) else ()


def contact_out(conversion: Conversion, content: Resource) -> Turned:
    """telecom to contact: one for each telecom that carries the rest of a contact, and for those after it."""
    model = resource_model(str(content["resourceType"]), Release.R5)
    points = content.get("telecom")
    if model is None or not isinstance(points, list) or not all(isinstance(p, dict) for p in points):
        return content, {}
    url = url_of(Release.R5, f"{content['resourceType']}.contact")
    contacts: list[Resource] = []
    for point in points:
        carried = [e for e in objects(point.get("extension")) if e.get("url") == url]
        plain = {k: v for k, v in point.items() if k != "extension"}
        kept = [e for e in _list(point.get("extension")) if e not in carried]
        if carried or not contacts:
            held = conversion.held(carried[0], elements_of(model)["contact"])[0] if carried else None
            contacts.append({**(held or {}), "telecom": []})
        plain |= {"extension": kept} if kept else {}
        contacts[-1]["telecom"].append(conversion.data_type(plain, "ContactPoint"))
    return _rest(content, "telecom", []), {"contact": contacts} if contacts else {}


def medication_statement_in(_: Conversion, content: Resource) -> Turned:
    """R5 tells by adherence whether it is taken, R4 by the status; the R5 status stands beside it."""
    adherence = content.get("adherence")
    codes = [c for _, c in coded(adherence.get("code")).codings] if isinstance(adherence, dict) else []
    status = next((_ADHERENCE[code] for code in codes if code in _ADHERENCE), "")
    sent = content.get("status")
    if not status or sent != "recorded":
        return content, {}
    kept = {"url": url_of(Release.R5, "MedicationStatement.status"), "valueCode": sent}
    return _rest(content, "status", []), {"status": status, "_status": {"extension": [kept]}}


def bundle_out(conversion: Conversion, content: Resource) -> Turned:
    """What a searchset says of itself is an entry of mode outcome in R4 and Bundle.issues in R5."""
    told: list[Any] = []
    left: list[Any] = []
    for entry in _list(content.get("entry")):
        search = entry.get("search") if isinstance(entry, dict) else None
        is_outcome = isinstance(search, dict) and search.get("mode") == "outcome"
        (told if is_outcome else left).append(entry)
    if len(told) != 1 or not isinstance(told[0].get("resource"), dict):
        return content, {}
    return _rest(content, "entry", left), {"issues": conversion.inner(told[0]["resource"], "Bundle.issues")}


def bundle_in(_: Conversion, content: Resource) -> Turned:
    if not isinstance(content.get("issues"), dict):
        return content, {}
    outcome = {"resource": content["issues"], "search": {"mode": "outcome"}}
    rest = {k: v for k, v in content.items() if k not in ("issues", "entry")}
    return rest | {"entry": [*_list(content.get("entry")), outcome]}, {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _rest(content: Resource, name: str, left: list[Any]) -> Resource:
    """The resource with what is left of an element, or without it."""
    rest = {k: v for k, v in content.items() if k != name}
    return rest | ({name: left} if left else {})


STEPS_IN: dict[str, Step] = {
    "AllergyIntolerance": participants_in,
    "Bundle": bundle_in,
    "Condition": condition_in,
    "Location": contact_in,
    "MedicationStatement": medication_statement_in,
    "Organization": contact_in,
    "PractitionerRole": contact_in,
}
STEPS_OUT: dict[str, Step] = {
    "AllergyIntolerance": participants_out,
    "Bundle": bundle_out,
    "Condition": condition_out,
    "Location": contact_out,
    "Organization": contact_out,
    "PractitionerRole": contact_out,
}
"""By resource type."""

_PARTICIPANT = "recorder for the author and asserter for the informant; others as an extension"
_CONTACT = "its telecom as telecom, what else it says in an extension there; without telecom as an extension"
TOLD = {
    "AllergyIntolerance.participant": _PARTICIPANT,
    "Condition.evidence": "evidence.code for the concept, evidence.detail for the reference",
    "Condition.participant": _PARTICIPANT,
    "Location.contact": _CONTACT,
    "MedicationStatement.status": "by what adherence.code says, else unknown; the code that was sent beside it",
    "Organization.contact": "one that is only telecom as telecom; else contact",
    "PractitionerRole.contact": _CONTACT,
}
"""What the steps make of an element, in words."""
