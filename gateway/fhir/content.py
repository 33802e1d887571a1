"""The bytes of a resource or bundle in either format and any release: read as what they are."""

from collections.abc import Callable
from typing import Any

from gateway.fhir import versions
from gateway.fhir.bundle import release_of
from gateway.fhir.json_format import read_json
from gateway.fhir.xml_format import read_xml
from mappings.fhir_definitions import Release


def read_content(
    read: Callable[[], bytes], sent: str, told: Release | None
) -> tuple[dict[str, Any], Release]:
    """``sent`` is the format, ``told`` the release by the media type. Raises NotFhir, UnsupportedVersion.

    ``read`` gives the body once; nobody holds it longer than it is needed.

    XML has to be read as its release, and what release it is stands in it where the media type does not say.
    """
    if sent == versions.JSON:
        content = read_json(read())
        return content, release_of(content, told)
    body = read()
    supposed = told or Release.R4
    content = read_xml(body, supposed)
    release = release_of(content, told)
    return (content if release is supposed else read_xml(body, release)), release
