"""``$check`` and ``$validate``: the OperationOutcome of what is not kept."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gateway.case.model import Finding, Severity
from gateway.errors import Issue
from gateway.fhir import outcome
from gateway.fhir.validate import compared, findings
from gateway.workflow.check_bundle import Checked
from mappings.fhir_definitions import Release
from mappings.fhir_elements import objects, text
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
    "Not checked: profiles other than those of IPS 2.0.0 and of this gateway, the definitions of extensions, whether a "
    "code is one of its system.",
)
_MODES = frozenset({"create", "update", "profile"})
_NOTHING: Mapping[str, str] = MappingProxyType({})

Json = dict[str, Any]


def of_check(checked: Checked, content: Json, release: Release, profile: str = "") -> Json:
    """What a submission would be answered, what the checks find, and how it compares with profiles (FHIR R4 2.26).

    What a profile asks for and is not there is a warning: it would refuse nothing.
    """
    accepted = checked.accepted
    told = [issue for entry in accepted.entries for issue in entry.issues]
    told += [*map(_of_finding, checked.findings), *_unknown(profile)]
    told += [
        replace(issue, severity="warning") if issue.severity == "error" else issue
        for issue in compared(content, release, profile)
    ]
    return outcome.of_issues([_summary(checked), *told, _NOT_CHECKED])


def content_of(sent: Json, profile: str = "") -> tuple[Json, str]:
    """What ``$check`` is asked about, and the profile to compare with: the body, or Parameters that hold both."""
    if sent.get("resourceType") != "Parameters":
        return sent, profile
    given = {text(one.get("name")): one for one in objects(sent.get("parameter"))}
    content = given.get("content", {}).get("resource")
    return content if isinstance(content, dict) else {}, _uri(given.get("profile", {})) or profile


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


def of_validation(sent: Json, type_name: str, release: Release, asked: Mapping[str, str] = _NOTHING) -> Json:
    """Of a resource, or of Parameters that hold one (operation-resource-validate).

    ``type_name`` and ``asked`` (profile, mode) are the address's.
    """
    parameters = [{"name": name, "valueCode": value, "valueUri": value} for name, value in asked.items()]
    resource, wishes, profile = _unwrapped(sent, type_name, parameters)
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


def _unwrapped(sent: Json, type_name: str, asked: list[Json]) -> tuple[Json | None, list[Issue], str]:
    """The resource, what is not looked at of the other parameters, and the profile to compare with."""
    is_wrapped = sent.get("resourceType") == "Parameters" and type_name != "Parameters"
    resource, wishes, profile = None if is_wrapped else sent, [], ""
    for parameter in [*asked, *(objects(sent.get("parameter")) if is_wrapped else ())]:
        match parameter.get("name"):
            case "resource" if isinstance(parameter.get("resource"), dict):
                resource = parameter["resource"]
            case "mode" if parameter.get("valueCode") not in _MODES:
                words = "Only the modes create, update and profile are looked at."
                wishes.append(Issue("warning", "not-supported", words, "Parameters.parameter"))
            case "profile":
                profile = _uri(parameter)
    return resource, [*wishes, *_unknown(profile)], profile


def _uri(parameter: Json) -> str:
    return text(parameter.get("valueUri")) or text(parameter.get("valueCanonical"))


def _unknown(profile: str) -> Iterator[Issue]:
    if profile and profile.split("|")[0] not in profiles():
        words = "The resource was not compared with the profile that was named: it is not known here."
        yield Issue("warning", "not-supported", words, "Parameters.parameter")
