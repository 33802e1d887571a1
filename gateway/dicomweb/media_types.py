"""Media types as DICOMweb peers write them: several, in any order, quoted or not (RFC 9110 8.3, 12.5.1; PS3.18 8.7)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.errors import NotAcceptable

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
OCTET_STREAM = "application/octet-stream"
MULTIPART_RELATED = "multipart/related"
_ANY = "*/*"
_QUOTED_OR_PLAIN = re.compile(r'(?:[^",;]|"(?:\\.|[^"\\])*"?)+|[,;]')


@dataclass(frozen=True, slots=True)
class MediaType:
    """``essence`` is type/subtype in lower case; parameter names are in lower case, values as sent.

    ``refused`` are narrower ranges that the same header excludes by q=0 (RFC 9110 12.5.1).
    """

    essence: str
    parameters: dict[str, str]
    quality: float = 1.0
    refused: tuple["MediaType", ...] = ()

    def parameter(self, name: str) -> str:
        return self.parameters.get(name, "")

    def covers(self, essence: str, of: str = "") -> bool:
        """Whether this range of an Accept header includes the media type; ``of``: what its parts are."""
        return self._includes(essence) and not self.refuses(essence, of)

    def refuses(self, essence: str, of: str = "") -> bool:
        return any(
            one._includes(essence) and set(one.parameters) <= {"type"} and one.parameter("type") in ("", of)
            for one in self.refused
        )

    def _includes(self, essence: str) -> bool:
        return self.essence in (essence, _ANY, f"{essence.split('/')[0]}/*")

    @property
    def narrowness(self) -> int:
        """The more exact range tells (RFC 9110 12.5.1)."""
        return 2 - self.essence.count("*") + bool(self.parameters)


def parse(header: str) -> MediaType:
    """The one media type of a Content-Type header; its essence is '' when there is none."""
    return next(iter(_parse_list(header)), MediaType("", {}))


def accepted(header: str) -> list[MediaType]:
    """The ranges of an Accept header, the most wanted first; everything where none was sent."""
    ranges = list(_parse_list(header))
    if not ranges and not header.strip():
        return [MediaType(_ANY, {})]
    refused = [one for one in ranges if one.quality == 0]
    found = [_without(one, refused) for one in ranges if one.quality > 0]
    return sorted(found, key=lambda one: -one.quality)


def _without(wanted: MediaType, refused: list[MediaType]) -> MediaType:
    return replace(wanted, refused=tuple(one for one in refused if one.narrowness > wanted.narrowness))


def require_json(header: str) -> None:
    """Raises NotAcceptable unless the peer takes DICOM JSON, which is all that is written here besides DICOM itself."""
    if not any(_is_json(one) for one in accepted(header)):
        raise NotAcceptable(f"This is answered as {DICOM_JSON} only, which the Accept header does not allow.")


def json_or_xml(header: str) -> str:
    """DICOM_JSON, which is the default (8.7.4), or DICOM_XML where the peer would rather have that, in parts or alone.

    Raises NotAcceptable when it takes neither.
    """
    for wanted in accepted(header):
        if _is_json(wanted):
            return DICOM_JSON
        in_parts = wanted.covers(MULTIPART_RELATED, DICOM_XML) and wanted.parameter("type").lower() in (
            "",
            DICOM_XML,
        )
        if in_parts or wanted.essence == DICOM_XML:
            return DICOM_XML
    raise NotAcceptable(
        f'This is answered as {DICOM_JSON} or {MULTIPART_RELATED}; type="{DICOM_XML}", and the Accept header allows '
        "neither."
    )


def _is_json(wanted: MediaType) -> bool:
    return wanted.covers(DICOM_JSON) or wanted.essence == "application/json"


def _parse_list(header: str) -> Iterable[MediaType]:
    pieces: list[str] = []
    for piece in [*_QUOTED_OR_PLAIN.findall(header), ","]:
        if piece != ",":
            pieces.append(piece)
            continue
        if any(one.strip(" ;\t") for one in pieces):
            yield _media_type(pieces)
        pieces = []


def _media_type(pieces: list[str]) -> MediaType:
    essence, *rest = [piece.strip() for piece in pieces if piece != ";"]
    pairs = [piece.partition("=") for piece in rest if "=" in piece]
    parameters = {name.strip().lower(): _unquoted(value.strip()) for name, _, value in pairs}
    return MediaType(essence.lower(), parameters, _quality(parameters.pop("q", "1")))


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        return re.sub(r"\\(.)", r"\1", value.strip('"'))
    return value


def _quality(value: str) -> float:
    try:
        return min(max(float(value), 0.0), 1.0)
    except ValueError:
        return 1.0
