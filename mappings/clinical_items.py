"""Clinical FHIR R4 resources to one line each of the case's record."""

from collections.abc import Callable
from typing import Any

from gateway.case.model import ClinicalItem, Coded, ItemKind, Source
from mappings.fhir_elements import Resource, coded, objects, reference, text, value_x

ITEM_KINDS = {
    "Condition": ItemKind.CONDITION,
    "MedicationStatement": ItemKind.MEDICATION,
    "MedicationRequest": ItemKind.MEDICATION,
    "AllergyIntolerance": ItemKind.ALLERGY,
    "Observation": ItemKind.RESULT,
    "DiagnosticReport": ItemKind.REPORT,
    "Procedure": ItemKind.PROCEDURE,
    "Immunization": ItemKind.IMMUNIZATION,
}
_DATES = (
    "onset", "effective", "performed", "occurrence", "recordedDate", "authoredOn", "dateAsserted", "issued"
)  # fmt: skip


_CONFIRMED = "confirmed"
_ERROR = "entered-in-error"


def is_entered_in_error(content: Resource) -> bool:
    """What its sender took back: status, DocumentReference.docStatus or verificationStatus entered-in-error."""
    told = (text(content.get("status")), text(content.get("docStatus")))
    return _ERROR in told or _ERROR in _codes(content.get("verificationStatus"))


def to_item(content: Resource, source: Source, medication: Callable[[str], Resource | None]) -> ClinicalItem:
    """One of ITEM_KINDS. ``medication`` finds the Medication that a reference names."""
    kind = ITEM_KINDS[text(content.get("resourceType"))]
    concept = _concept(content, medication)
    return ClinicalItem(
        kind, concept, _status(content), _value(content), _date(content), source, _absent(content)
    )


def _absent(content: Resource) -> Coded:
    """Observation.dataAbsentReason (0..1) of one that has neither a value nor components (FHIR R4 obs-6)."""
    told = value_x(content) or objects(content.get("component"))
    return Coded("") if told else coded(content.get("dataAbsentReason"))


def _status(content: Resource) -> str:
    """Condition and AllergyIntolerance: clinicalStatus, and verificationStatus unless confirmed; else status.

    MedicationRequest.doNotPerform turns the request round, and is therefore told first.
    """
    verification = content.get("verificationStatus")
    words = [
        "do not perform" if content.get("doNotPerform") is True else "",
        coded(content.get("clinicalStatus")).text or text(content.get("status")),
        "" if _CONFIRMED in _codes(verification) else coded(verification).text,
    ]
    return ", ".join(filter(None, words))


def _codes(value: Any) -> set[str]:
    """Codes of a CodeableConcept; of a bare text the text itself, in the form of a code."""
    concept = coded(value)
    words = {concept.text.casefold().replace(" ", "-")} if not concept.codings else set()
    return {code for _, code in concept.codings} | words


def _concept(content: Resource, medication: Callable[[str], Resource | None]) -> Coded:
    if content.get("vaccineCode"):
        return coded(content["vaccineCode"])
    if content.get("medicationCodeableConcept"):
        return coded(content["medicationCodeableConcept"])
    named = content.get("medicationReference")
    if isinstance(named, dict):
        contained = {f"#{r.get('id')}": r for r in objects(content.get("contained"))}
        found = contained.get(reference(named)) or medication(reference(named))
        return coded(found.get("code")) if found else Coded(text(named.get("display")))
    return coded(content.get("code"))


def _value(content: Resource) -> str:
    match content.get("resourceType"):
        case "Observation":
            return _observed(content)
        case "MedicationStatement":
            return "; ".join(_dosage(d) for d in objects(content.get("dosage")))
        case "MedicationRequest":
            return "; ".join(_dosage(d) for d in objects(content.get("dosageInstruction")))
        case "AllergyIntolerance":
            reactions = [
                coded(m).text
                for r in objects(content.get("reaction"))
                for m in objects(r.get("manifestation"))
            ]
            return ", ".join(filter(None, [*reactions, text(content.get("criticality"))]))
        case "Condition":
            return ", ".join(filter(None, [coded(b).text for b in objects(content.get("bodySite"))]))
        case _:
            return text(content.get("conclusion"))


def _observed(content: Resource) -> str:
    own = _value_or_absence(content)
    parts = [
        f"{coded(c.get('code')).text}: {_value_or_absence(c)}" for c in objects(content.get("component"))
    ]
    flags = [coded(i).text for i in objects(content.get("interpretation"))]
    found = "; ".join(filter(None, [own, *parts]))
    return f"{found} ({', '.join(flags)})" if any(flags) else found


def _value_or_absence(item: dict[str, Any]) -> str:
    return value_x(item) or coded(item.get("dataAbsentReason")).text


def _dosage(item: dict[str, Any]) -> str:
    if text(item.get("text")):
        return text(item.get("text"))
    doses = [value_x(d, "dose") for d in objects(item.get("doseAndRate"))]
    return " ".join(filter(None, [*doses, coded(item.get("route")).text]))


def _date(content: Resource) -> str:
    for stem in _DATES:
        found = text(content.get(stem)) or value_x(content, stem)
        if found:
            return found
    return ""
