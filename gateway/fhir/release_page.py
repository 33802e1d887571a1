"""conformance/fhir/releases.md: what becomes of each element of another release, made from what the converter uses."""

from collections.abc import Iterator

from mappings.fhir_conversion_fates import KEPT, fates
from mappings.fhir_conversion_table import USED
from mappings.fhir_definitions import NOT_R4, Release

_TEST = "`tests/unit/test_fhir_conversion.py::test_every_element_is_valid_r4_and_comes_back`"


def release_page() -> Iterator[str]:
    """Lines of Markdown."""
    yield from (
        "# What becomes of R5, STU3 and R4B",
        "",
        "Written by `gateway write-conformance` from the converter's tables; edit those, not this file: "
        "[fhir_r5.yaml](../../mappings/fhir_r5.yaml), [fhir_stu3.yaml](../../mappings/fhir_stu3.yaml).",
        "",
        "What is received in another release is kept byte for byte, and read as R4. Of the resource types that a case "
        "uses, the tables below list every element that is not the same in R4; an answer in that release goes the same "
        "way backwards.",
        "",
        "- **extension**: kept as `http://hl7.org/fhir/5.0/StructureDefinition/extension-[element]` (3.0 for STU3), "
        "the extension for converting between versions, and an element again in an answer of that release. An element "
        "of R4 that the other release has not is told there in the same way, by 4.0.",
        "- **lost**: nothing. What no extension can hold would be named in the answer, by its FHIRPath.",
        "- What R4 requires and the sender did not state is marked as absent by the extension data-absent-reason, or "
        "`unknown` where the codes have that.",
        "- A code that has another name in R4 is kept beside the new one, in an extension.",
        "- A CodeableReference that is concept and reference at once is the concept, and carries the reference in an "
        "extension.",
        "- Any other type that R4 has too is turned by the names of its elements. One that R4 has not is kept as "
        "received and not read; the answer warns, and a person sees it on the case.",
        "",
        f"Types that were looked at: {', '.join(USED)}.",
    )
    for release in (Release.R5, Release.STU3):
        rows = list(fates(release))
        kept = sum(row.how == KEPT for row in rows)
        yield from (
            "",
            f"## {release} ({release.version})",
            "",
            f"{len(rows)} elements differ; {kept} of them are kept as an extension.",
            "",
            f"Proven by {_TEST}, which sends every one of them there and back.",
            "",
            f"| {release} | R4 | how |",
            "|---|---|---|",
        )
        yield from (f"| {row.element} | {row.r4 or '-'} | {row.how} |" for row in rows)
    yield from (
        "",
        f"## R4B ({Release.R4B.version})",
        "",
        "The types that a case uses have the same elements as in R4. These types R4 has not: "
        f"{', '.join(sorted(NOT_R4))}.",
    )
