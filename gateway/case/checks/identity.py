"""Could this show one child's data under another's name? Whatever differs blocks review until a person decides."""

from collections.abc import Callable, Iterator

from gateway.case.model import Case, Demographics, Finding, Severity, Study
from gateway.case.patient_match import contradictions


def identity_differs(case: Case) -> Iterator[Finding]:
    """Name, birth date, sex or patient number of a joined study differ from the referral's.

    How: every identity inside the study is compared. Names agree when any two forms have the same words in any order,
    without case and accents, one leaving out some, or sound alike in two scripts; a slip of a letter differs. Dates
    contradict as far as both are given; sex where both say male or female; patient numbers where
    one issuer gave both of them, and different ones.
    Limits: names in scripts that do not tell how they sound are not compared, nor is one name alone or a placeholder.
    """
    known = case.record.patient
    if known is None:
        return
    for study in case.studies:
        for patient in (study.patient, *study.other_patients):
            if differing := contradictions(known, patient):
                yield _differs(study, list(differing), known, patient)


def identity_absent(case: Case) -> Iterator[Finding]:
    """Images of a joined study tell nothing of whose they are.

    How: no name, no birth date and no patient number in the header of at least one image.
    Limits: how many images it is, is not counted.
    """
    for study in case.studies:
        if any(
            not (p.names or p.birth_date or p.identifiers) for p in (study.patient, *study.other_patients)
        ):
            yield Finding(
                f"identity-absent:{study.study_instance_uid}",
                "identity-absent",
                Severity.LIMITS,
                study.title,
                "Images of this study do not tell whose they are.",
                (("Study Instance UID", study.study_instance_uid),),
                "Please confirm that all images of the study are this child's.",
            )


def study_held(case: Case) -> Iterator[Finding]:
    """A study that may be this child's was not joined: a person must compare and decide.

    How: a study joins by itself only when an identifier of the same issuer, or the referral naming it, agrees and the
    name or the birth date too, and nothing differs. It blocks where something differs, else limits.
    Limits: a study with nothing in common waits in no case; intake has a list of those.
    """
    for held in case.held_studies:
        known = case.record.patient or Demographics()
        seen = (held.study.patient, *held.study.other_patients)
        differing = list(
            dict.fromkeys(element for patient in seen for element in contradictions(known, patient))
        )
        words = f"differs in {', '.join(differing)}" if differing else "cannot be told to be the same child"
        yield Finding(
            f"study-held:{held.study.study_instance_uid}",
            "study-held",
            Severity.BLOCKS if differing else Severity.LIMITS,
            held.study.title,
            f"This imaging study is not in the case, because its patient {words}.",
            tuple((f"reason {i}", reason) for i, reason in enumerate(held.reasons, 1)),
            "Please confirm whose study it is, or send the corrected study.",
        )


def mixed_patients(case: Case) -> Iterator[Finding]:
    """More than one child in the bundles of a case, or in one study.

    How: entries about another patient, or about none in a bundle about several; versions of the Patient that tell
    another name, birth date, sex or number; images of one study that differ so from one another, where the referral
    does not tell which is right (else see identity-differs).
    Limits: a letter inside a document that is about another child is not noticed.
    """
    others = [p.source for p in case.record.other_patients if p.source]
    places = [*others, *case.record.excluded]
    if places:
        yield Finding(
            "mixed-patients:record",
            "mixed-patients",
            Severity.BLOCKS,
            "More than one patient in the records",
            f"{len(places)} entries of the records are about another patient, or describe this one differently. "
            "They are not shown here.",
            tuple((f"entry {i}", source.path or "") for i, source in enumerate(places[:20], 1)),
            "Please confirm which child the request is about.",
        )
    for study in case.studies:
        known = case.record.patient
        if known is not None and any(
            contradictions(known, p) for p in (study.patient, *study.other_patients)
        ):
            continue  # told already, by identity_differs
        if any(contradictions(study.patient, other) for other in study.other_patients):
            yield Finding(
                f"mixed-patients:{study.study_instance_uid}",
                "mixed-patients",
                Severity.BLOCKS,
                study.title,
                "Images of this one study name different patients.",
                (("Study Instance UID", study.study_instance_uid),),
                "Please check the study at its source.",
            )


def instance_conflict(case: Case) -> Iterator[Finding]:
    """The same SOP Instance UID came with different bytes; both are kept, the first is shown.

    How: the SHA-256 of the data set, without the file's preamble and group 0002, and the transfer syntax are compared.
    Limits: the same image compressed anew on its way differs in its bytes and is told.
    """
    for study in case.studies:
        count = sum(i.conflict for series in study.series for i in series.instances)
        if count:
            yield Finding(
                f"instance-conflict:{study.study_instance_uid}",
                "instance-conflict",
                Severity.BLOCKS,
                study.title,
                f"{count} images arrived twice under the same identity and with different content. "
                "The first ones are shown.",
                (("Study Instance UID", study.study_instance_uid), ("images", str(count))),
                "Please confirm which are right.",
            )


def _differs(study: Study, differing: list[str], known: Demographics, seen: Demographics) -> Finding:
    told: dict[str, Callable[[Demographics], str]] = {
        "name": _names,
        "birth date": lambda patient: patient.birth_date,
        "sex": lambda patient: patient.sex,
        "identifier": _numbers,
    }
    evidence = [
        (f"{element} in {place}", told[element](patient))
        for element in differing
        for place, patient in (("the referral", known), ("the images", seen))
    ]
    verb = "differ" if len(differing) > 1 else "differs"
    return Finding(
        f"identity-differs:{study.study_instance_uid}:{evidence}",
        "identity-differs",
        Severity.BLOCKS,
        study.title,
        f"The {' and '.join(differing)} in the images {verb} from the referral's.",
        (*evidence, ("Study Instance UID", study.study_instance_uid)),
        "Please confirm that it is the same child.",
    )


def _names(patient: Demographics) -> str:
    return " / ".join(name.text for name in patient.names)


def _numbers(patient: Demographics) -> str:
    return ", ".join(f"{i.value} (issued by {i.issuer})" for i in patient.identifiers)
