"""What the programme itself decides on before a specialist is asked."""

from collections.abc import Iterator

from gateway.case.model import Case, Finding, Severity


def child_deceased(case: Case) -> Iterator[Finding]:
    """The records say that the child has died.

    How: Patient.deceasedBoolean is true, or there is a Patient.deceasedDateTime.
    Limits: a death that only a letter or a coded condition tells of is not noticed.
    """
    patient = case.record.patient
    if patient is None or not patient.deceased:
        return
    date = () if patient.deceased == "yes" else (("date of death", patient.deceased),)
    yield Finding(
        "child-deceased",
        "child-deceased",
        Severity.BLOCKS,
        "The child has died",
        "The records say that the child has died.",
        date,
        "Please confirm that this is so, and whether the opinion is still wanted.",
    )
