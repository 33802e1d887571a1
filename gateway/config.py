"""The one configuration of a process: validated at start, frozen, secrets never in its repr."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MIB = 1024 * 1024


class Config(BaseSettings):
    """Every field is a ``GATEWAY_…`` environment variable and, where it makes sense, an option of ``gateway serve``."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore")

    dev: bool = Field(False, description="Loopback only; requests without credentials are partner 'demo'.")
    data_dir: Path = Field(
        Path("gateway-data"), description="Database, objects and keys of a single machine."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    http_port: int = Field(8080, ge=1, le=65535)
    dicom_port: int = Field(11112, ge=1, le=65535)
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
    max_fhir_bytes: int = Field(64 * MIB, description="Largest FHIR request body.")
    max_stow_bytes: int = Field(16 * 1024 * MIB, description="Largest STOW-RS request body.")
    max_associations: int = Field(16, description="DICOM associations at one time.")
    web_threads: int = Field(16, ge=1)
    log_level: str = Field("INFO")

    @field_validator("ae_title")
    @classmethod
    def _printable(cls, value: str) -> str:
        """PS3.5 6.2: VR AE, 16 characters at most, no backslash or control characters."""
        if not value.strip() or "\\" in value or not value.isascii() or not value.isprintable():
            raise ValueError("an AE title is 1 to 16 printable ASCII characters without backslash")
        return value.strip()

    @model_validator(mode="after")
    def _dev_stays_on_loopback(self) -> Self:
        if self.dev and self.host not in LOOPBACK:
            raise ValueError(
                f"--dev lets anybody in and therefore binds to loopback only, not to {self.host}"
            )
        return self

    @property
    def sqlalchemy_url(self) -> str:
        return (
            self.database_url.get_secret_value() or f"sqlite:///{self.data_dir.resolve() / 'gateway.sqlite'}"
        )

    @property
    def base_url(self) -> str:
        """Scheme, host and port under which the gateway is reached, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.http_port}").rstrip("/")

    @property
    def fhir_base(self) -> str:
        return f"{self.base_url}/fhir"
