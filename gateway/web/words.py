"""The words on the pages for what the rules and the store call by codes."""

from gateway.case.access import Role
from gateway.case.checklist import ItemState, Need
from gateway.case.fetching import PROBLEM_WORDS, FetchState
from gateway.case.model import Content, DeliveryState, ItemKind, Severity, Told
from gateway.case.status import Action, CaseStatus

STATUS = {
    CaseStatus.RECEIVED: "Received",
    CaseStatus.AWAITING_INFORMATION: "Awaiting information",
    CaseStatus.ACCEPTED: "Accepted",
    CaseStatus.ASSIGNED: "Assigned",
    CaseStatus.IN_REVIEW: "In review",
    CaseStatus.SIGNED: "Signed",
    CaseStatus.DELIVERED: "Delivered",
    CaseStatus.CLOSED: "Closed",
    CaseStatus.DECLINED: "Declined",
}
"""In the order of a case's life."""

ACTION = {
    Action.ACCEPT: "Accept for review",
    Action.DRAFT: "Write the opinion",
    Action.SIGN: "Check and sign",
    Action.CLOSE: "Close the case",
    Action.ASSIGN: "Assign to a specialist",
    Action.ASK: "Ask the hospital",
    Action.DECLINE: "Decline the case",
}
"""What people do, the next step first; answering and delivering are the gateway's own acts."""

SEVERITY = {
    Severity.BLOCKS: "Blocks review",
    Severity.LIMITS: "Limits the opinion",
    Severity.NOTE: "Worth knowing",
}
ITEM_STATE = {
    ItemState.PRESENT: ("Present", "good"),
    ItemState.KNOWN_ABSENT: ("Known absent", "good"),
    ItemState.ASKED: ("Asked for", "warn"),
    ItemState.MISSING: ("Missing", "blocks"),
}
"""In words, and the colour of the badge."""
NEED = {Need.REQUIRED: "", Need.HELPFUL: "helpful"}
FOUND_LATE = "Found after the opinion was signed"
DECLARED = "Declared in the signed report"
ROLE = {Role.INTAKE: "Intake", Role.SPECIALIST: "Specialist"}
ITEM_KIND = {
    ItemKind.CONDITION: "Conditions",
    ItemKind.MEDICATION: "Medications",
    ItemKind.ALLERGY: "Allergies",
    ItemKind.RESULT: "Results",
    ItemKind.REPORT: "Reports",
    ItemKind.PROCEDURE: "Procedures",
    ItemKind.IMMUNIZATION: "Immunisations",
}
CONTENT = {
    Content.PRESENT: "Can be opened",
    Content.EMPTY: "Empty",
    Content.ELSEWHERE: "Not sent",
    Content.UNDECODABLE: "Damaged",
}
ABSENT = {
    Told.NONE_KNOWN: "Said to be absent",
    Told.UNKNOWN: "Said to be unknown",
    Told.NOTHING: "Sections that say nothing",
}
RELATION = {
    "replaces": "Replaces:",
    "transforms": "Translation or other form of:",
    "appends": "Addition to:",
    "signs": "Signature of:",
}
DELIVERY = {
    DeliveryState.AVAILABLE: "Ready to be fetched",
    DeliveryState.PENDING: "On its way",
    DeliveryState.DELIVERED: "Delivered",
    DeliveryState.FAILED: "Failed",
}
FETCH = {
    FetchState.PENDING: "Being fetched",
    FetchState.COMPLETE: "Fetched",
    FetchState.FAILED: "Could not be fetched",
}
FETCH_WAITS = "Fetched later"
PROBLEM = PROBLEM_WORDS
STUDY_STATE = {
    "held": "Needs a decision",
    "waiting": "Waits for its case",
    "joined": "In a case",
    "refused": "Taken out",
}
CHANNEL = {
    "fhir": "FHIR",
    "stow-rs": "STOW-RS",
    "c-store": "C-STORE",
    "wado-rs": "Fetched (WADO-RS)",
    "c-get": "Fetched (C-GET)",
    "page": "page",
    "api": "API",
    "fhir-read": "Fetched by the hospital (FHIR)",
    "fhir-push": "Sent to the hospital (FHIR)",
}
CONTACT = {
    "phone": "Telephone",
    "email": "E-mail",
    "fax": "Fax",
    "sms": "SMS",
    "pager": "Pager",
    "url": "Web",
    "other": "Contact",
}
SCRIPT = {"alphabetic": "", "ideographic": "ideographic", "phonetic": "phonetic"}

CAUSE = {
    "Unattributed": "Sent by itself, and it names no child and no case.",
    "InvalidContent": "The content breaks a rule of its format.",
    "NotFhir": "Not a FHIR resource, or of an unknown type.",
    "UnsupportedVersion": "A FHIR release that is not spoken here.",
    "NotDicom": "Not a DICOM file, cut short, or without its identifiers.",
    "StudyMismatch": "An image of another study than the one addressed.",
    "InstanceMismatch": "An image other than the one announced.",
    "UnsupportedMediaType": "A media type that is not read here.",
    "Unexpected": "The gateway itself failed on it; please have its log looked at.",
}
"""Why a receipt was refused, by the name of the error. A body that breaks off or is too large leaves no receipt."""

DONE = {
    "accept": "The case is accepted for review.",
    "ask": "The hospital is asked.",
    "assign": "The case is assigned.",
    "decline": "The case is declined.",
    "waive": "The finding is waived. The report will still declare it.",
    "draft": "The draft is saved.",
    "sign": "The opinion is signed and on its way back.",
    "close": "The case is closed.",
    "join-study": "The study belongs to the case now.",
    "part-study": "The study is taken out of the case.",
    "retry": "The report is on its way again.",
    "fetch": "The study is being fetched.",
}

DID = {
    "accept": "accepted the case for review",
    "ask": "asked the hospital",
    "answer": "found the question answered",
    "assign": "assigned the case",
    "decline": "declined the case",
    "close": "closed the case",
    "draft": "saved a draft of the opinion",
    "sign": "signed the opinion",
    "deliver": "delivered the report",
    "deliver-delayed": "could not deliver the report yet",
    "deliver-failed": "gave up delivering the report",
    "retry": "had the delivery tried again",
    "waive": "waived a finding",
    "join-study": "put a study into the case",
    "part-study": "took a study out of the case",
    "read": "looked at the case",
    "bundle-received": "sent records",
    "bundle-same": "sent the same records again",
    "study-joined": "found that a study belongs here",
    "study-held": "found a study that may belong here",
    "study-waiting": "took a study out of the case",
    "fetch-begun": "began to fetch a study",
    "fetch-delayed": "could not fetch all of a study yet",
    "fetch-failed": "gave up fetching a study",
    "fetch-complete": "has all of a study that was to be fetched",
    "fetch": "had a study fetched again",
    "finding-opened": "noticed",
    "finding-closed": "found resolved",
    "enquiry-answered": "found a question answered",
    "notify": "notified the hospital, which has subscribed",
    "notify-delayed": "could not notify the hospital yet",
    "notify-failed": "gave up notifying the hospital",
}
"""Acts on the audit trail, as they follow a name."""
