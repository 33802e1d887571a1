"""Which JWKS URLs and which addresses behind them may be asked at all, and for how long an answer is believed."""

import pytest

from gateway.auth.jwks_client import cache_seconds
from gateway.public_network import may_be_asked, url_fault

UNUSABLE = "it must be an https URL with a host, without user name and fragment"


@pytest.mark.parametrize(
    "url",
    [
        "https://hospital.example.org/jwks.json",
        "https://hospital.example.org:8443/keys?tenant=1",
        "https://[2001:db8::1]/jwks",
    ],
)
def test_an_https_url_may_be_registered(url):
    assert url_fault(url, allow_loopback=False) == ""


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://hospital.example.org/jwks", "it must be an https URL"),
        ("http://127.0.0.1:9000/jwks", "it must be an https URL"),
        ("ftp://hospital.example.org/jwks", "it must be an https URL"),
        ("file:///etc/passwd", UNUSABLE),
        ("https:///jwks", UNUSABLE),
        ("https://user:word@hospital.example.org/", UNUSABLE),
        ("https://hospital.example.org/#keys", UNUSABLE),
        ("https://hospital.example.org/a b", UNUSABLE),
        ("https://hospital.example.org/\r\nX: y", UNUSABLE),
        ("https://hospital.example.org:99999/", "it is no URL"),
        ("https://[::1/", "it is no URL"),
        ("", UNUSABLE),
    ],
)
def test_any_other_url_may_not(url, fault):
    assert url_fault(url, allow_loopback=False) == fault


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/jwks", "http://localhost/jwks", "http://[::1]:9000/jwks"]
)
def test_plain_http_is_for_a_gateway_that_is_on_loopback_itself(url):
    assert url_fault(url, allow_loopback=True) == ""
    assert url_fault(url, allow_loopback=False) == "it must be an https URL"
    assert url_fault("http://hospital.example.org/jwks", allow_loopback=True) == "it must be an https URL"


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_public_addresses_are_asked(address):
    assert may_be_asked(address, allow_loopback=False)


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "fc00::1", "fe80::1", "fe80::1%eth0", "::", "ff02::1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_addresses_of_the_gateways_own_network_are_never_asked(address):
    assert not may_be_asked(address, allow_loopback=False)
    assert not may_be_asked(address, allow_loopback=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_asked_only_where_it_is_allowed(address):
    assert may_be_asked(address, allow_loopback=True)
    assert not may_be_asked(address, allow_loopback=False)


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("", 600),
        ("public, max-age=120", 120),
        ("Max-Age=120", 120),
        ("s-maxage=5, max-age=90", 90),
        ("max-age=0", 10),
        ("max-age=86400", 3600),
        ("no-store, max-age=500", 10),
        ("no-cache", 10),
        ("max-age=soon", 600),
    ],
)
def test_keys_are_not_believed_longer_than_the_partner_says(cache_control, seconds):
    assert cache_seconds(cache_control) == seconds
