"""``gateway check``: files as a hospital would send them, with the answer that each would get; nothing is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import SecretStr

from gateway.auth import accounts
from gateway.case.access import Origin, Partner
from gateway.config import Config
from gateway.errors import GatewayError
from gateway.fhir import outcome, preflight, versions
from gateway.fhir.bundle import read_submission
from gateway.fhir.content import read_content
from gateway.processes.prepare import migrate
from gateway.services import Services, build_services
from gateway.store import partners
from gateway.store.objects import Spool
from gateway.store.partners import Registration
from gateway.workflow import disclosure
from gateway.workflow.check_bundle import check_bundle

_ORIGIN = Origin("command")
_CHUNK_BYTES = 1024 * 1024
_XML_BEGINS = b"<"

Issues = list[dict[str, Any]]


@contextmanager
def by_itself(config: Config) -> Iterator[tuple[Services, Partner]]:
    """A gateway that knows nothing and is gone afterwards, whatever the environment says of another."""
    with TemporaryDirectory() as folder:
        alone = config.model_copy(
            update={"data_dir": Path(folder), "database_url": SecretStr(""), "objects_url": ""}
        )
        migrate(alone)
        services = build_services(alone)
        try:
            yield services, accounts.add_partner(services, Registration("hospital", "Hospital")).partner
        finally:
            _close(services)


@contextmanager
def as_partner(services: Services, partner_id: str) -> Iterator[tuple[Services, Partner]]:
    """Beside what the partner has sent so far. Raises NotFound."""
    try:
        with services.database.reading() as session:
            partner = partners.get(session, partner_id).partner
        yield services, partner
    finally:
        _close(services)


def _close(services: Services) -> None:
    services.limited.close()
    services.database.close()


def check_file(services: Services, partner: Partner, path: Path) -> Issues:
    """OperationOutcome.issue of what the file would be answered; of a resource that is no Bundle, of $validate."""
    try:
        with services.objects.spool(services.config.max_fhir_bytes) as spool:
            _fill(spool, path)
            return _checked(services, partner, spool)
    except GatewayError as error:
        return list(outcome.of_error(error)["issue"])


def _fill(spool: Spool, path: Path) -> None:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            spool.write(chunk)


def _checked(services: Services, partner: Partner, spool: Spool) -> Issues:
    with spool.reader() as reader:
        body = reader.read()
    is_xml = body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_XML_BEGINS)
    content_type = versions.XML if is_xml else versions.JSON
    resource, release = read_content(lambda: body, content_type, None)
    type_name = str(resource.get("resourceType"))
    if type_name != "Bundle":
        disclosure.record(services, partner, disclosure.VALIDATE, type_name[:64], _ORIGIN)
        return list(preflight.of_validation(resource, type_name, release)["issue"])
    disclosure.record(services, partner, disclosure.CHECK, "Bundle", _ORIGIN)
    submission = read_submission(resource, release)
    checked = check_bundle(services, partner, spool, submission, _ORIGIN, content_type)
    return list(preflight.of_check(checked, resource, release)["issue"])
