"""Where notifications may be sent: to hosts that the operator has registered, and to the public network."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from gateway.public_network import may_be_asked, url_fault
from gateway.store.partners import Registration

MAX_URL = 500
_PORTS = {"https": 443, "http": 80}


def is_registered(partner: Registration, endpoint: str) -> bool:
    """Whether the operator has registered an endpoint of the partner at the same scheme, host and port."""
    registered = filter(None, (partner.fhir_endpoint, *partner.notify_endpoints))
    return _origin(endpoint) in map(_origin, registered)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def endpoint_fault(partner: Registration, endpoint: str, allow_loopback: bool) -> str:
    """Why nothing is sent to there, in plain words; empty when it may be. Names are looked up when it is sent."""
    if fault := url_fault(endpoint, allow_loopback=True):
        return fault
    if len(endpoint) > MAX_URL:
        return "it is too long"
    if is_registered(partner, endpoint):
        return ""
    if fault := url_fault(endpoint, allow_loopback=allow_loopback):
        return fault
    if _is_inner(urlsplit(endpoint).hostname or "", allow_loopback):
        return "its host is in a private network, and is not one that the operator has registered for you"
    return ""


def _is_inner(host: str, allow_loopback: bool) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" and not allow_loopback
    return not may_be_asked(host, allow_loopback=allow_loopback)
