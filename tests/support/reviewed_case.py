"""A case in review with something of everything, and its opinion."""

from datetime import UTC, datetime

from gateway.case.model import (
    Case,
    CaseFinding,
    ClinicalItem,
    Coded,
    Contact,
    Content,
    Demographics,
    Document,
    Enquiry,
    Finding,
    FindingState,
    HeldStudy,
    Identifier,
    Instance,
    ItemKind,
    Name,
    Opinion,
    Person,
    Question,
    Record,
    Series,
    Severity,
    Source,
    Study,
)

OPENED_AT = datetime(2026, 4, 2, 8, 15, tzinfo=UTC)
SIGNED_AT = datetime(2026, 4, 9, 16, 42, 7, tzinfo=UTC)
OPINION_ID = "4f0c6f3e-7a51-4f0e-9d0b-5b1f0a3c2d11"
PROGRAMME = "Remote Second Opinion Programme"
MRN = Identifier("70012345", "https://hospital.example.org/mrn")


def source(reference: str) -> Source:
    return Source("receipt-1", "0" * 64, "Bundle.entry[0].resource", reference=reference)


PATIENT = Demographics(
    names=(
        Name("Layla Haddad", "Haddad", ("Layla",), "official"),
        Name("ليلى حداد", "حداد", ("ليلى",)),
        Name("莱拉·哈达德", script="ideographic"),
    ),
    birth_date="2019-05-03",
    sex="female",
    identifiers=(MRN, Identifier("LH-19", "Regional registry")),
    source=source("Patient/p1"),
)

PHYSICIAN = Person(
    "Dr Samir Khoury",
    "Paediatric oncologist",
    "Cedar Valley Hospital",
    (Contact("phone", "+961 1 555 0100"), Contact("email", "s.khoury@cedar.example.org")),
    source("PractitionerRole/r1"),
)


def instance(number: int, *, uid: str = "", conflict: bool = False) -> Instance:
    return Instance(
        uid or f"1.2.826.0.1.3680043.9.7.1.1.{number}",
        "1.2.840.10008.5.1.4.1.1.2",
        number,
        number * 5.0,
        1,
        f"{number:064x}",
        conflict,
    )


CT = Study(
    id="0b9f5b86-2f0c-4c6e-8a0d-3a7f0a2b1c01",
    study_instance_uid="1.2.826.0.1.3680043.9.7.1",
    accession=Identifier("A-778", "https://hospital.example.org/accession"),
    description="CT abdomen with contrast",
    started="20260318 142011.25",
    patient=PATIENT,
    other_patients=(),
    series=(
        Series(
            "1.2.826.0.1.3680043.9.7.1.1",
            2,
            "CT",
            "Portal venous 5 mm",
            "ABDOMEN",
            tuple(instance(n) for n in (1, 2, 3)),
        ),
        Series("1.2.826.0.1.3680043.9.7.1.2", None, "", "", "", (instance(9),)),
    ),
)
HELD = Study(
    id="0b9f5b86-2f0c-4c6e-8a0d-3a7f0a2b1c02",
    study_instance_uid="1.2.826.0.1.3680043.9.7.2",
    accession=None,
    description="OTHERCHILD HEAD",
    started="20260301",
    patient=Demographics(names=(Name("Somebody Else"),)),
    other_patients=(),
    series=(Series("1.2.826.0.1.3680043.9.7.2.1", 1, "MR", "T1", "HEAD", (instance(1),)),),
)


def finding(
    id: str, subject: str, text: str, severity: Severity = Severity.LIMITS, **more: object
) -> CaseFinding:
    state = FindingState(more.pop("state", FindingState.OPEN))
    found = Finding(f"key-{id}", "missing-document", severity, subject, text)
    return CaseFinding(id, found, state, OPENED_AT, **more)


OPEN_FINDING = finding("f1", "Pathology report", "The referral mentions a biopsy; its report was not sent.")
WAIVED_FINDING = finding(
    "f2",
    "Discharge letter (Arabic)",
    "No translation into English was sent.",
    Severity.BLOCKS,
    state=FindingState.WAIVED,
    closed_at=datetime(2026, 4, 7, 9, 0, tzinfo=UTC),
    waived_by="Ines Morel",
    waived_because="the specialist reads Arabic",
)
RESOLVED_FINDING = finding(
    "f3", "Growth chart", "It could not be opened.", state=FindingState.RESOLVED, closed_at=SIGNED_AT
)


def document(id: str, title: str, language: str, date: str, **more: object) -> Document:
    values = {
        "content_type": "application/pdf",
        "content": Content.PRESENT,
        "size_bytes": 1000,
        "problem": "",
    }
    return Document(
        id=id,
        title=title,
        concept=Coded("Discharge summary"),
        language=language,
        date=date,
        source=source(f"DocumentReference/{id}"),
        **(values | more),
    )


def item(
    kind: ItemKind, text: str, value: str = "", date: str = "2026-03-01", status: str = "active"
) -> ClinicalItem:
    return ClinicalItem(kind, Coded(text), status, value, date, source("Condition/c1"))


RECORD = Record(
    patient=PATIENT,
    guardians=(Person("Nadia Haddad", "mother", "", (Contact("phone", "+961 3 555 0199"),)),),
    physicians=(PHYSICIAN,),
    organisation="Cedar Valley Hospital, Beirut",
    questions=(
        Question(
            "Is the abdominal mass consistent with Wilms tumour?\n\nIs nephron-sparing surgery an option?",
            (Coded("Paediatric oncology"), Coded("Paediatric surgery")),
            (Coded("Abdominal mass, left flank"),),
            "urgent",
            source("ServiceRequest/s1"),
        ),
    ),
    items=(
        item(ItemKind.CONDITION, "Abdominal mass"),
        item(ItemKind.CONDITION, "Haematuria"),
        item(ItemKind.MEDICATION, "Paracetamol", "15 mg/kg every 6 h"),
        item(ItemKind.ALLERGY, "Penicillin", status="confirmed"),
        item(ItemKind.RESULT, "Haemoglobin", "98 g/L", "2026-03-17T08:10:00+02:00", "final"),
    ),
    documents=(
        document("d1", "Clinic letter", "en", "2026-03-20"),
        document("d2", "رسالة الخروج من المستشفى", "ar", "2026-03"),
        document("d3", "Growth chart", "", "", content=Content.EMPTY, problem="no bytes"),
        document("d4", "Clinic letter, first version", "en", "2026-03-19", superseded=True),
    ),
)

OPINION = Opinion(
    id=OPINION_ID,
    author_id="user-7",
    author_name="Prof. Ana Beltrán",
    findings_text=(
        "CT of 18 March 2026: a 7.2 x 6.1 x 5.8 cm mass arises from the lower pole of the left kidney, with a claw "
        "sign.\n\nNo tumour thrombus in the renal vein or inferior vena cava.\n  - right kidney: normal\n  - lungs: "
        "not imaged"
    ),
    conclusion=(
        "The imaging is most consistent with a unilateral Wilms tumour of the left kidney. Without the pathology "
        "report the histological risk group cannot be given."
    ),
    recommendations=(
        "1. Send the biopsy slides for central pathology review.\n2. CT of the chest before treatment starts.\n"
        "3. Discuss nephron-sparing surgery after neoadjuvant chemotherapy."
    ),
    drafted_at=SIGNED_AT,
)

ENQUIRY = Enquiry(
    "6f1c6f3e-0000-4f0e-9d0b-5b1f0a3c2d11",
    "Please send the pathology report.",
    ("f1",),
    "Ines Morel",
    OPENED_AT,
)


def reviewed_case(**changes: object) -> Case:
    values = {
        "id": "SO-7K2M9QXA",
        "partner_id": "cedar",
        "partner_name": "Cedar Valley Hospital",
        "status": "in-review",
        "opened_at": OPENED_AT,
        "updated_at": SIGNED_AT,
        "record": RECORD,
        "service_request": "ServiceRequest/s1",
        "studies": (CT,),
        "held_studies": (HeldStudy(HELD, ("name differs: Somebody Else",)),),
        "findings": (OPEN_FINDING, WAIVED_FINDING, RESOLVED_FINDING),
        "opinions": (OPINION,),
    }
    return Case(**(values | changes))
