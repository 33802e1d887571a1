"""Names as they are answered in the character sets that a peer may ask for, read back by readers that are not ours."""

import json
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom.dsutils import decode, encode

from mappings.dicom_answer_character_sets import UTF_8, true_character_sets
from mappings.dicom_identifier import answer, asked_keys

LETTERS = {
    "100": "ÀÉÎÕÜßñ",
    "101": "ĄŁŠŽőř",
    "109": "ĦĈĝŭ",
    "110": "ĀĒĢķŽ",
    "126": "ΑΒΓΔωή",
    "127": "قبانيلزر",
    "138": "שרוןדבה",
    "144": "ИвановаЖ",
    "148": "ĞİŞığ",
    "166": "นามสกุล",
}
JAPANESE = {"ISO_IR 13", "ISO 2022 IR 13", "ISO 2022 IR 87", "ISO 2022 IR 159"}
"""dcmtk reads them only where it was built with libiconv."""
KANA, KANJI, RARE_KANJI, HANGUL, HANZI = (
    "ﾔﾏﾀﾞﾛｳ",
    "山田太郎やまだたろう",
    "鷗俠彧琮",
    "김희중홍길동金",
    "张王小东刘",
)
HOLDING = {
    **{(f"ISO_IR {number}",): letters for number, letters in LETTERS.items()},
    **{("", f"ISO 2022 IR {number}"): letters for number, letters in LETTERS.items() if number != "100"},
    **{("ISO 2022 IR 100", f"ISO 2022 IR {number}"): letters for number, letters in LETTERS.items()},
    ("ISO_IR 13",): KANA,
    ("ISO 2022 IR 13", "ISO 2022 IR 87"): KANJI,
    ("", "ISO 2022 IR 87"): KANJI,
    ("ISO 2022 IR 6", "ISO 2022 IR 87"): KANJI,
    ("", "ISO 2022 IR 87", "ISO 2022 IR 159"): RARE_KANJI,
    ("", "ISO 2022 IR 149"): HANGUL,
    ("GB18030",): HANZI + "王東",
    ("GBK",): HANZI + "王東",
    (UTF_8,): KANJI + HANGUL + LETTERS["144"],
}
ASKED = [
    *HOLDING,
    *(
        (term,)
        for term in (
            "",
            "ISO_IR 6",
            "ISO 2022 IR 6",
            "ISO 2022 IR 100",
            "ISO 2022 IR 87",
            "BOGUS",
            "ISO_IR 203",
        )
    ),
    *(("", f"ISO 2022 IR {number}") for number in ("100", "13", "159")),
    ("ISO 2022 IR 6", "ISO 2022 IR 100"),
    ("ISO_IR 100", "ISO 2022 IR 87"),
    ("ISO 2022 IR 13", "ISO 2022 IR 87", "ISO 2022 IR 159"),
    ("", "ISO 2022 IR 149", "ISO 2022 IR 144"),
    ("", "ISO 2022 IR 58"),
    (),
]
ALPHABET = "".join(dict.fromkeys("".join(HOLDING.values()) + "AaZz09 ~^=.-'×÷°§¥‾뢨€\t"))
NAMES = st.text(ALPHABET, max_size=12).map(lambda name: name.strip(" ^="))


def answered(asked: tuple[str, ...], name: str, comment: str | None = None) -> Dataset:
    keys, match = Dataset(), {}
    keys.PatientName = keys.PatientComments = None
    groups = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("=")[:3], strict=False))
    match["00100010"] = {"vr": "PN", "Value": [groups]}
    match["00104000"] = {"vr": "LT", "Value": [name if comment is None else comment]}
    return answer(match, asked_keys(keys), {}, list(asked))


def is_same(found: Dataset, sent: Dataset) -> bool:
    return (str(found.PatientName).rstrip("=^ "), found.PatientComments.strip()) == (
        str(sent.PatientName).rstrip("=^ "),
        sent.PatientComments.strip(),
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ASKED), NAMES)
def test_every_name_is_read_back_by_the_character_set_that_is_declared(
    asked: tuple[str, ...], name: str
) -> None:
    sent = answered(asked, name)
    encoded = encode(sent, False, True)
    assert encoded is not None
    assert is_same(decode(BytesIO(encoded), False, True), sent)
    declared = sent.get("SpecificCharacterSet")
    if declared is None or declared in ("ISO_IR 6", "ISO 2022 IR 6"):
        assert encoded.isascii()


@pytest.mark.parametrize(("asked", "letters"), HOLDING.items())
def test_what_the_asked_character_sets_hold_is_answered_in_them(
    tmp_path: Path, asked: tuple[str, ...], letters: str
) -> None:
    sent = answered(asked, f"{letters}^{letters[::-1]}", comment=letters)
    assert sent.SpecificCharacterSet == (asked[0] if len(asked) == 1 else list(asked))
    assert is_same(decode(BytesIO(encode(sent, False, True) or b""), False, True), sent)
    if not JAPANESE.intersection(asked):
        assert is_same(read_by_dcmtk(tmp_path, sent), sent)


@pytest.mark.parametrize("asked", [asked for asked in ASKED if not JAPANESE.intersection(asked)])
@pytest.mark.parametrize(
    "name",
    ["胸部 CT^2", "Müller^Jörg", "Yamada^Tarou=山田^太郎=やまだ^たろう", "ﾔﾏﾀﾞ1^A~B", "Hong=洪^吉洞=홍^길동"],
)
def test_dcmtk_reads_what_is_answered(tmp_path: Path, asked: tuple[str, ...], name: str) -> None:
    sent = answered(asked, name)
    assert is_same(read_by_dcmtk(tmp_path, sent), sent)


def read_by_dcmtk(folder: Path, sent: Dataset) -> Dataset:
    """As dcmtk converts the file to UTF-8."""
    sent.SOPClassUID, sent.SOPInstanceUID = CTImageStorage, generate_uid()
    sent.file_meta = FileMetaDataset()
    sent.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    sent.save_as(folder / "sent.dcm", enforce_file_format=True)
    done = subprocess.run(["dcm2json", folder / "sent.dcm"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return Dataset.from_json(json.loads(done.stdout))


def test_one_line_is_enough_for_code_extensions() -> None:
    asked = ("", "ISO 2022 IR 149")
    assert true_character_sets(asked, ["홍길동"]) == asked
    assert true_character_sets(asked, ["홍\r\n길동"]) == (UTF_8,)
    assert true_character_sets(("ISO_IR 144",), ["Иван\r\nов"]) == ("ISO_IR 144",)


def test_kanji_stand_beside_plain_letters_where_these_are_the_first_character_set() -> None:
    for first in ("", "ISO 2022 IR 6", "ISO 2022 IR 13"):
        assert true_character_sets((first, "ISO 2022 IR 87"), ["胸部 CT 2"]) == (first, "ISO 2022 IR 87")
    assert true_character_sets(("ISO 2022 IR 100", "ISO 2022 IR 87"), ["胸部 CT 2"]) == (UTF_8,)
