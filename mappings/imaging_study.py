"""FHIR ImagingStudy and the Endpoints that it names -> what should be had, and where (R4 ImagingStudy, Endpoint).

So too in the form of IHE RAD MADO's FHIR imaging study manifest, where every series names its Endpoint and its
instances. R5 writes an endpoint's connectionType as a list of concepts, which is read as well.
"""

import re
from collections.abc import Iterator
from typing import Any

from gateway.case.model import ExpectedSeries, ExpectedStudy, Identifier, ImagingPlace
from mappings.fhir_bag import Bag, Sourced
from mappings.fhir_elements import Resource, coded, has_code, objects, text

_DICOMWEB = frozenset({"dicom-wado-rs", "dicom-qido-rs"})
_NOT_FOR_FETCHING = frozenset({"dicom-stow-rs", "ihe-iid", "web-viewer"})
_CLOSED = frozenset({"off", "entered-in-error"})
_DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_LOCATION_UID = re.compile(r"location-?uid(-?extension)?$", re.IGNORECASE)
_OID_PREFIX = re.compile(r"^(urn:)?oid:")


def expected_study(study: Sourced, bag: Bag, assigning_authority: str) -> ExpectedStudy:
    """What an ImagingStudy says exists; UID from ``urn:dicom:uid``, accession by type ACSN (v2-0203).

    Study-level and series-level Endpoints are all places of the study: one that does not have a series says so.
    """
    content = study.content
    uid, accession = _identifiers(content, assigning_authority)
    series = objects(content.get("series"))
    named = [content.get("endpoint"), *(one.get("endpoint") for one in series)]
    return ExpectedStudy(
        study_instance_uid=uid,
        accession=accession,
        description=text(content.get("description")) or _study_words(content),
        series_count=_count(content.get("numberOfSeries")),
        instance_count=_count(content.get("numberOfInstances")),
        series=tuple(map(_expected_series, series)),
        source=study.source,
        places=tuple(dict.fromkeys(place for value in named for place in _places(study, bag, value))),
    )


def _identifiers(content: Resource, assigning_authority: str) -> tuple[str, Identifier | None]:
    """The UID with or without ``urn:oid:``, which MADO leaves out; the accession also of ImagingStudy.basedOn."""
    uid, accession = "", None
    orders = [order.get("identifier") for order in objects(content.get("basedOn"))]
    for item in objects([*objects(content.get("identifier")), *orders]):
        value = text(item.get("value"))
        if value.startswith("urn:oid:") or text(item.get("system")) == "urn:dicom:uid":
            uid = uid or value.removeprefix("urn:oid:")
        elif has_code(item.get("type"), "ACSN") and value:
            accession = Identifier(value, text(item.get("system")) or assigning_authority)
    return uid, accession


def _study_words(content: Resource) -> str:
    return ", ".join(coded(c).text for c in objects(content.get("modality") or content.get("procedureCode")))


def _expected_series(item: Resource) -> ExpectedSeries:
    counted = _count(item.get("numberOfInstances"))
    uids = [text(instance.get("uid")).removeprefix("urn:oid:") for instance in objects(item.get("instance"))]
    listed = tuple(dict.fromkeys(uid for uid in uids if uid))
    return ExpectedSeries(
        text(item.get("uid")).removeprefix("urn:oid:"),
        coded(item.get("modality")).text,
        counted or len(uids) or None,
        listed,
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _places(holder: Sourced, bag: Bag, endpoints: Any) -> Iterator[ImagingPlace]:
    """By literal or contained reference, or by the identifier of an Endpoint that the records hold (R4 2.3.0.2)."""
    for value in objects(endpoints):
        found = bag.follow(holder, value) or _by_identifier(bag, value.get("identifier"))
        if found is not None and found.type == "Endpoint":
            yield from _places_of(found.content)


def _by_identifier(bag: Bag, identifier: Any) -> Sourced | None:
    if not isinstance(identifier, dict) or not text(identifier.get("value")):
        return None
    wanted = (text(identifier.get("system")), text(identifier.get("value")))
    return next((e for e in bag.every("Endpoint") if wanted in _identities(e.content)), None)


def _identities(endpoint: Resource) -> list[tuple[str, str]]:
    return [(text(i.get("system")), text(i.get("value"))) for i in objects(endpoint.get("identifier"))]


def _places_of(endpoint: Resource) -> Iterator[ImagingPlace]:
    kinds = {
        code for concept in objects(endpoint.get("connectionType")) for _, code in coded(concept).codings
    }
    if text(endpoint.get("status")) in _CLOSED or kinds <= _NOT_FOR_FETCHING:
        return
    if not kinds & _DICOMWEB:
        yield ImagingPlace(other=min(kinds))
        return
    if (address := text(endpoint.get("address"))) and not _is_absent(endpoint.get("_address")):
        yield ImagingPlace(url=address)
    if location_uid := _location_uid(endpoint):
        yield ImagingPlace(location_uid=location_uid)


def _is_absent(primitive: Any) -> bool:
    """MADO writes a placeholder where there is only a location UID, and says so by an extension."""
    extensions = objects(primitive.get("extension")) if isinstance(primitive, dict) else []
    return any(extension.get("url") == _DATA_ABSENT for extension in extensions)


def _location_uid(endpoint: Resource) -> str:
    """MADO's extension Retrieve Location UID: (0040,E011) of the archive."""
    for extension in objects(endpoint.get("extension")):
        if _LOCATION_UID.search(text(extension.get("url"))):
            value = next((text(v) for k, v in extension.items() if k.startswith("value")), "")
            return _OID_PREFIX.sub("", value)
    return ""
