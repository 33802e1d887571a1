"""JPEG by cosine transform with 12 bits a sample (ITU-T T.81; PS3.5 8.2.1), which pydicom leaves to GDCM and GDCM can.

pydicom 3.0 refuses it for GDCM; its samples are dcmtk's, bit for bit, which tests hold.
"""

from io import BytesIO

import gdcm
import numpy as np

from gateway.errors import NotAcceptable
from mappings.pixel_cells import Pixels
from mappings.pixel_frames import PixelFrames
from mappings.pixel_stream import read_stream

BITS = 12
_END_OF_IMAGE, _PADDED_END = b"\xff\xd9", 10


def decode_12_bits(frames: PixelFrames, encoded_frame: bytes) -> Pixels:
    """Rows x columns of 16 bits. Raises NotAcceptable for colour, another size and what is not whole."""
    description = frames.description
    if description.samples != 1 or description.bits_allocated != 16:
        raise NotAcceptable("JPEG of 12 bits is decoded where it is grey and has 16 bits allocated.")
    stream = read_stream(BytesIO(encoded_frame), 0, len(encoded_frame))
    if (stream.rows, stream.columns, stream.samples) != (description.rows, description.columns, 1):
        raise NotAcceptable("The JPEG image is of another size than its header says.")
    if _END_OF_IMAGE not in encoded_frame[-_PADDED_END:]:  # GDCM would make the rest of it grey
        raise NotAcceptable("The JPEG image ends early.")
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(encoded_frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((description.columns, description.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(
        gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    )
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, BITS, BITS - 1, 0))
    content = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM gives char* as str
    return np.frombuffer(content, "<u2").reshape(description.rows, description.columns)
