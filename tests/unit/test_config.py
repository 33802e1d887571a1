"""The configuration: what can be, and what is refused before anything starts."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config import Config


@pytest.mark.parametrize(
    "url", ["foo", "opinions.example.org", "ftp://h.example", "https://", "https://h:port", "https://h?a=b"]
)
def test_a_public_url_that_nobody_can_reach_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match=r"such as https://"):
        Config(public_url=url)


@pytest.mark.parametrize(
    "url", ["https://opinions.example.org/", "http://10.0.0.1:8080", "https://h.example/so"]
)
def test_a_public_url_is_what_is_announced(url: str) -> None:
    assert Config(host="0.0.0.0", public_url=url).fhir_base == f"{url.rstrip('/')}/fhir"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_an_address_that_others_reach_needs_a_public_url(host: str) -> None:
    with pytest.raises(ValidationError, match="GATEWAY_PUBLIC_URL"):
        Config(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_the_address_itself_is_announced(host: str) -> None:
    assert host in Config(host=host).base_url


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_fhir_bytes": 0},
        {"max_stow_bytes": -1},
        {"max_associations": 0},
        {"web_threads": -4},
        {"proxies": -1},
        {"log_level": "LOUD"},
        {"database_url": "mysql://h/x"},
        {"database_url": "gateway.sqlite"},
        {"objects_url": "bucket"},
        {"objects_url": "ftp://h/x"},
    ],
)
def test_a_setting_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        Config(**wrong)
    assert [fault["loc"] for fault in refused.value.errors()] == [tuple(wrong)]


def test_a_log_level_may_be_written_small() -> None:
    assert Config(log_level="warning").log_level == "WARNING"


def test_a_refused_database_url_does_not_show_its_password() -> None:
    with pytest.raises(ValidationError) as refused:
        Config(database_url="mysql://gateway:geheim@h/x")
    assert "geheim" not in str(refused.value)
