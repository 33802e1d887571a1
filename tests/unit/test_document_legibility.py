"""Which documents open, and in which words one is told that does not."""

import io

import pytest
from PIL import Image
from pypdf import PdfWriter

from mappings import document_legibility
from mappings.document_legibility import problem_of
from tests.support.dicom_files import make_file

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"


def pdf(pages: int = 1, password: str = "") -> bytes:
    made, file = PdfWriter(), io.BytesIO()
    for _ in range(pages):
        made.add_blank_page(200, 200)
    if password:
        made.encrypt(password, algorithm="RC4-128")
    made.write(file)
    return file.getvalue()


def image(kind: str = "PNG", width: int = 8, height: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (pdf(), "application/pdf"),
        (b"\n" * 1000 + pdf(), "application/pdf"),
        (image(), "image/png"),
        (image(), "image/jpeg"),
        *((image(kind), "image/x") for kind in ("JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF")),
        ("Größe".encode(), "text/plain"),
        ("Größe".encode("latin-1"), "text/plain; charset=iso-8859-1"),
        (b"<p>x</p>", "text/html"),
        (make_file(), "application/dicom"),
    ],
)
def test_what_opens_has_no_problem(document: bytes, content_type: str) -> None:
    assert problem_of(document, content_type) == ""


@pytest.mark.parametrize(
    ("document", "content_type", "words"),
    [
        (b"%PDX-1.7", "application/pdf", "The bytes are no PDF."),
        (b"%PDF-1.7", "application/dicom", "The bytes are no DICOM file."),
        (make_file()[:-10], "application/dicom", "The DICOM file is damaged."),
        (b"\n" * 1025 + pdf(), "application/pdf", "The bytes are no PDF."),
        (pdf()[:300], "application/pdf", "The PDF is damaged."),
        (pdf(0), "application/pdf", "The PDF has no pages."),
        (pdf(password="secret"), "application/pdf; x=y", "The PDF needs a password."),
        (image()[:45], "image/png", "The image is damaged or of an unknown kind."),
        (image("JPEG", 900, 900)[:-40], "image/jpeg", "The image is damaged or of an unknown kind."),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n",
            "image/png",
            "The image is damaged or of an unknown kind.",
        ),
        (b"no image", "image/tiff", "The image is damaged or of an unknown kind."),
        ("Größe".encode("latin-1"), "text/plain", "not in the character set"),
        (b"x", "text/plain; charset=no-such", "not in the character set"),
        (b"x", "text/plain; charset=undefined", "not in the character set"),
        (b"x", "text/plain; charset=bz2", "not in the character set"),
        (b"", "text/plain", "The text is blank."),
        (b" \r\n\t", "text/plain", "The text is blank."),
    ],
)
def test_what_does_not_open_is_told_in_words(document: bytes, content_type: str, words: str) -> None:
    assert words in problem_of(document, content_type)


def test_an_image_that_is_too_large_to_decode_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_legibility, "_MAX_PIXELS", 63)
    assert problem_of(image(), "image/png") == "The image is too large to be opened safely."


def test_a_large_photograph_is_opened_at_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_legibility, "_MAX_PIXELS", 1_000_000)
    assert problem_of(image("JPEG", 4000, 4000), "image/jpeg") == ""


def test_a_type_that_nothing_here_opens_is_not_judged() -> None:
    assert problem_of(b"\xd0\xcf\x11\xe0", "application/msword") == ""
