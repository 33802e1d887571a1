"""Which URLs of partners may be called: https, and no host of the gateway's own network.

The address is checked after the name is resolved, and the caller connects to that very address, so that a name cannot
point into the gateway's own network.
"""

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052 2.1


def url_fault(url: str, *, allow_loopback: bool) -> str:
    """What is wrong with a partner's URL, in plain words; empty when it may be asked."""
    try:
        parts = urlsplit(url)
        names_a_host = bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return "it is no URL"
    if not names_a_host or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        return "it must be an https URL with a host, without user name and fragment"
    if parts.scheme == "https" or (
        parts.scheme == "http" and allow_loopback and _names_loopback(parts.hostname or "")
    ):
        return ""
    return "it must be an https URL"


def _names_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def addresses(parts: SplitResult, *, allow_loopback: bool) -> list[tuple[str, int]]:
    """Those of the URL's host, with its port; none when any of them is in no public network. Raises OSError."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    resolved = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    found = [str(entry[4][0]) for entry in resolved]
    if not all(may_be_asked(address, allow_loopback=allow_loopback) for address in found):
        return []
    return [(address, port) for address in found]


def may_be_asked(address: str, *, allow_loopback: bool) -> bool:
    """Only addresses of the public network, and of this machine where that is allowed."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _embedded(ip) or ip
    return (ip.is_global and not ip.is_multicast) or (ip.is_loopback and allow_loopback)


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
