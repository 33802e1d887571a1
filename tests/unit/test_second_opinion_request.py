import pytest

from mappings.second_opinion_request import (
    TABLE,
    asks_for_second_opinion,
    normalise,
    read_table,
    specialties,
)

SNOMED = "http://snomed.info/sct"
REFERRAL_REASON = "http://terminology.hl7.org/CodeSystem/v2-0336"


def concept(system: str, code: str, display: str = "") -> dict:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]}


@pytest.mark.parametrize("element", ["code", "category", "reasonCode", "orderDetail"])
def test_the_snomed_code_means_a_second_opinion_wherever_it_stands(element):
    value = concept(SNOMED, "77406008")
    assert asks_for_second_opinion({element: value if element == "code" else [value]})


def test_a_code_counts_beside_other_codes():
    other = {"system": SNOMED, "code": "11429006"}
    wanted = {"system": REFERRAL_REASON, "code": "S"}
    assert asks_for_second_opinion({"reasonCode": [{"text": "Liver mass"}, {"coding": [other, wanted]}]})


def test_the_older_names_of_a_code_system_are_known():
    assert asks_for_second_opinion({"category": [concept("urn:oid:2.16.840.1.113883.12.336", "S")]})


def test_the_same_code_of_another_system_means_nothing():
    assert not asks_for_second_opinion({"category": [concept("http://example.org/reasons", "S")]})


def test_a_code_counts_only_where_its_row_says():
    assert not asks_for_second_opinion({"reasonCode": [concept("http://www.ama-assn.org/go/cpt", "76140")]})


@pytest.mark.parametrize("code", ["281036007", "11429006", "763184009"])
def test_other_consultations_are_not_second_opinions(code):
    assert not asks_for_second_opinion({"code": concept(SNOMED, code)})


@pytest.mark.parametrize(
    "words",
    [
        "Request for SECOND-OPINION, liver mass",
        "Onkologische Zweitmeinung",
        "Deuxieme avis en oncologie pediatrique",
        "Segunda opinión sobre tumor hepático",
        "Segunda opiniao",
        "İKİNCİ GÖRÜŞ",
        "Запрос: второе  мнение",
        "запит на другу думку",
        "طلب رأيٍ طبيٍّ ثانٍ",
        "בקשה לחוות דעת שנייה",
        "请求第二意见",
        "セカンドオピニオンの依頼",
        "2차 소견 요청",
        "xin ý kiến thứ hai",
    ],
)
def test_the_words_are_recognised_however_they_are_written(words):
    assert asks_for_second_opinion({"code": {"text": words}})


def test_words_are_also_read_from_the_display_of_a_local_code():
    assert asks_for_second_opinion(
        {"code": concept("http://example.org/orders", "X1", "2nd opinion oncology")}
    )


def test_an_ordinary_order_is_not_a_second_opinion():
    order = {
        "code": {"text": "CT abdomen with contrast"},
        "category": [concept(SNOMED, "363679005", "Imaging")],
        "reasonCode": [{"text": "Second-look laparotomy, opinion of surgeon awaited"}],
    }
    assert not asks_for_second_opinion(order)


def test_a_request_not_to_do_it_is_none():
    assert not asks_for_second_opinion({"doNotPerform": True, "code": {"text": "second opinion"}})


def test_ill_typed_elements_are_read_as_absent():
    assert not asks_for_second_opinion(
        {"code": "second opinion", "category": {"coding": "x"}, "reasonCode": 7}
    )


def test_performer_type_is_a_requested_specialty_in_the_words_of_the_hospital():
    requested = {"performerType": concept(SNOMED, "418002000", "Дитяча онкологія")}
    assert [(s.text, s.codings) for s in specialties(requested)] == [
        ("Дитяча онкологія", ((SNOMED, "418002000"),))
    ]


def test_a_bare_specialty_code_is_shown_in_the_words_of_the_table():
    assert specialties({"performerType": concept(SNOMED, "418002000")})[0].text == "Paediatric oncology"


def test_a_specialty_without_a_code_is_kept():
    assert [s.text for s in specialties({"performerType": {"text": "Kinderonkologie"}})] == [
        "Kinderonkologie"
    ]


def test_specialties_of_the_order_detail_are_added_once_and_other_details_are_not():
    requested = {
        "performerType": concept(SNOMED, "418002000"),
        "orderDetail": [
            concept(SNOMED, "418002000"),
            concept(SNOMED, "394539006"),
            {"text": "Please answer in English"},
        ],
    }
    assert [s.text for s in specialties(requested)] == ["Paediatric oncology", "Paediatric surgery"]


def test_the_specialty_of_a_contained_performer_is_read():
    role = {"resourceType": "PractitionerRole", "id": "r", "specialty": [concept(SNOMED, "394538003")]}
    requested = {"contained": [role], "performer": [{"reference": "#r"}]}
    assert [s.text for s in specialties(requested)] == ["Paediatric neurology"]
    assert specialties({"contained": [role]}) == ()


def test_every_phrase_of_the_table_is_found_in_a_sentence():
    for phrase in TABLE.phrases:
        assert asks_for_second_opinion({"code": {"text": f"X {phrase.upper()} (Y)"}}), phrase


def test_normalising_keeps_different_words_different():
    assert normalise("  Deuxième\u00a0avis ") == "deuxieme avis"
    assert normalise("второе") != normalise("второго")


WELL_FORMED = """\
codes:
  - {system: http://s, code: "1", display: d, where: [code], source: s, verified: yes}
phrases_where: [code]
phrases:
  - {language: en, reviewed_by: nobody yet, phrases: [second opinion]}
specialties_where: [code]
specialties:
  - {system: http://s, code: "2", display: d, verified: no}
"""


def test_a_well_formed_table_is_read():
    assert read_table(WELL_FORMED, "t.yaml").phrases == ("second opinion",)


@pytest.mark.parametrize(
    ("before", "after", "line", "words"),
    [
        (", source: s", "", 2, "'source' is missing"),
        ("display: d, where", "display: d, were: x, where", 2, "'were' is not a name"),
        ("where: [code]", "where: [cod]", 2, "cod is none of"),
        ("where: [code]", "where: code", 2, "'where' is a list"),
        ("verified: yes", "verified: maybe", 2, "'verified' is yes or no"),
        ("phrases_where: [code]", "phrases_where: [note]", 3, "note is none of"),
        ("[second opinion]", "[2nd]", 5, "too short"),
        ("[second opinion]", "[second opinion, Second-Opinion]", 5, "twice"),
        ("specialties_where: [code]\n", "", 1, "'specialties_where' is missing"),
        ('code: "2", display: d', 'code: "2", display: [d]', 8, "'display' is one word"),
        ("verified: no}", "verified: no", 9, "expected"),
        ("phrases_where: [code]", "codes: []\nphrases_where: [code]", 3, "twice"),
        ("phrases:\n  - {", "phrases: {", 4, "'phrases' is a list of rows"),
    ],
)
def test_a_fault_in_the_table_is_told_with_file_and_line(before, after, line, words):
    assert before in WELL_FORMED
    with pytest.raises(ValueError, match=rf"^t\.yaml, line {line}: .*{words}"):
        read_table(WELL_FORMED.replace(before, after, 1), "t.yaml")


def test_the_same_code_twice_is_told_with_both_lines():
    row = '  - {system: http://s, code: "2", display: other, verified: no}\n'
    with pytest.raises(ValueError, match="line 9: the same code stands in line 8 already"):
        read_table(WELL_FORMED + row, "t.yaml")
