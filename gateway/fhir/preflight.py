"""``$check`` and ``$validate``: the OperationOutcome of what is not kept."""

from collections.abc import Iterable
from typing import Any

from gateway.case.model import Finding, Severity
from gateway.errors import Issue
from gateway.fhir import outcome
from gateway.fhir.validate import findings
from gateway.workflow.check_bundle import Checked
from mappings.fhir_definitions import Release
from mappings.fhir_elements import objects
from mappings.fhir_profiles import profiles

_SEVERITIES = {Severity.BLOCKS: "warning", Severity.LIMITS: "warning", Severity.NOTE: "information"}
_CONSEQUENCES = {
    Severity.BLOCKS: "Needed before the review can begin. ",
    Severity.LIMITS: "",
    Severity.NOTE: "",
}
_NOT_CHECKED = Issue(
    "information",
    "informational",
    "Not checked: profiles other than IPS 2.0.0, the definitions of extensions, whether a code is one of its system.",
)
_MODES = frozenset({"create", "update", "profile"})

Json = dict[str, Any]


def of_check(checked: Checked) -> Json:
    """What a submission would be answered, then what the checks find (FHIR R4 2.26)."""
    accepted = checked.accepted
    told = [issue for entry in accepted.entries for issue in entry.issues]
    return outcome.of_issues([_summary(checked), *told, *map(_of_finding, checked.findings), _NOT_CHECKED])


def _summary(checked: Checked) -> Issue:
    accepted = checked.accepted
    refused = sum(entry.status == "refused" for entry in accepted.entries)
    taken = f"{len(accepted.entries) - refused} of {len(accepted.entries)} entries would be taken"
    if accepted.repeated:
        text = "Exactly this was received before; sent again it changes nothing."
    elif accepted.opened:
        text = f"{taken}, and a case would be opened."
    else:
        text = f"{taken}, for a case that there is already."
    return Issue("information", "informational", f"{text} Nothing was kept of this check.")


def _of_finding(finding: Finding) -> Issue:
    text = f"{finding.subject}: {_CONSEQUENCES[finding.severity]}{finding.text} {finding.remedy}".strip()
    return Issue(_SEVERITIES[finding.severity], "business-rule", text)


def of_validation(sent: Json, type_name: str, release: Release) -> Json:
    """Of a resource, or of Parameters that hold one (operation-resource-validate); ``type_name`` is the address's."""
    resource, wishes, profile = _unwrapped(sent, type_name)
    if resource is None:
        return outcome.of_issues([*wishes, _required("The parameter 'resource' is missing.")])
    found = [*wishes, *_of_type(resource, type_name), *findings(resource, release, profile)]
    if not any(issue.severity in ("error", "fatal") for issue in found):
        found.insert(
            0, Issue("information", "informational", f"No error was found by the rules of FHIR {release}.")
        )
    return outcome.of_issues([*found, _NOT_CHECKED])


def _required(text: str) -> Issue:
    return Issue("error", "required", text, "Parameters.parameter")


def _of_type(resource: Json, type_name: str) -> Iterable[Issue]:
    if resource.get("resourceType") != type_name:
        text = f"The type {type_name} was expected at this address, and another one was found."
        yield Issue("error", "invalid", text, str(resource.get("resourceType"))[:64])


def _unwrapped(sent: Json, type_name: str) -> tuple[Json | None, list[Issue], str]:
    """The resource, what is not looked at of the other parameters, and the profile to compare with."""
    if sent.get("resourceType") != "Parameters" or type_name == "Parameters":
        return sent, [], ""
    resource, wishes, profile = None, [], ""
    for parameter in objects(sent.get("parameter")):
        match parameter.get("name"):
            case "resource" if isinstance(parameter.get("resource"), dict):
                resource = parameter["resource"]
            case "mode" if parameter.get("valueCode") not in _MODES:
                text = "Only the modes create, update and profile are looked at."
                wishes.append(Issue("warning", "not-supported", text, "Parameters.parameter"))
            case "profile":
                profile = str(parameter.get("valueUri") or parameter.get("valueCanonical"))
    if profile and profile.split("|")[0] not in profiles():
        text = "The resource was not compared with the profile that was named: it is not known here."
        wishes.append(Issue("warning", "not-supported", text, "Parameters.parameter"))
    return resource, wishes, profile
