"""The printed report: whole, archivable, accessible, and fetching nothing."""

import io
from dataclasses import replace

import pytest
from pypdf import PdfReader

from gateway.case.model import Name, Record
from mappings.opinion_to_report import report_of
from mappings.report_to_document import to_pdf
from tests.support.reviewed_case import OPINION, PATIENT, PROGRAMME, RECORD, SIGNED_AT, reviewed_case


def pdf_of(case=None, opinion=OPINION) -> bytes:
    return to_pdf(report_of(case or reviewed_case(), opinion, SIGNED_AT, PROGRAMME))


@pytest.fixture(scope="module")
def content() -> bytes:
    return pdf_of()


@pytest.fixture(scope="module")
def reader(content: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(content))


def words_of(reader: PdfReader) -> str:
    return " ".join(" ".join(page.extract_text() for page in reader.pages).split())


def test_it_claims_pdf_a_2a_and_is_tagged_with_title_and_language(reader: PdfReader):
    catalog = reader.trailer["/Root"]
    metadata = catalog["/Metadata"].get_data().decode()
    assert 'pdfaid:part="2"' in metadata
    assert 'pdfaid:conformance="A"' in metadata
    assert catalog["/MarkInfo"]["/Marked"]
    assert catalog["/StructTreeRoot"]
    assert catalog["/Lang"] == "en"
    assert reader.metadata.title == "Second Opinion Report, case SO-7K2M9QXA"
    assert reader.metadata.creation_date == SIGNED_AT


def test_it_holds_no_script_no_link_and_no_attachment(reader: PdfReader):
    catalog = reader.trailer["/Root"]
    assert "/OpenAction" not in catalog
    assert "/Names" not in catalog or "/EmbeddedFiles" not in catalog["/Names"]
    assert all("/Annots" not in page for page in reader.pages)


def test_every_font_is_embedded(reader: PdfReader):
    fonts = {
        font.get_object()["/BaseFont"]: font
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()
    }
    assert len(fonts) >= 3  # Latin, Arabic, Chinese
    for font in fonts.values():
        descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
        assert {"/FontFile2", "/FontFile3"} & set(descriptor)


def test_it_is_a4_and_each_page_names_the_case_and_its_number(reader: PdfReader):
    total = len(reader.pages)
    assert total > 1
    for number, page in enumerate(reader.pages, 1):
        assert (round(page.mediabox.width), round(page.mediabox.height)) == (595, 842)
        text = page.extract_text()
        assert "Case SO-7K2M9QXA" in text
        assert f"Page {number} of {total}" in text


def test_each_further_page_names_the_child(reader: PdfReader):
    for page in reader.pages[1:]:
        text = page.extract_text()
        assert "Layla Haddad" in text
        assert "born 3 May 2019" in text


def test_it_says_what_the_page_says(reader: PdfReader):
    text = words_of(reader)
    for said in (
        "unilateral Wilms tumour",
        "Not resolved at sign-off.",
        "limited and provisional",
        "70012345",
        "莱拉",
    ):
        assert said in text


def test_a_long_opinion_and_a_long_name_are_printed_whole():
    names = (Name("Maria " + "Josefina Antonia " * 20 + "Zuletzt"),)
    case = reviewed_case(record=replace(RECORD, patient=replace(PATIENT, names=names)))
    long = "\n\n".join("word " * 100 for _ in range(50)) + " omega " + "x" * 500
    text = words_of(PdfReader(io.BytesIO(pdf_of(case, replace(OPINION, findings_text=long)))))
    assert text.count("word ") == 5000
    assert "omega" in text
    assert "Zuletzt" in text
    assert "".join(text.split()).count("x" * 500) == 1


def test_a_case_of_which_nothing_is_known_still_prints():
    case = reviewed_case(record=Record(), studies=(), held_studies=(), findings=())
    assert "did not state who the patient is" in words_of(PdfReader(io.BytesIO(pdf_of(case))))


def test_the_same_input_makes_the_same_file(content: bytes):
    assert pdf_of() == content
