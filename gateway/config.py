"""The one configuration of a process: validated at start, frozen, secrets never in its repr."""

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MIB = 1024 * 1024
_DATABASES = ("sqlite:///", "postgresql://", "postgresql+psycopg://")
_STORES = ("file:", "s3://", "gs://", "az://")


class Config(BaseSettings):
    """Every field is a ``GATEWAY_…`` environment variable and, where it makes sense, an option of ``gateway serve``."""

    model_config = SettingsConfigDict(
        env_prefix="GATEWAY_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    dev: bool = Field(False, description="Loopback only; requests without credentials are partner 'demo'.")
    data_dir: Path = Field(
        Path("gateway-data"), description="Database, objects and keys of a single machine."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    http_port: int = Field(8080, ge=1, le=65535)
    dicom_port: int = Field(11112, ge=0, le=65535, description="0: DICOM over TLS only.")
    dicom_tls_port: int = Field(0, ge=0, le=65535, description="0: no DICOM over TLS.")
    dicom_tls_certificate: Path | None = Field(
        None, description="PEM file of the gateway's certificate, and of those between it and its CA."
    )
    dicom_tls_key: Path | None = Field(None, description="PEM file of its key, where that is another file.")
    dicom_tls_ca: Path | None = Field(
        None,
        description="PEM file of the CAs that issue peers' certificates; default the system's, for servers.",
    )
    dicom_tls_client_certificate: Literal["none", "optional", "required"] = Field(
        "none", description="Whether peers that connect must show one."
    )
    dimse_processes: int = Field(0, ge=0, le=64, description="0: two for each core, four at most.")
    ae_title: str = Field("SECONDOPINION", min_length=1, max_length=16)
    database_url: SecretStr = Field(SecretStr(""), description="SQLAlchemy URL; default SQLite in data_dir.")
    objects_url: str = Field("", description="s3://, gs:// or az:// URL; default files in data_dir.")
    public_url: str = Field(
        "", description="How senders reach the gateway, e.g. https://opinions.example.org"
    )
    proxies: int = Field(
        0, ge=0, description="Reverse proxies in front whose X-Forwarded-For, -Proto and -Host are believed."
    )
    secret_key: SecretStr = Field(
        SecretStr(""), description="Signs session cookies; default made in data_dir."
    )
    programme_name: str = Field("Remote Second Opinion Programme")
    max_fhir_bytes: int = Field(64 * MIB, ge=1, description="Largest FHIR request body.")
    max_stow_bytes: int = Field(16 * 1024 * MIB, ge=1, description="Largest STOW-RS request body.")
    max_associations: int = Field(16, ge=1, description="DICOM associations at one time.")
    max_associations_of_partner: int = Field(12, ge=1, description="Of them, those of one partner's AEs.")
    web_threads: int = Field(
        64, ge=1, description="HTTP requests at one time; those past it wait, or displace slow peers."
    )
    http_connections: int = Field(
        512, ge=2, description="HTTP connections at one time; a new one displaces one that waits."
    )
    head_seconds: float = Field(10, gt=0, description="From the first byte of a request's head to its last.")
    silence_seconds: float = Field(
        60, gt=0, description="Longest wait for a peer in a body or an answer, and how far it may lag behind:"
    )
    slowest_bytes_per_second: int = Field(
        1024, ge=1, description="The slowest rate at which a peer sends a body or takes an answer."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO")

    @field_validator("ae_title")
    @classmethod
    def _printable(cls, value: str) -> str:
        """PS3.5 6.2: VR AE, 16 characters at most, no backslash or control characters."""
        if not value.strip() or "\\" in value or not value.isascii() or not value.isprintable():
            raise ValueError("an AE title is 1 to 16 printable ASCII characters without backslash")
        return value.strip()

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _of_a_known_database(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not value.get_secret_value().startswith(_DATABASES):
            raise ValueError(f"a database URL begins with {', '.join(_DATABASES)}")
        return value

    @field_validator("objects_url")
    @classmethod
    def _of_a_known_store(cls, value: str) -> str:
        if value and not value.startswith(_STORES):
            raise ValueError(f"an object store's URL begins with {', '.join(_STORES)}")
        return value

    @field_validator("public_url")
    @classmethod
    def _reachable_by_http(cls, value: str) -> str:
        if value and not _is_base_url(value):
            raise ValueError("the gateway is reached at a URL such as https://opinions.example.org")
        return value

    @model_validator(mode="after")
    def _dev_stays_on_loopback(self) -> Self:
        if self.dev and self.host not in LOOPBACK:
            raise ValueError(
                f"--dev lets anybody in and therefore binds to loopback only, not to {self.host}"
            )
        return self

    @model_validator(mode="after")
    def _others_know_how_to_reach_it(self) -> Self:
        """What is announced to hospitals, such as token_endpoint, is where they can go."""
        if self.host not in LOOPBACK and not self.public_url:
            raise ValueError(
                f"on {self.host} GATEWAY_PUBLIC_URL must say how senders reach the gateway, "
                "such as https://opinions.example.org"
            )
        return self

    @model_validator(mode="after")
    def _dicom_is_served(self) -> Self:
        if not self.dicom_port and not self.dicom_tls_port:
            raise ValueError("dicom_port and dicom_tls_port are both 0: no DICOM peer could connect")
        if self.dicom_tls_port and self.dicom_tls_certificate is None:
            raise ValueError("dicom_tls_port needs the certificate of GATEWAY_DICOM_TLS_CERTIFICATE")
        if self.dicom_tls_client_certificate != "none" and self.dicom_tls_ca is None:
            raise ValueError("dicom_tls_client_certificate needs the issuers of GATEWAY_DICOM_TLS_CA")
        return self

    @model_validator(mode="after")
    def _connections_outnumber_threads(self) -> Self:
        if self.http_connections <= self.web_threads:
            raise ValueError("http_connections must be more than web_threads: others must be able to wait")
        return self

    @property
    def sqlalchemy_url(self) -> str:
        return (
            self.database_url.get_secret_value() or f"sqlite:///{self.data_dir.resolve() / 'gateway.sqlite'}"
        )

    @property
    def dimse_process_count(self) -> int:
        return self.dimse_processes or min(4, 2 * len(os.sched_getaffinity(0)))

    @property
    def base_url(self) -> str:
        """Scheme, host and port under which the gateway is reached, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.http_port}").rstrip("/")

    @property
    def host_names(self) -> frozenset[str]:
        """What an HTTP request may call the gateway."""
        named = () if self.dev else (self.host.lower(), urlsplit(self.base_url).hostname or "")
        return LOOPBACK.union(named)

    @property
    def origins(self) -> frozenset[str]:
        """Of the gateway's own pages (RFC 6454 6.1)."""
        loopback = ("127.0.0.1", "[::1]", "localhost") if self.host in LOOPBACK else ()
        return frozenset({self.base_url, *(f"http://{name}:{self.http_port}" for name in loopback)})

    @property
    def fhir_base(self) -> str:
        return f"{self.base_url}/fhir"


def _is_base_url(text: str) -> bool:
    """Scheme, host, perhaps a port and a path; no user, query or fragment."""
    try:
        url = urlsplit(text)
        named = url.hostname is not None and url.port != 0
    except ValueError:
        return False
    return named and url.scheme in ("http", "https") and not (url.query or url.fragment or "@" in url.netloc)
