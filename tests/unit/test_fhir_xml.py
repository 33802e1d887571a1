"""FHIR XML and FHIR JSON say the same (FHIR R4 2.6.1, 2.6.2)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import NotFhir
from gateway.fhir.json_format import read_json
from gateway.fhir.validation import faults
from gateway.fhir.xml_format import read_xml, to_xml

EXAMPLES = Path(__file__).parents[2] / "conformance" / "examples"
PATIENT = """<?xml version="1.0" encoding="UTF-8"?>
<!-- said to nobody -->
<Patient xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
         xsi:schemaLocation="http://hl7.org/fhir ../patient.xsd">
  <id value="p1"/>
  <text>
    <status value="generated"/>
    <div xmlns="http://www.w3.org/1999/xhtml" xml:lang="de"><p>Mira <b>Testkind</b> &amp; M&#252;tter</p><br/></div>
  </text>
  <extension url="http://example.org/x"><valueDecimal value="1.00"/></extension>
  <active value="true"/>
  <name>
    <given value="Mira"/>
    <given><extension url="http://example.org/absent"><valueCode value="unknown"/></extension></given>
    <given id="third" value="Ida"/>
  </name>
  <multipleBirthInteger value="2"/>
  <contained><Organization><id value="o"/></Organization></contained>
</Patient>"""


def read(inside: str, name: str = "Patient") -> dict[str, Any]:
    return read_xml(f'<{name} xmlns="http://hl7.org/fhir">{inside}</{name}>'.encode())


def test_an_xml_resource_is_read_as_its_json() -> None:
    assert read_xml(PATIENT.encode()) == {
        "resourceType": "Patient",
        "id": "p1",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml" xml:lang="de"><p>Mira <b>Testkind</b> &amp; Mütter'
            "</p><br/></div>",
        },
        "extension": [{"url": "http://example.org/x", "valueDecimal": Decimal("1.00")}],
        "active": True,
        "name": [
            {
                "given": ["Mira", None, "Ida"],
                "_given": [
                    None,
                    {"extension": [{"url": "http://example.org/absent", "valueCode": "unknown"}]},
                    {"id": "third"},
                ],
            }
        ],
        "multipleBirthInteger": 2,
        "contained": [{"resourceType": "Organization", "id": "o"}],
    }


def test_decimals_keep_their_digits() -> None:
    for digits in ("1.00", "0.10", "-7", "1e3", "100000000000000000000.5"):
        observation = read(f'<valueQuantity><value value="{digits}"/></valueQuantity>', "Observation")
        assert f'value="{digits.upper().replace("E3", "E+3")}"' in to_xml(observation).decode()


def test_what_is_written_is_in_the_order_of_the_type_and_well_formed() -> None:
    name = {"given": ["Mira"], "family": "Testkind", "use": "official"}
    written = to_xml(
        {"resourceType": "Patient", "birthDate": "2019-05-03", "name": [name], "id": 'a"<b', "active": True}
    )
    assert written.decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Patient xmlns="http://hl7.org/fhir"><id value=\'a"&lt;b\'/>'
        '<active value="true"/><name><use value="official"/><family value="Testkind"/><given value="Mira"/></name>'
        '<birthDate value="2019-05-03"/></Patient>'
    )


def test_a_narrative_that_is_no_xhtml_is_written_as_text() -> None:
    written = to_xml({"resourceType": "Patient", "text": {"status": "generated", "div": "<p>a & b"}}).decode()
    assert '<div xmlns="http://www.w3.org/1999/xhtml">&lt;p&gt;a &amp; b</div>' in written


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("<birthDate>2019</birthDate>", "holds text"),
        ('<birthDate valu="2019"/>', "attribute that FHIR does not know: valu"),
        ("<contained/>", "holds 0 resources"),
        ('<x:birthDate xmlns:x="http://example.org" value="2019"/>', "namespace that is not of FHIR"),
        ("<name>", "not well-formed"),
    ],
)
def test_what_json_could_not_tell_is_refused_in_words(inside: str, words: str) -> None:
    with pytest.raises(NotFhir, match=words):
        read(inside)


@pytest.mark.parametrize(
    "document",
    [
        b'<!DOCTYPE x [<!ENTITY a "b">]><Patient xmlns="http://hl7.org/fhir"/>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Patient xmlns="http://hl7.org/fhir"/>',
        b"<Patient/>",
        b"   ",
        b'<?xml version="1.0" encoding="no-such"?><Patient xmlns="http://hl7.org/fhir"/>',
        b'<Patient xmlns="http://hl7.org/fhir">' + b"<name>" * 1000,
    ],
    ids=["entities", "external", "no namespace", "empty", "encoding", "deep"],
)
def test_hostile_xml_is_refused(document: bytes) -> None:
    with pytest.raises(NotFhir):
        read_xml(document)


def test_faults_are_found_in_xml_as_in_json() -> None:
    found = faults(read('<gender value="girl"/><active value="maybe"/><nonsense value="1"/>'), "Patient")
    assert {issue.expression for issue in found} == {"Patient.gender", "Patient.active", "Patient.nonsense"}


def test_every_valid_resource_comes_back_from_xml_as_it_was(shared_data: Path | None) -> None:
    folders = [EXAMPLES, *([shared_data / "fhir"] if shared_data else [])]
    files = [
        path for folder in folders for path in sorted(folder.rglob("*.json")) if _is_valid_and_small(path)
    ]
    assert len(files) >= (100 if shared_data else 5)
    for path in files:
        resource = read_json(path.read_bytes())
        assert _plain(read_xml(to_xml(resource))) == _plain(resource), path.name


def _is_valid_and_small(path: Path) -> bool:
    if path.stat().st_size > 300_000:
        return False  # many of one kind, and slow
    try:
        resource = read_json(path.read_bytes())
    except NotFhir:
        return False
    return "resourceType" in resource and not faults(resource, "x")


def _plain(value: Any) -> Any:
    """Without narratives, whose spelling may differ, and without null and empty lists, which say nothing."""
    if isinstance(value, dict):
        told = {key: inner for key, inner in value.items() if inner not in (None, [])}
        return {key: _plain(inner) for key, inner in told.items() if key not in ("div", "fhir_comments")}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
