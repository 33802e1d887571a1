"""Partners, their application entities and their keys."""

from dataclasses import asdict, dataclass, field
from typing import Any, cast

from sqlalchemy import Table, bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from gateway.case.access import Partner
from gateway.clock import utc_now
from gateway.errors import Conflict, NotFound
from gateway.store.tables import PartnerAeRow, PartnerRow

DEMO_PARTNER_ID = "demo"
_PARTNER, _AE = cast(Table, PartnerRow.__table__), cast(Table, PartnerAeRow.__table__)
_MARK = (
    select(*_AE.columns, *_PARTNER.columns)
    .where(_AE.c.partner_id == _PARTNER.c.id)
    .where(_AE.c.ae_title == bindparam("title"))
)


@dataclass(frozen=True, slots=True)
class ApplicationEntity:
    """A partner's DICOM peer.

    ``host`` and ``port`` are needed only where the gateway calls it, with ``tls`` or without. It calls the gateway from
    one of ``addresses`` (IP addresses, or networks in CIDR), else from ``host`` where there is one; by
    ``called_ae_title``, else by the gateway's own title; and with ``certificate`` where one is registered, which is
    ``sha256:`` and 64 hex digits, or its subject (RFC 4514).
    """

    ae_title: str
    host: str = ""
    port: int = 0
    called_ae_title: str = ""
    addresses: tuple[str, ...] = ()
    certificate: str = ""
    tls: bool = False


@dataclass(frozen=True, slots=True)
class DicomWebEndpoint:
    """The base URL of a partner's DICOMweb service, and the Retrieve Location UID (0040,E011) that stands for it."""

    url: str
    location_uid: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """All that is known of a partner. ``jwks`` or ``jwks_url`` verifies its client assertions.

    Reports are pushed to ``fhir_endpoint``; where there is a ``fhir_token_url``, with a token that the gateway gets
    there as ``fhir_client_id``. Without ``fhir_scopes`` it asks for what the transaction needs. The hosts of
    ``notify_endpoints`` and of the ``fhir_endpoint`` may be sent notifications also in an inner network. Images are
    fetched from ``dicomweb_endpoints`` and from application entities with an address, and from nowhere else: with a
    token in the same way, or by the ``dicomweb_login`` (``name:password``, HTTP Basic). One that is ``disabled`` is
    known no more at any door, is sent nothing and asked for nothing; what it sent stays.
    """

    id: str
    name: str
    assigning_authority: str = ""
    jwks: dict[str, Any] | None = None
    jwks_url: str = ""
    scopes: tuple[str, ...] = ("system/*.cruds",)
    fhir_endpoint: str = ""
    fhir_token_url: str = ""
    fhir_client_id: str = ""
    fhir_scopes: tuple[str, ...] = ()
    notify_endpoints: tuple[str, ...] = ()
    dicomweb_endpoints: tuple[DicomWebEndpoint, ...] = ()
    dicomweb_token_url: str = ""
    dicomweb_client_id: str = ""
    dicomweb_scopes: tuple[str, ...] = ()
    dicomweb_login: str = field(default="", repr=False)
    application_entities: tuple[ApplicationEntity, ...] = ()
    disabled: bool = False

    @property
    def partner(self) -> Partner:
        return Partner(self.id, self.name, self.assigning_authority, self.scopes)


def default_assigning_authority(partner_id: str) -> str:
    """The issuer of identifiers that name none: the partner itself (decision 4)."""
    return f"urn:second-opinion:partner:{partner_id}"


def add(session: Session, new: Registration) -> None:
    """Register a partner. Raises Conflict when the id or an AE title is taken."""
    if session.get(PartnerRow, new.id) is not None:
        raise Conflict(f"Partner {new.id} is registered already.")
    _write(session, PartnerRow(id=new.id, created_at=utc_now()), new)


def change(session: Session, new: Registration) -> None:
    """Write a registration anew. Raises NotFound, Conflict when an AE title is taken."""
    _write(session, _row(session, new.id, lock=True), new)


def set_disabled(session: Session, partner_id: str, disabled: bool) -> None:
    """Raises NotFound."""
    row = _row(session, partner_id, lock=True)
    row.disabled_at = (row.disabled_at or utc_now()) if disabled else None
    session.flush()


def _write(session: Session, row: PartnerRow, new: Registration) -> None:
    for ae in new.application_entities:
        owner = session.get(PartnerAeRow, ae.ae_title)
        if owner is not None and owner.partner_id != new.id:
            raise Conflict(f"AE title {ae.ae_title} belongs to a partner already.")
    row.name = new.name
    row.assigning_authority = new.assigning_authority or default_assigning_authority(new.id)
    row.jwks, row.jwks_url = new.jwks, new.jwks_url
    row.scopes = list(new.scopes)
    row.fhir_endpoint, row.fhir_token_url = new.fhir_endpoint, new.fhir_token_url
    row.fhir_client_id, row.fhir_scopes = new.fhir_client_id, list(new.fhir_scopes)
    row.notify_endpoints = list(new.notify_endpoints)
    row.dicomweb_endpoints = [asdict(endpoint) for endpoint in new.dicomweb_endpoints]
    row.dicomweb_token_url, row.dicomweb_client_id = new.dicomweb_token_url, new.dicomweb_client_id
    row.dicomweb_scopes, row.dicomweb_login = list(new.dicomweb_scopes), new.dicomweb_login
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
            _write_application_entities(session, new)
    except IntegrityError as error:  # somebody else took one of them this moment
        raise Conflict(f"Partner {new.id} or one of its AE titles is registered already.") from error


def _write_application_entities(session: Session, new: Registration) -> None:
    session.execute(delete(PartnerAeRow).where(PartnerAeRow.partner_id == new.id))
    session.add_all(
        PartnerAeRow(partner_id=new.id, **(asdict(ae) | {"addresses": list(ae.addresses)}))
        for ae in new.application_entities
    )


def get(session: Session, partner_id: str, *, lock: bool = False) -> Registration:
    """Raises NotFound. ``lock`` reads it anew and keeps others from changing it until the end of the transaction."""
    return _registration(session, _row(session, partner_id, lock=lock))


def _row(session: Session, partner_id: str, *, lock: bool = False) -> PartnerRow:
    found = session.get(PartnerRow, partner_id, with_for_update=lock, populate_existing=lock)
    if found is None:
        raise NotFound(f"No partner {partner_id}.")
    return found


def lock(session: Session, partner: Partner) -> None:
    """Let one transaction at a time change what this partner sent (SQLite has one writer anyway)."""
    session.execute(select(PartnerRow.id).where(PartnerRow.id == partner.id).with_for_update(key_share=True))


def by_calling_ae(session: Session, ae_title: str) -> tuple[Registration, ApplicationEntity] | None:
    """The partner that a calling AE title belongs to, and the application entity of that title."""
    row = session.get(PartnerAeRow, ae_title.strip())
    return (get(session, row.partner_id), _application_entity(row)) if row else None


def mark(session: Session, ae_title: str) -> tuple[Any, ...] | None:
    """All that is registered of a calling AE title: the same again as long as the operator has changed nothing."""
    found = session.connection().execute(_MARK, {"title": ae_title.strip()}).first()
    return None if found is None else tuple(found)


def every(session: Session) -> list[Registration]:
    return [
        _registration(session, row) for row in session.scalars(select(PartnerRow).order_by(PartnerRow.id))
    ]


def _registration(session: Session, row: PartnerRow) -> Registration:
    entities = session.scalars(
        select(PartnerAeRow).where(PartnerAeRow.partner_id == row.id).order_by(PartnerAeRow.ae_title)
    )
    return Registration(
        id=row.id,
        name=row.name,
        assigning_authority=row.assigning_authority,
        jwks=row.jwks,
        jwks_url=row.jwks_url,
        scopes=tuple(row.scopes),
        fhir_endpoint=row.fhir_endpoint,
        fhir_token_url=row.fhir_token_url,
        fhir_client_id=row.fhir_client_id,
        fhir_scopes=tuple(row.fhir_scopes),
        notify_endpoints=tuple(row.notify_endpoints),
        dicomweb_endpoints=tuple(DicomWebEndpoint(**endpoint) for endpoint in row.dicomweb_endpoints),
        dicomweb_token_url=row.dicomweb_token_url,
        dicomweb_client_id=row.dicomweb_client_id,
        dicomweb_scopes=tuple(row.dicomweb_scopes),
        dicomweb_login=row.dicomweb_login,
        application_entities=tuple(map(_application_entity, entities)),
        disabled=row.disabled_at is not None,
    )


def _application_entity(row: PartnerAeRow) -> ApplicationEntity:
    return ApplicationEntity(
        ae_title=row.ae_title,
        host=row.host,
        port=row.port,
        called_ae_title=row.called_ae_title,
        addresses=tuple(row.addresses),
        certificate=row.certificate,
        tls=row.tls,
    )
