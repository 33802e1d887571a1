"""Does a document open? The first, format-level look: what a reader's program would refuse.

Decoders meet hostile bytes here: call it where memory and time are limited (workflow/limited.py).
"""

import io
import logging
from typing import IO

_PDF_HEADER_WITHIN = 1024  # ISO 32000-1 H.3: readers accept the header within the first 1024 bytes
_MAX_PIXELS = 40_000_000
# EPS is not among them: to open one would run a program.
_IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF")


def examine(document: IO[bytes], _: IO[bytes], content_type: str) -> dict[str, str]:
    """``problem_of`` the file's bytes, as a job in a process of its own."""
    return {"problem": problem_of(document.read(), content_type)}


def problem_of(document: bytes, content_type: str) -> str:
    """Empty when the document opens; otherwise what is wrong, in plain words. Raises MemoryError."""
    kind = content_type.split(";")[0].strip().casefold()
    if kind == "application/pdf":
        return _pdf_problem(document)
    if kind.startswith("image/") and kind not in ("image/svg+xml",):
        return _image_problem(document)
    if kind == "application/dicom":
        return _dicom_problem(document)
    if kind.startswith("text/") or kind.endswith(("+json", "+xml", "/json", "/xml")):
        return _text_problem(document, content_type)
    return ""


def _pdf_problem(document: bytes) -> str:
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    if b"%PDF-" not in document[:_PDF_HEADER_WITHIN]:
        return "The bytes are no PDF."
    try:
        reader = PdfReader(io.BytesIO(document))
        if reader.is_encrypted and not reader.decrypt(""):
            return "The PDF needs a password."
        pages = len(reader.pages)
        if pages:
            _ = reader.pages[0].mediabox
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever the damage makes a parser stumble over
        return "The PDF is damaged."
    return "" if pages else "The PDF has no pages."


def _image_problem(document: bytes) -> str:
    from PIL import Image, ImageFile

    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, and is looked at before anything is decoded
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # weasyprint sets it for its whole process
    try:
        with Image.open(io.BytesIO(document), formats=_IMAGE_FORMATS) as image:
            image.draft(None, (1, 1))  # a JPEG is decoded at an eighth of its width and height
            if image.width * image.height > _MAX_PIXELS:
                return "The image is too large to be opened safely."
            image.load()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever the damage makes a decoder stumble over
        return "The image is damaged or of an unknown kind."
    return ""


def _dicom_problem(document: bytes) -> str:
    """A manifest that names imaging, or an image: whole, and nested no deeper than it can be read."""
    from gateway.errors import NotDicom
    from mappings.dicom_structure import walk_file

    try:
        return "The DICOM file is damaged." if walk_file(io.BytesIO(document), frozenset()).fault else ""
    except NotDicom:
        return "The bytes are no DICOM file."


def _text_problem(document: bytes, content_type: str) -> str:
    charset = "utf-8"
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().casefold() == "charset":
            charset = value.strip().strip('"') or charset
    try:
        text = document.decode(charset)
    except (ValueError, LookupError):
        return f"The text is not in the character set that it should be in ({charset[:40]})."
    return "The text is blank." if not text or text.isspace() else ""
