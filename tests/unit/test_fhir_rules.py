"""What FHIR R4 says beyond types and cardinality: of JSON, references, contained resources, narrative and bundles."""

import re
from decimal import Decimal
from typing import Any

import pytest

from gateway.errors import InvalidContent, Issue, NotFhir
from gateway.fhir import invariants
from gateway.fhir.bundle import read_submission
from gateway.fhir.invariants import rules_on
from gateway.fhir.json_format import read_json
from gateway.fhir.outcome import of_issues
from gateway.fhir.validate import findings
from gateway.fhir.validation import faults
from gateway.fhir.xml_format import read_xml
from mappings.fhir_definitions import Release, data_type, elements_of
from mappings.fhir_invariants import invariants as table

Json = dict[str, Any]
PATIENT: Json = {"resourceType": "Patient", "name": [{"family": "Okafor", "given": ["Ada", "Ngozi"]}]}
OBSERVATION: Json = {"resourceType": "Observation", "status": "final", "code": {"coding": [{"code": "AFP"}]}}
CONDITION: Json = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}}
ENTERED_IN_ERROR = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "entered-in-error"}
    ]
}


def found(resource: Json, types: dict[str, str] | None = None) -> list[tuple[str, str | None]]:
    return [(issue.code, issue.expression) for issue in faults(resource, "R", types=types or {})]


@pytest.mark.parametrize(
    ("resource", "place"),
    [
        (PATIENT | {"birthDate": None}, "R.birthDate"),
        (PATIENT | {"birthDate": ""}, "R.birthDate"),
        (PATIENT | {"address": []}, "R.address"),
        (PATIENT | {"maritalStatus": {}}, "R.maritalStatus"),
        (PATIENT | {"name": [None]}, "R.name[0]"),
        (PATIENT | {"name": [{"given": ["Ada", None]}]}, "R.name[0].given[1]"),
        (PATIENT | {"name": [{"given": ["Ada", None], "_given": [{"id": "a"}, None]}]}, "R.name[0].given[1]"),
        (PATIENT | {"_birthDate": {"id": "a"}}, "R._birthDate"),
        (PATIENT | {"maritalStatus": {"id": "a"}}, "R.maritalStatus"),
    ],
)
def test_an_element_without_value_is_named(resource: Json, place: str) -> None:
    assert ("structure", place) in found(resource)


@pytest.mark.parametrize(
    ("resource", "place", "words"),
    [
        (
            PATIENT | {"active": "true"},
            "R.active",
            "true or false was expected, and text of 4 characters was found.",
        ),
        (
            PATIENT | {"deceasedDateTime": 5},
            "R.deceasedDateTime",
            "A string was expected, and a whole number was found.",
        ),
        (
            PATIENT | {"multipleBirthInteger": "2"},
            "R.multipleBirthInteger",
            "A whole number was expected, and text of 1 character was found.",
        ),
        (
            PATIENT | {"multipleBirthInteger": Decimal("2.0")},
            "R.multipleBirthInteger",
            "A whole number was expected, and a decimal number was found.",
        ),
        (
            OBSERVATION | {"valueQuantity": {"value": "1.5"}},
            "R.valueQuantity.value",
            "A decimal number was expected, and text of 3 characters was found.",
        ),
        (
            PATIENT | {"birthDate": "09.03.2018"},
            "R.birthDate",
            "A FHIR date (YYYY, YYYY-MM or YYYY-MM-DD) was expected, and text of 10 characters was found.",
        ),
        (
            PATIENT | {"name": {"family": "x"}},
            "R.name",
            "A list (JSON array) was expected, and an object was found.",
        ),
        (
            PATIENT | {"name": []},
            "R.name",
            "A value was expected, and an empty list was found: what has no value",
        ),
    ],
)
def test_a_fault_says_what_was_expected_and_what_was_found(resource: Json, place: str, words: str) -> None:
    told = {issue.expression: issue.text for issue in faults(resource, "R")}
    assert told[place].startswith(words)


def test_null_in_a_list_stands_for_a_value_that_is_an_extension() -> None:
    absent = {"extension": [{"url": "https://hospital.example/absent", "valueCode": "unknown"}]}
    assert found(PATIENT | {"name": [{"given": ["Ada", None], "_given": [None, absent]}]}) == []


@pytest.mark.parametrize("id_", ["a_b", "a/b", "x" * 65])
def test_the_id_of_a_resource_is_limited(id_: str) -> None:
    assert ("value", "R.id") in found(PATIENT | {"id": id_})
    assert found(PATIENT | {"id": "A-1.z"}) == []


def test_a_property_that_stands_twice_is_named_with_its_place_and_nothing_is_taken() -> None:
    body = (
        b'{"resourceType": "Patient", "name": [{"family": "A"}, {"family": "B", "family": "C"}],'
        b' "gender": "male", "gender": "female"}'
    )
    with pytest.raises(NotFhir) as refused:
        read_json(body)
    assert {issue.expression for issue in refused.value.issues} == {
        "Patient.name[1].family",
        "Patient.gender",
    }


def test_a_property_that_stands_twice_under_an_odd_name_is_told_in_text_that_can_be_written() -> None:
    with pytest.raises(NotFhir) as refused:
        read_json(b'{"\\ud800": 1, "\\ud800": 2}')
    assert all((issue.expression or "").isascii() for issue in refused.value.issues)


@pytest.mark.parametrize(
    "reference",
    [
        "Medication/1",
        "https://hospital.example/fhir/Medication/1",
        "Medication/1/_history/2",
        "urn:uuid:1",
        "#m",
    ],
)
def test_a_reference_to_another_type_is_named_with_what_was_expected(reference: str) -> None:
    resource = OBSERVATION | {
        "contained": [{"resourceType": "Medication", "id": "m"}],
        "encounter": {"reference": reference},
        "note": [{"text": "x", "authorReference": {"reference": "#m"}}],
    }
    issues = faults(resource, "R", types={"urn:uuid:1": "Medication"})
    told = {issue.expression: issue.text for issue in issues}
    assert told["R.encounter.reference"] == (
        "A reference to Encounter was expected, and one to Medication was found."
    )


@pytest.mark.parametrize(
    "reference", ["Encounter/1", "urn:uuid:2", "urn:oid:1.2", "Encounter?identifier=x|1", "x"]
)
def test_a_reference_that_may_lead_to_the_right_type_passes(reference: str) -> None:
    resource = OBSERVATION | {"encounter": {"reference": reference}}
    assert found(resource, {"urn:uuid:2": "Encounter"}) == []


def test_contained_resources_keep_their_rules() -> None:
    inner = {"resourceType": "Patient", "id": "p", "meta": {"versionId": "1", "security": [{"code": "R"}]}}
    nested = {"resourceType": "Patient", "id": "n", "contained": [{"resourceType": "Patient", "id": "x"}]}
    resource = OBSERVATION | {
        "contained": [inner, nested],
        "subject": {"reference": "#p"},
        "performer": [{"reference": "#nobody"}],
    }
    assert set(found(resource)) >= {
        ("invariant", "R.contained[0].meta.versionId"),
        ("invariant", "R.contained[0].meta.security"),
        ("invariant", "R.contained[1]"),
        ("invariant", "R.contained[1].contained"),
        ("not-found", "R.performer[0].reference"),
    }


def test_a_contained_resource_is_looked_at_as_any_other() -> None:
    inner = {"resourceType": "Observation", "id": "o", "status": "finished"}
    resource = OBSERVATION | {"contained": [inner], "hasMember": [{"reference": "#o"}]}
    assert found(resource) == [("code-invalid", "R.contained[0].status"), ("required", "R.contained[0].code")]


@pytest.mark.parametrize(
    ("resource", "rule", "place"),
    [
        (OBSERVATION | {"valueString": "x", "dataAbsentReason": {"text": "x"}}, "obs-6", "R"),
        (
            OBSERVATION | {"valueString": "x", "component": [{"code": {"coding": [{"code": "AFP"}]}}]},
            "obs-7",
            "R",
        ),
        (OBSERVATION | {"referenceRange": [{"type": {"text": "normal"}}]}, "obs-3", "R.referenceRange[0]"),
        (OBSERVATION | {"valueQuantity": {"value": Decimal("1"), "code": "mg"}}, "qty-3", "R.valueQuantity"),
        (
            OBSERVATION | {"effectivePeriod": {"start": "2024-02-01", "end": "2024-01-31"}},
            "per-1",
            "R.effectivePeriod",
        ),
        (PATIENT | {"contact": [{"gender": "female"}]}, "pat-1", "R.contact[0]"),
        (PATIENT | {"telecom": [{"value": "555"}]}, "cpt-2", "R.telecom[0]"),
        (PATIENT | {"photo": [{"data": "AAAA"}]}, "att-1", "R.photo[0]"),
        (PATIENT | {"extension": [{"url": "https://x.example"}]}, "ext-1", "R.extension[0]"),
        (
            PATIENT | {"birthDate": "2018", "_birthDate": {"extension": [{"url": "x"}]}},
            "ext-1",
            "R._birthDate.extension[0]",
        ),
        (CONDITION | {"abatementString": "gone"}, "con-4", "R"),
        (CONDITION | {"verificationStatus": ENTERED_IN_ERROR, "clinicalStatus": {"text": "x"}}, "con-5", "R"),
        ({"resourceType": "Organization", "active": True}, "org-1", "R"),
        (
            {
                "resourceType": "Organization",
                "name": "x",
                "telecom": [{"use": "home", "system": "fax", "value": "1"}],
            },
            "org-3",
            "R.telecom[0]",
        ),
        (
            {
                "resourceType": "RiskAssessment",
                "status": "final",
                "subject": {"reference": "Patient/1"},
                "prediction": [{"probabilityDecimal": Decimal("101")}],
            },
            "ras-2",
            "R.prediction[0]",
        ),
    ],
)
def test_a_broken_invariant_is_named_with_its_place(resource: Json, rule: str, place: str) -> None:
    broken = [issue for issue in faults(resource, "R") if issue.code == "invariant"]
    assert [(issue.text.split()[2], issue.expression) for issue in broken] == [(rule, place)]


@pytest.mark.parametrize(
    "resource",
    [
        OBSERVATION | {"valueString": "x", "component": [{"code": {"coding": [{"code": "other"}]}}]},
        OBSERVATION | {"effectivePeriod": {"start": "2024-02-01", "end": "2024-02-01T09:00:00Z"}},
        OBSERVATION
        | {"valueQuantity": {"value": Decimal("1.50"), "code": "mg", "system": "http://x.example"}},
        OBSERVATION | {"referenceRange": [{"high": {"value": Decimal("1")}}]},
        CONDITION | {"verificationStatus": ENTERED_IN_ERROR},
        CONDITION | {"clinicalStatus": {"text": "x"}, "verificationStatus": {"text": "confirmed"}},
    ],
)
def test_what_keeps_the_invariants_or_cannot_be_compared_passes(resource: Json) -> None:
    assert found(resource) == []


def test_no_invariant_is_left_to_the_engine_that_looks_beyond_its_element() -> None:
    """Its cost would grow with the square, and its verdict would not be kept for the same values."""
    beyond = re.compile(r"%resource|%rootResource|%context|descendants|resolve\(|intersect|isDistinct")
    found = {rule.key for rules in table().values() for rule in rules if beyond.search(rule.expression)}
    assert found == set(invariants._BY_HAND)


def test_each_invariant_can_be_compiled_and_stands_on_a_type_or_element_that_there_is() -> None:
    for name, rules in table().items():
        owner = ".".join(rules[0].path.split(".")[:-1])
        known = data_type(name, Release.R4) or data_type(owner.replace(".", ""), Release.R4)
        assert known is not None or "." in owner, name
        for rule in rules_on((name,)):
            assert callable(invariants._compiled(rule))


def test_how_an_invariant_is_decided_early_agrees_with_the_engine() -> None:
    """Over every presence of its elements: what the shortcuts hold for true, the engine does not hold for false."""
    for name in table():
        model = data_type(name, Release.R4)
        known = elements_of(model) if model else {}
        of_choice = {element.choice: key for key, element in known.items() if element.choice}
        for rule in rules_on((name,)):
            elements = sorted(rule.if_present | rule.if_absent)[:4]
            for number in range(2 ** len(elements)):
                present = {e for bit, e in enumerate(elements) if number >> bit & 1}
                item = {of_choice.get(e, e): {"text": "x"} for e in present}
                early = bool(present & rule.if_present or rule.if_absent - present)
                assert not early or invariants._evaluate(rule, item), (rule.invariant.key, item)


@pytest.mark.parametrize(
    "inside",
    [
        "<script>x</script>",
        '<p onclick="x()">a</p>',
        "<form><p>a</p></form>",
        '<object data="x">a</object>',
        '<iframe src="https://x.example">a</iframe>',
        '<link href="x"/>a',
        '<a href="javascript:x()">a</a>',
        '<a href=" java\tscript:x()">a</a>',
        '<a href="data:text/html,x">a</a>',
        '<a href="file:///etc/passwd">a</a>',
        '<img src="data:image/svg+xml;base64,AAAA"/>',
        '<p style="background: url(https://x.example)">a</p>',
        '<p style="width: expression(x)">a</p>',
        '<svg xmlns="http://www.w3.org/2000/svg">a</svg>',
        '<a xmlns:xlink="http://www.w3.org/1999/xlink" xlink:show="x">a</a>',
        "<p>a",
        "a &unknown; b",
        "",
        "<p> </p>",
    ],
)
def test_a_narrative_that_is_not_safe_or_says_nothing_is_an_error(inside: str) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'
    issues = faults(PATIENT | {"text": {"status": "generated", "div": div}}, "R")
    assert {(issue.severity, issue.code, issue.expression) for issue in issues} == {
        ("error", "invalid", "R.text.div")
    }
    assert "passwd" not in str(issues)


@pytest.mark.parametrize(
    "div",
    [
        "<div>a</div>",
        '<p xmlns="http://www.w3.org/1999/xhtml">a</p>',
        '<!DOCTYPE x><div xmlns="x">a</div>',
        "a",
    ],
)
def test_a_narrative_is_one_div_of_xhtml(div: str) -> None:
    assert found(PATIENT | {"text": {"status": "generated", "div": div}}) == [("invalid", "R.text.div")]


def test_a_narrative_of_basic_html_passes() -> None:
    inside = (
        '<h1 id="a">A&nbsp;&amp;&#160;b</h1><table><tr><td colspan="2" style="color: red">c</td></tr></table>'
        '<p xml:lang="de" lang="de">d<br/><a href="#a">e</a> <a href="https://x.example/y?z=1:2">f</a></p>'
        '<img src="data:image/png;base64,AAAA" alt="g"/><img src="#binary" alt="h"/>'
    )
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'
    assert found(PATIENT | {"text": {"status": "generated", "div": div}}) == []


def test_the_narrative_of_a_section_is_looked_at_too() -> None:
    section = {"title": "x", "text": {"status": "generated", "div": "<div>a</div>"}}
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "x"},
        "date": "2026-01-01",
        "author": [{"display": "x"}],
        "title": "x",
        "section": [section],
    }
    assert found(composition) == [("invalid", "R.section[0].text.div")]


def test_the_size_of_an_attachment_is_counted() -> None:
    attachment = {"contentType": "text/plain", "data": "aGVs\nbG8=", "size": 5}
    assert found(PATIENT | {"photo": [attachment]}) == []
    assert found(PATIENT | {"photo": [attachment | {"size": 6}]}) == [("value", "R.photo[0].size")]


def bundle(kind: str, *entries: Json, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)} | more


ENTRY: Json = {"fullUrl": "urn:uuid:1", "resource": PATIENT}
POST = {"request": {"method": "POST", "url": "Patient"}}


@pytest.mark.parametrize(
    ("resource", "rule"),
    [
        (bundle("collection", ENTRY, total=1), "bdl-1"),
        (bundle("collection", ENTRY | {"search": {"mode": "match"}}), "bdl-2"),
        (bundle("collection", ENTRY | POST), "bdl-3"),
        (bundle("transaction", ENTRY), "bdl-3"),
        (bundle("collection", ENTRY | {"response": {"status": "200"}}), "bdl-4"),
        (bundle("collection", {"fullUrl": "urn:uuid:1"}), "bdl-5"),
        (bundle("collection", ENTRY, ENTRY), "bdl-7"),
        (bundle("collection", ENTRY | {"fullUrl": "https://x.example/Patient/1/_history/2"}), "bdl-8"),
        (bundle("document", ENTRY, timestamp="2026-01-01T00:00:00Z"), "bdl-9"),
        (bundle("document", ENTRY), "bdl-10"),
        (bundle("document", ENTRY), "bdl-11"),
        (bundle("message", ENTRY), "bdl-12"),
    ],
)
def test_a_broken_rule_of_a_bundle_is_named(resource: Json, rule: str) -> None:
    assert any(issue.severity == "error" and f"({rule})" in issue.text for issue in findings(resource))


def test_a_sound_bundle_of_each_kind_breaks_no_rule() -> None:
    history = ENTRY | POST | {"response": {"status": "200"}}
    again = {"fullUrl": "urn:uuid:1", "resource": PATIENT | {"meta": {"versionId": "2"}}}
    for sound in (
        bundle("collection", ENTRY, again),
        bundle("transaction", ENTRY | POST),
        bundle("searchset", ENTRY | {"search": {"mode": "match"}}, total=1),
        bundle("history", history, history, total=2),
        bundle("transaction-response", {"response": {"status": "201"}}),
    ):
        assert findings(sound) == []


def test_a_full_url_that_is_an_address_is_that_of_the_resource() -> None:
    entry = {"fullUrl": "https://x.example/fhir/Patient/1", "resource": PATIENT | {"id": "2"}}
    assert [i.expression for i in findings(bundle("collection", entry))] == ["Bundle.entry[0].resource.id"]
    entry = {"fullUrl": "https://x.example/fhir/Group/1", "resource": PATIENT | {"id": "1"}}
    assert [i.expression for i in findings(bundle("collection", entry))] == ["Bundle.entry[0].fullUrl"]
    assert findings(bundle("transaction", entry | POST)) == []


def document(*references: str) -> Json:
    composition = {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "type": {"text": "x"},
        "date": "2026-01-01",
        "author": [{"display": "x"}],
        "title": "x",
        "subject": {"reference": "Patient/1"},
        "section": [{"title": "x", "entry": [{"reference": reference} for reference in references]}],
    }
    base = "https://x.example/fhir"
    patient = {"fullUrl": f"{base}/Patient/1", "resource": PATIENT | {"id": "1"}}
    results = [
        {
            "fullUrl": f"{base}/Observation/o",
            "resource": OBSERVATION | {"id": "o", "meta": {"versionId": version}},
        }
        for version in ("1", "2")
    ]
    return bundle(
        "document",
        {"fullUrl": f"{base}/Composition/c", "resource": composition},
        patient,
        *results,
        identifier={"system": "https://x.example", "value": "1"},
        timestamp="2026-01-01T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("Observation/o/_history/2", []),
        ("https://x.example/fhir/Patient/1", []),
        ("Observation/o", [("error", "multiple-matches")]),
        ("Observation/o/_history/3", [("error", "not-found")]),
        ("Observation/nowhere", [("error", "not-found")]),
        ("https://elsewhere.example/Observation/1", [("warning", "not-found")]),
    ],
)
def test_what_a_composition_refers_to_stands_once_in_its_document(
    reference: str, expected: list[tuple[str, str]]
) -> None:
    issues = findings(document(reference))
    assert [(i.severity, i.code) for i in issues] == expected
    assert all(i.expression == "Bundle.entry[0].resource.section[0].entry[0].reference" for i in issues)


def test_a_fault_names_the_full_url_of_its_entry() -> None:
    issues = findings(
        bundle("collection", {"fullUrl": "urn:uuid:7", "resource": PATIENT | {"gender": "girl"}})
    )
    told = of_issues(issues)["issue"][0]
    assert told["expression"] == ["Bundle.entry[0].resource.gender"]
    assert "urn:uuid:7" in told["diagnostics"]
    assert "girl" not in str(told)


def test_a_document_with_broken_rules_is_kept_with_warnings() -> None:
    sent = document("Observation/o/_history/2")
    del sent["timestamp"]
    submission = read_submission(sent)
    assert [(i.severity, i.expression) for i in submission.entries[0].issues] == [
        ("warning", "Bundle.timestamp")
    ]


def test_a_transaction_with_a_broken_rule_is_refused() -> None:
    faulty = bundle("transaction", ENTRY | POST, total=1)
    assert [i.expression for i in read_submission(faulty).faults] == ["Bundle.total"]


@pytest.mark.parametrize("kind", ["transaction", "batch", "collection"])
def test_a_resource_whose_invariant_is_broken_is_kept(kind: str) -> None:
    broken = OBSERVATION | {"valueString": "x", "dataAbsentReason": {"text": "x"}}
    request = {} if kind == "collection" else {"request": {"method": "POST", "url": "Observation"}}
    submission = read_submission(bundle(kind, {"fullUrl": "urn:uuid:1", "resource": broken} | request))
    assert submission.faults == ()
    assert [(i.severity, i.code) for i in submission.kept[0].issues] == [("warning", "invariant")]


def test_an_ambiguous_document_is_refused() -> None:
    with pytest.raises(InvalidContent):
        read_submission(bundle("document", ENTRY))


def test_the_same_is_found_in_xml() -> None:
    body = (
        b'<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="x"/></code>'
        b'<dataAbsentReason><text value="x"/></dataAbsentReason><valueString value="x"/><issued/></Observation>'
    )
    issues: list[Issue] = findings(read_xml(body))
    assert {(i.code, i.expression) for i in issues} >= {
        ("invariant", "Observation"),
        ("structure", "Observation.issued"),
    }
