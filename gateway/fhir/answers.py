"""HTTP answers in FHIR JSON or XML, and what of a request decides them."""

from collections.abc import Iterable
from typing import Any

from flask import Response, g, request
from werkzeug.http import http_date, parse_options_header

from gateway.errors import Issue, NotAcceptable
from gateway.fhir import outcome
from gateway.fhir.releases import in_release, reference_in
from gateway.fhir.served import Served
from gateway.fhir.versions import FORMATS, JSON, SPOKEN, XML, release_named
from gateway.fhir.xml_format import to_xml
from gateway.store.resources import dumps
from mappings.fhir_definitions import Release

_VERSION = "fhirversion"
_SHORT = {"json": JSON, "xml": XML}


def fhir_answer(
    resource: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A resource in the format and the release that are asked for (FHIR R5 3.2.0.1.10, 3.2.0.1.11).

    Who is told that none of them can be had is told so in JSON of R4. Raises NotAcceptable for a type that the
    release has not.
    """
    asked = _asked()
    media_type, release = asked or (JSON, Release.R4)
    resource = in_release(resource, release)
    body = to_xml(resource, release) if media_type == XML else dumps(resource)
    answer = Response(body, status, headers)
    answer.content_type = f"{media_type}; fhirVersion={release.value}; charset=utf-8"
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


def require_fhir_answer() -> None:
    """Raises NotAcceptable when neither ``_format`` nor Accept allows FHIR JSON or XML of a release that is spoken."""
    if _asked() is None:
        raise NotAcceptable(f"The answer can be had as {JSON} and as {XML} only, of FHIR {SPOKEN}.")


def answer_in(release: Release) -> None:
    """What was sent, or the address that was asked, is of a release: so is the answer, unless Accept says otherwise."""
    g.fhir_release = release


def answer_as(media_type: str, release: Release) -> None:
    """As an earlier request asked, whatever this one says."""
    g.fhir_answer_as = media_type, release


def asked_format() -> tuple[str, Release | None]:
    """The media type that is asked for, and the release where one is named. Raises as ``require_fhir_answer`` does."""
    require_fhir_answer()
    media_type, parameters = _wanted() or (JSON, [""])
    return media_type, _first_release(parameters, None)


def answer_release() -> Release:
    asked = _asked()
    return asked[1] if asked else Release.R4


def wants_fhir() -> bool:
    """Whether FHIR is asked for by name, and not only anything."""
    asked = request.args.get("_format", "") or request.headers.get("Accept", "")
    return "json" in asked or "xml" in asked


def _asked() -> tuple[str, Release] | None:
    """Format and release; None: nothing that is asked for can be had."""
    if settled := g.get("fhir_answer_as"):
        media_type, release = settled
        return str(media_type), Release(release)
    wanted = _wanted()
    named = _first_release(wanted[1], _default_release()) if wanted else None
    return (wanted[0], named) if wanted and named else None


def _wanted() -> tuple[str, list[str]] | None:
    """Format, and the parameters by which it is asked for. ``_format`` goes before Accept.

    Of equals the format of what was sent, then JSON; the release as Accept has it, else that of what was sent.
    """
    if asked := request.args.get("_format", ""):
        name, _, parameters = asked.replace("fhir ", "fhir+").casefold().partition(";")
        media_type = _SHORT.get(name.strip()) or FORMATS.get(name.strip())
        found = [parameters] if _VERSION in parameters else _accepted(media_type)
        return (media_type, found) if media_type else None
    if not request.accept_mimetypes:
        return _sent_format(), [""]
    first, *_ = sorted({JSON, XML}, key=lambda one: (-_quality(one), one != _sent_format()))
    return (first, _accepted(first)) if _quality(first) > 0 else None


def _default_release() -> Release:
    found = g.get("fhir_release")
    return found if isinstance(found, Release) else Release.R4


def _accepted(media_type: str | None) -> list[str]:
    """The parameters of every range of Accept that covers a format, what is wanted most first."""
    ranges = [asked.casefold().partition(";") for asked, quality in request.accept_mimetypes if quality > 0]
    covering = [parameters for name, _, parameters in ranges if _covers(name.strip(), media_type or "")]
    return covering or [""]


def _first_release(asked: list[str], default: Release | None) -> Release | None:
    """The first of the releases asked for that is spoken; the default where none is named."""
    for parameters in asked:
        _, options = parse_options_header(f"x;{parameters}")
        named = options.get(_VERSION)
        if not named:
            return default
        if release := release_named(named):
            return release
    return None


def _sent_format() -> str:
    return FORMATS.get(request.mimetype, JSON)


def _quality(wanted: str) -> float:
    """Of the most telling range of Accept that covers one of the format's media types (RFC 9110 12.5.1)."""
    found = [
        (_precision(essence), quality)
        for asked, quality in request.accept_mimetypes
        if _covers(essence := asked.split(";")[0].strip().casefold(), wanted)
    ]
    return max(found, default=(0, 0.0))[1]


def _covers(essence: str, wanted: str) -> bool:
    return essence in ("*/*", "application/*") or FORMATS.get(essence) == wanted


def _precision(essence: str) -> int:
    return 0 if essence == "*/*" else 1 if essence.endswith("/*") else 2


def of_served(served: Served, base: str, resource: dict[str, Any] | None = None) -> Response:
    """One resource, or the part of it that is asked for, with ETag (weak, its version) and Last-Modified (3.1.0.5)."""
    headers = version_headers(served) | {"Content-Location": location_of(served, base)}
    return fhir_answer(resource or served.resource, headers=headers)


def version_headers(served: Served) -> dict[str, str]:
    """The ETag is weak: a version has it in each format and release, which Accept chooses."""
    modified = http_date(served.updated_at)
    return {"ETag": f'W/"{served.version}"', "Last-Modified": modified, "Vary": "Accept"}


def location_of(served: Served, base: str) -> str:
    """The address of the very version, by the names of the release that is answered in."""
    return f"{base}/{reference_in(served.reference, answer_release())}/_history/{served.version}"


def not_modified(served: Served) -> Response | None:
    """The answer when the version that the caller has is the present one (3.1.0.5.1).

    If-Modified-Since only counts where there is no If-None-Match (RFC 9110 13.1.3).
    """
    if request.headers.get("If-None-Match"):
        is_known = request.if_none_match.contains_weak(served.version)
    else:
        since = request.if_modified_since
        is_known = since is not None and served.updated_at.replace(microsecond=0) <= since
    if not is_known:
        return None
    return Response(status=304, headers=version_headers(served))


def searchset(
    matches: Iterable[dict[str, Any]],
    included: Iterable[dict[str, Any]],
    total: int | None,
    base: str,
    links: list[dict[str, str]],
    warnings: Iterable[str],
) -> dict[str, Any]:
    """A Bundle of type searchset (3.1.1.1); what was not honoured stands in an outcome entry."""
    entries = [
        *(_found(resource, base, "match") for resource in matches),
        *(_found(resource, base, "include") for resource in included),
    ]
    issues = [Issue("warning", "not-supported", words) for words in warnings]
    if issues:
        entries.append({"resource": outcome.of_issues(issues), "search": {"mode": "outcome"}})
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        bundle["total"] = total
    bundle["link"] = links
    if entries:
        bundle["entry"] = entries
    return bundle


def _found(resource: dict[str, Any], base: str, mode: str) -> dict[str, Any]:
    url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "search": {"mode": mode}}
