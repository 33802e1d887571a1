"""The DIMSE statuses of errors (PS3.7 Annex C, PS3.4 B.2.3), and the file around a data set (PS3.10 7.1)."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from pydicom import dcmread
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from gateway import errors
from gateway.dimse import status
from gateway.errors import GatewayError
from mappings.dicom_file_meta import IMPLEMENTATION_CLASS_UID, encode_file_meta

CT_IMAGE_STORAGE, EXPLICIT_LITTLE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"


def _family(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


@pytest.mark.parametrize("kind", list(_family(GatewayError)), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_its_own_in_the_table(kind: type[GatewayError]) -> None:
    assert kind in status.STATUS


@pytest.mark.parametrize("kind", list(_family(GatewayError)), ids=lambda kind: kind.__name__)
def test_every_status_of_an_error_is_a_failure_to_the_sender(kind: type[GatewayError]) -> None:
    code = status.failure(kind()).Status

    assert code in range(0x0100, 0x0300) or code in range(0xA700, 0xB000) or code in range(0xC000, 0xD000)


@pytest.mark.parametrize(
    ("error", "code", "meaning"),
    [
        (errors.StoreUnavailable(), 0xA700, "Refused: Out of Resources"),
        (errors.TooLarge(), 0xA700, "Refused: Out of Resources"),
        (errors.InstanceMismatch(), 0xA900, "Data Set Does Not Match SOP Class"),
        (errors.NotDicom(), 0xC000, "Cannot Understand"),
        (errors.UnknownSender(), 0x0124, "Refused: Not Authorised"),
        (errors.NotSupported(), 0x0122, "Refused: SOP Class Not Supported"),
        (GatewayError(), 0x0110, "Processing Failure"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, GatewayError) else None,
)
def test_an_error_is_told_by_the_standards_status(error: GatewayError, code: int, meaning: str) -> None:
    assert status.failure(error).Status == code
    assert STORAGE_SERVICE_CLASS_STATUS[code][1] == meaning


def test_an_error_of_an_unlisted_kind_has_the_status_of_its_parent() -> None:
    class NotEvenDicom(errors.NotDicom):
        pass

    try:
        assert status.failure(NotEvenDicom()).Status == 0xC000
    finally:
        del NotEvenDicom


def test_the_error_comment_is_the_errors_words() -> None:
    assert status.failure(errors.NotDicom("The file is empty.")).ErrorComment == "The file is empty."


@pytest.mark.parametrize(
    "words", ["word " * 40, "x" * 200, "Größe \\ 影像 " * 9], ids=["words", "one word", "other characters"]
)
def test_the_error_comment_fits_its_value_representation(words: str) -> None:
    comment = status.failure(errors.NotDicom(words)).ErrorComment

    assert 0 < len(comment) <= 64
    assert comment.isascii()
    assert comment.isprintable()
    assert "\\" not in comment


def test_an_unexpected_error_tells_its_reference_and_nothing_else() -> None:
    answer = status.unexpected("1a2b3c4d")

    assert answer.Status == 0x0110
    assert answer.ErrorComment == "Internal error; please give us reference 1a2b3c4d."


def test_success_has_no_error_comment() -> None:
    assert "ErrorComment" not in status.status(status.SUCCESS)


@pytest.mark.parametrize("sop_instance_uid", ["1.2.3", "1.2.34", "1.02.3 not a UID"])
def test_the_file_begins_with_what_the_standard_demands(sop_instance_uid: str) -> None:
    wrapper = encode_file_meta(CT_IMAGE_STORAGE, sop_instance_uid, EXPLICIT_LITTLE)

    meta = dcmread(BytesIO(wrapper), force=False).file_meta

    assert wrapper[:132] == bytes(128) + b"DICM"
    assert len(wrapper) == 132 + 12 + meta.FileMetaInformationGroupLength
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert meta.MediaStorageSOPClassUID == CT_IMAGE_STORAGE
    assert meta.MediaStorageSOPInstanceUID == sop_instance_uid
    assert meta.TransferSyntaxUID == EXPLICIT_LITTLE
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert len(meta.ImplementationVersionName) <= 16


def test_the_data_set_follows_the_wrapper_at_once() -> None:
    patient_sex = b"\x10\x00\x40\x00CS\x02\x00F "

    ds = dcmread(BytesIO(encode_file_meta(CT_IMAGE_STORAGE, "1.2.3", EXPLICIT_LITTLE) + patient_sex))

    assert ds.PatientSex == "F"
