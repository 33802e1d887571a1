"""Content-Encoding of a request: gzip, or none (RFC 9110 8.4; PS3.18 10.5.1.3, FHIR R4 3.1.0.1.13).

Inflated on the way, and never far.
"""

import zlib
from collections.abc import Iterator

from gateway.errors import BodyBroken, TooLarge, UnsupportedMediaType

ACCEPTED = "gzip, identity"
MAX_RATIO = (
    200  # of a body that inflates to more than FREE_BYTES; images are packed to a half, masks to a hundredth
)
FREE_BYTES = 1024 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS


def decoded(chunks: Iterator[bytes], content_encoding: str, max_bytes: int) -> Iterator[bytes]:
    """The body as it was before it was encoded.

    Raises UnsupportedMediaType at once; while reading BodyBroken, and TooLarge past ``max_bytes`` or MAX_RATIO.
    """
    codings = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [coding for coding in codings if coding not in ("", "identity")]
    if not codings:
        return chunks
    if codings not in (["gzip"], ["x-gzip"]):
        raise UnsupportedMediaType("Of content encodings, gzip is taken, and none.")
    return _inflated(chunks, max_bytes)


def _inflated(chunks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """One gzip member, or several after one another (RFC 1952 2.2)."""
    inflater, sent, total = zlib.decompressobj(_GZIP), 0, 0
    for chunk in chunks:
        sent += len(chunk)
        packed = chunk
        while packed:
            if inflater.eof:
                inflater = zlib.decompressobj(_GZIP)
            try:
                found = inflater.decompress(packed, _PIECE_BYTES)
            except zlib.error as error:
                raise BodyBroken("The body says that it is gzip, and cannot be inflated.") from error
            packed = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            total += len(found)
            if total > min(max_bytes, max(FREE_BYTES, sent * MAX_RATIO)):
                raise TooLarge("The gzip body inflates to more than is taken.")
            yield found
    if not inflater.eof:
        raise BodyBroken("The gzip body breaks off before its end.")
