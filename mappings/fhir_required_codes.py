"""Required value sets that fhir.resources holds in part: it cuts them where the standard's summary ends in '+'.

From the FHIR R4 (4.0.1) definitions (StructureDefinition.snapshot.element.binding and the expanded ValueSet).
All other lists of fhir.resources 8 for R4 resources were compared with the same definitions, and are whole.
"""

_OBSERVATION_STATUS = "registered preliminary final amended corrected cancelled entered-in-error unknown"
_ENCOUNTER_STATUS = (
    "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown"
)  # fmt: skip

REQUIRED_CODES: dict[tuple[str, str], frozenset[str]] = {
    element: frozenset(codes.split())
    for element, codes in {
        # 4.0.1 binds observation-status, and its later corrections detectedissue-status: both are taken.
        ("DetectedIssue", "status"): f"{_OBSERVATION_STATUS} mitigated",
        ("DeviceUdiCarrier", "entryType"): "barcode rfid manual card self-reported unknown",
        ("DeviceUseStatement", "status"): "active completed entered-in-error intended stopped on-hold",
        ("DiagnosticReport", "status"): (
            "registered partial preliminary final amended corrected appended cancelled entered-in-error unknown"
        ),
        ("Encounter", "status"): _ENCOUNTER_STATUS,
        ("EncounterStatusHistory", "status"): _ENCOUNTER_STATUS,
        ("Observation", "status"): _OBSERVATION_STATUS,
        ("QuestionnaireItem", "type"): (
            "group display boolean decimal integer date dateTime time string text url choice open-choice "
            "attachment reference quantity"
        ),
        ("RiskAssessment", "status"): _OBSERVATION_STATUS,
        ("StructureMapGroupRuleTarget", "transform"): (
            "create copy truncate escape cast append translate reference dateOp uuid pointer evaluate "
            "cc c qty id cp"
        ),
        ("SupplyRequest", "status"): ("draft active suspended cancelled completed entered-in-error unknown"),
        ("Task", "status"): (
            "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed "
            "entered-in-error"
        ),
    }.items()
}
"""By model of fhir.resources and element."""

OPEN_CODES = frozenset({("CapabilityStatement", "format"), ("Expression", "language")})
"""Elements with a list in fhir.resources whose codes R4 does not limit: every MIME type, an extensible binding."""

_EVENT = "preparation in-progress suspended aborted completed entered-in-error unknown"
_INTENT = "proposal plan order original-order reflex-order filler-order instance-order option"
STU3_CODES: dict[tuple[str, str], frozenset[str]] = {
    element: frozenset(codes.split())
    for element, codes in {
        ("Communication", "status"): _EVENT,
        ("ProcedureRequest", "status"): "draft active suspended cancelled completed entered-in-error unknown",
        ("ReferralRequest", "intent"): _INTENT,
        ("Task", "priority"): "normal routine urgent asap stat",
    }.items()
}
"""Those that the STU3 models have otherwise than the value sets that STU3 binds (event-status, request-intent,
request-priority, request-status); its summary of Task.priority says normal for routine, and both are taken."""
