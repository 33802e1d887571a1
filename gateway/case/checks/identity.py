"""Could this show one child's data under another's name? Whatever differs blocks review until a person decides."""

from collections.abc import Iterator

from gateway.case.model import Case, Demographics, Finding, Severity, Study
from gateway.case.patient_match import contradictions, same_name


def identity_differs(case: Case) -> Iterator[Finding]:
    """Birth date, sex or name of a joined study differ from the referral's.

    How: every identity inside the study is compared. Names agree when any two forms have the same words in any order,
    without case and accents, one leaving out some; dates contradict as far as both are given; sex where both say male
    or female.
    Limits: patient numbers are not compared here. Names in scripts that have nothing in common are not compared.
    """
    known = case.record.patient
    if known is None:
        return
    for study in case.studies:
        for patient in (study.patient, *study.other_patients):
            for element in contradictions(known, patient):
                yield _differs(study, element, known, patient)


def study_held(case: Case) -> Iterator[Finding]:
    """A study that may be this child's was not joined: a person must compare and decide.

    How: a study joins by itself only when an identifier of the same issuer, or the referral naming it, agrees and the
    name or the birth date too, and nothing differs. It blocks where something differs, else limits.
    Limits: a study with nothing in common waits in no case; intake has a list of those.
    """
    for held in case.held_studies:
        differing = contradictions(case.record.patient or Demographics(), held.study.patient)
        words = f"differs in {', '.join(differing)}" if differing else "cannot be told to be the same child"
        yield Finding(
            f"study-held:{held.study.study_instance_uid}",
            "study-held",
            Severity.BLOCKS if differing else Severity.LIMITS,
            _words(held.study),
            f"This imaging study was not added, because its patient {words}.",
            tuple((f"reason {i}", reason) for i, reason in enumerate(held.reasons, 1)),
            "Please confirm whose study it is, or send the corrected study.",
        )


def mixed_patients(case: Case) -> Iterator[Finding]:
    """More than one child in the bundles of a case, or in one study.

    How: entries about another patient, and versions of the Patient that tell another name, birth date or sex; images of
    one study whose headers do so.
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
        if any(_is_other_child(study.patient, other) for other in study.other_patients):
            yield Finding(
                f"mixed-patients:{study.study_instance_uid}",
                "mixed-patients",
                Severity.BLOCKS,
                _words(study),
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
                _words(study),
                f"{count} images arrived twice under the same identity and with different content. "
                "The first ones are shown.",
                (("Study Instance UID", study.study_instance_uid), ("images", str(count))),
                "Please confirm which are right.",
            )


def _is_other_child(known: Demographics, seen: Demographics) -> bool:
    return bool(contradictions(known, seen)) or same_name(known.names, seen.names) is False


def _differs(study: Study, element: str, known: Demographics, seen: Demographics) -> Finding:
    values = {
        "name": (_names(known), _names(seen)),
        "birth date": (known.birth_date, seen.birth_date),
        "sex": (known.sex, seen.sex),
    }[element]
    return Finding(
        f"identity-differs:{study.study_instance_uid}:{element}:{values[1]}",
        "identity-differs",
        Severity.BLOCKS,
        f"{_words(study)}: {element}",
        f"The {element} in the images differs from the referral's.",
        (
            ("in the referral", values[0]),
            ("in the images", values[1]),
            ("Study Instance UID", study.study_instance_uid),
        ),
        "Please confirm that it is the same child.",
    )


def _names(patient: Demographics) -> str:
    return " / ".join(name.text for name in patient.names)


def _words(study: Study) -> str:
    return (
        study.description
        or f"{'/'.join(study.modalities) or 'Imaging'} study of {study.started or 'unknown date'}"
    )
