"""The wrapper that makes a received data set a DICOM file: preamble, prefix and group 0002 (PS3.10 7.1)."""

import struct

# Who wrote the file and negotiates the associations (PS3.7 D.3.3.2; the UID by PS3.5 B.2, from a random UUID). An
# upgrade leaves both as they are, so that the same C-STORE makes the same file, byte for byte.
IMPLEMENTATION_CLASS_UID = "2.25.302872214079961481996349282370042220664"
IMPLEMENTATION_VERSION_NAME = "SECONDOPINION_1"

_VERSION, _SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX, _CLASS_UID, _VERSION_NAME = 1, 2, 3, 0x10, 0x12, 0x13


def encode_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """All that stands before the data set. UIDs are written as the sender spelt them, valid or not.

    No Source Application Entity Title (0002,0016): it would make two files of one instance that two of a partner's
    AEs send; the receipt knows the sender.
    """
    elements = b"".join(
        (
            struct.pack("<HH2sHI", 2, _VERSION, b"OB", 0, 2) + b"\x00\x01",
            _element(_SOP_CLASS, b"UI", sop_class_uid, b"\0"),
            _element(_SOP_INSTANCE, b"UI", sop_instance_uid, b"\0"),
            _element(_TRANSFER_SYNTAX, b"UI", transfer_syntax_uid, b"\0"),
            _element(_CLASS_UID, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            _element(_VERSION_NAME, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
        )
    )
    group_length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(elements))
    return bytes(128) + b"DICM" + group_length + elements


def _element(element: int, vr: bytes, value: str, padding: bytes) -> bytes:
    """Explicit VR little endian, padded to even length (PS3.5 6.2)."""
    encoded = value.encode("ascii", "replace")
    encoded += padding * (len(encoded) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(encoded)) + encoded
