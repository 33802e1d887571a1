"""Values of DICOM elements as plain text and numbers, whatever was written into them.

Reading never fails on a value: character sets that are wrong or unknown give replacement characters (PS3.5 6.1),
what is no number gives None.
"""

import re
import struct
from collections.abc import Sequence
from datetime import date

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

# Values are taken as they are; pydicom's warnings about them would write record text into the log.
config.settings.reading_validation_mode = config.IGNORE

PYDICOM_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises on hostile bytes; it has no common exception of its own."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"(\d{4})[.\-]?(\d{2})?[.\-]?(\d{2})?")
_INT32 = 2**31


def clean(text: str) -> str:
    """Without NUL and lone surrogates, which no database and no JSON reader takes, and without padding."""
    return _storable(text).strip()


def clean_long(text: str) -> str:
    """As ``clean``, of LT, ST, UC or UT: leading spaces mean something there, and only spaces pad (PS3.5 6.2)."""
    return _storable(text).rstrip(" ")


def _storable(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def element_of(dataset: Dataset, keyword: str) -> DataElement | None:
    """The element, converted; None where it is absent or cannot be converted."""
    tag = tag_for_keyword(keyword)
    try:
        return dataset[tag] if tag is not None and tag in dataset else None
    except PYDICOM_ERRORS:
        return None


def texts(dataset: Dataset, keyword: str) -> list[str]:
    """Every value as text."""
    element = element_of(dataset, keyword)
    if element is None:
        return _raw_texts(dataset, keyword)
    value = element.value
    values = value if isinstance(value, MultiValue | list) else [value]
    return [clean(str(one)) for one in values if one is not None]


def text(dataset: Dataset, keyword: str) -> str:
    """All values as one text, whole: a shortened identifier could be another child's."""
    return "\\".join(texts(dataset, keyword)).strip()


def number(dataset: Dataset, keyword: str) -> int | None:
    """A whole number (IS, US) that fits 32 bits, or None."""
    return to_number(texts(dataset, keyword))


def decimals(dataset: Dataset, keyword: str) -> list[float]:
    """Every value as a decimal (DS); [] when one of them is none."""
    return to_decimals(texts(dataset, keyword))


def to_number(values: Sequence[str]) -> int | None:
    """As ``number``, of what ``texts`` gives."""
    found = values[0].strip() if values else ""
    if not _NUMBER.fullmatch(found):
        return None
    value = float(found)
    return int(value) if value == value // 1 and -_INT32 <= value < _INT32 else None


def to_decimals(values: Sequence[str]) -> list[float]:
    """As ``decimals``, of what ``texts`` gives."""
    return [float(one) for one in values] if all(_NUMBER.fullmatch(one) for one in values) else []


def ascii_texts(value: bytes) -> list[str] | None:
    """As ``texts``, of an encoded UI, IS or DS, without pydicom; None where it is not of ASCII."""
    return [clean(part) for part in value.decode("ascii").split("\\")] if value.isascii() else None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    element = element_of(dataset, keyword)
    return list(element.value) if element is not None and element.VR == "SQ" and element.value else []


def person_names(dataset: Dataset, keyword: str) -> list[PersonName]:
    element = element_of(dataset, keyword)
    if element is None or not element.value:
        return []
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    return [value for value in values if isinstance(value, PersonName)]


def name_groups(name: PersonName) -> tuple[str, str, str]:
    """The alphabetic, ideographic and phonetic component group (PS3.5 6.2.1.1)."""
    try:
        found = [clean(group) for group in (name.alphabetic, name.ideographic, name.phonetic)]
    except PYDICOM_ERRORS:
        found = [clean(str(name)), "", ""]
    return found[0], found[1], found[2]


def fhir_date(found: str) -> str:
    """DA, also partial or with the separators of ACR-NEMA, as a FHIR date; '' when it is no date."""
    match = _DATE.fullmatch(found.strip())
    if match is None:
        return ""
    year, month, day = match.groups()
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return ""
    return "-".join(part for part in (year, month, day) if part)


def raw_element(dataset: Dataset, tag: int) -> RawDataElement | None:
    """The element as it was read, where it was not converted; pydicom converts one without value even here."""
    try:
        raw: object = dataset.get_item(tag)
    except PYDICOM_ERRORS:
        return None
    return raw if isinstance(raw, RawDataElement) else None


def _raw_texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of an element that pydicom cannot convert, such as an IS of '1.5'."""
    tag = tag_for_keyword(keyword)
    raw = raw_element(dataset, tag) if tag is not None and tag in dataset else None
    if raw is None or raw.value is None:
        return []
    return [clean(part) for part in raw.value.decode("latin_1").split("\\")]
