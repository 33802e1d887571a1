"""A hospital that says where its images are, and a gateway in this process whose worker is turned by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydicom import dcmread
from sqlalchemy import select

from gateway.app import create_app
from gateway.auth import accounts
from gateway.case.access import NO_ORIGIN, SYSTEM_ACTOR, Partner, Role, User
from gateway.case.fetching import Fetch
from gateway.case.model import Case
from gateway.services import Services
from gateway.store import cases, receipts
from gateway.store.objects import read_bytes
from gateway.store.partners import DicomWebEndpoint
from gateway.store.tables import FetchRow, InstanceRow, ReceiptRow, StudyRow
from gateway.workflow import durable, fetch, fetch_plan, intake, place_study
from tests.support.bundles import FHIR_JSON, imaging_study, referral
from tests.support.dicom_files import multipart, related
from tests.support.fhir_receiver import Answer
from tests.support.hospital import images
from tests.support.in_process import migrated_services

INTAKE = User("intake", "Ines Intake", frozenset({Role.INTAKE}))
WADO_RS = {
    "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
    "code": "dicom-wado-rs",
}


def endpoint(address: str, code: str = "dicom-wado-rs", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Endpoint",
        "status": "active",
        "connectionType": WADO_RS | {"code": code},
        "payloadType": [{"text": "DICOM"}],
        "address": address,
    } | more


class Imaging:
    """A CT stack of a child of its own, with what a referral says of it; ``attributes`` are those of each image."""

    def __init__(self, count: int = 4, mrn: str = "", **attributes: Any) -> None:
        self.mrn = mrn or uuid4().hex[:10]
        self.study = f"2.25.{uuid4().int}"
        self.series = f"{self.study}.1"
        self.files = images(self.mrn, count, self.study, self.series, **attributes)
        self.uids = [f"{self.series}.{number}" for number in range(1, count + 1)]

    def attributed(self, at: int, **attributes: Any) -> bytes:
        """The file of that index with other attributes."""
        ds = dcmread(BytesIO(self.files[at]))
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        written = BytesIO()
        ds.save_as(written)
        return written.getvalue()

    def imaging_study(self, address: str, *, listed: bool = False, **more: Any) -> Any:
        """An ImagingStudy with a contained Endpoint; ``listed`` with every instance. ``more`` of None is left out."""

        def make(urls: dict[str, str]) -> dict[str, Any]:
            made = imaging_study(self.study, {self.series: len(self.files)})(urls)
            made["contained"] = [endpoint(address, id="wado")]
            made["endpoint"] = [{"reference": "#wado"}]
            if listed:
                made["series"][0]["instance"] = [
                    {"uid": uid, "sopClass": {"code": "urn:oid:1.2.840.10008.5.1.4.1.1.2"}}
                    for uid in self.uids
                ]
            return {name: value for name, value in (made | more).items() if value is not None}

        return make

    def referral(self, address: str, **how: Any) -> dict[str, Any]:
        return referral(self.mrn, imaging=self.imaging_study(address, **how))


class Gateway:
    """Partner demo without credentials; work is done when ``work`` is called, and only then."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.partner: Partner = accounts.demo_partner(services)
        self._http = create_app(services).test_client()

    def register(self, *urls: str, **fields: Any) -> None:
        endpoints = tuple(DicomWebEndpoint(url) for url in urls)
        accounts.change_partner(self.services, self.partner.id, {"dicomweb_endpoints": endpoints} | fields)

    def register_located(self, url: str, location_uid: str) -> None:
        located = (DicomWebEndpoint(url, location_uid),)
        accounts.change_partner(self.services, self.partner.id, {"dicomweb_endpoints": located})

    @contextmanager
    def disabled(self) -> Iterator[None]:
        accounts.disable_partner(self.services, self.partner.id)
        try:
            yield
        finally:
            accounts.enable_partner(self.services, self.partner.id)

    def send(self, bundle: dict[str, Any]) -> str:
        """The case's number."""
        answer = self._http.post("/fhir", json=bundle, headers={"Content-Type": FHIR_JSON})
        assert answer.status_code in (200, 201), answer.text
        return answer.headers["Location"].split("/")[-1]

    def work(self, case_id: str, last: bool = False) -> Case:
        """What the worker would do, once: plan, fetch, place, check."""
        fetch_plan.plan_fetches(self.services, case_id)
        for subject in self._pending(case_id):
            fetch.attempt(self.services, subject, last)
        with self.services.database.reading() as session:
            studies = list(session.scalars(select(StudyRow.id).where(StudyRow.join_state == "waiting")))
        for study_id in studies:
            place_study.place_study(self.services, study_id)
        fetch_plan.plan_fetches(self.services, case_id)
        intake.check_case(self.services, case_id)
        return self.case(case_id)

    def _pending(self, case_id: str) -> list[str]:
        ids = [found.id for found in self.case(case_id).fetches]
        with self.services.database.reading() as session:
            rows = session.scalars(select(FetchRow).where(FetchRow.id.in_(ids), FetchRow.state == "pending"))
            return [f"{row.id}/{row.round}" for row in rows]

    def case(self, case_id: str) -> Case:
        with self.services.database.reading() as session:
            return cases.load(session, SYSTEM_ACTOR, case_id)

    def fetch_again(self, case_id: str) -> None:
        """As intake does on the page."""
        (found,) = self.case(case_id).fetches
        fetch_plan.fetch_again(self.services, INTAKE, case_id, found.id, NO_ORIGIN)

    def store(self, *files: bytes) -> None:
        """By STOW-RS."""
        answer = self._http.post(
            "/dicom-web/studies",
            data=multipart(files),
            headers={"Content-Type": related(), "Accept": "application/dicom+json"},
        )
        assert answer.status_code == 200, answer.text

    def stored_file(self, sop_instance_uid: str) -> bytes:
        with self.services.database.reading() as session:
            query = select(InstanceRow).where(InstanceRow.sop_instance_uid == sop_instance_uid)
            (row,) = session.scalars(query)
        return read_bytes(self.services.objects, row.object_key)

    def channels(self, uids: list[str]) -> set[str]:
        """By which doors these instances came."""
        with self.services.database.reading() as session:
            query = (
                select(ReceiptRow.channel)
                .join(InstanceRow, InstanceRow.receipt_id == ReceiptRow.id)
                .where(InstanceRow.sop_instance_uid.in_(uids))
            )
            return set(session.scalars(query))

    def refused(self) -> list[str]:
        """Why receipts were refused, the last first."""
        with self.services.database.reading() as session:
            return [receipt.cause for receipt in receipts.refused(session, SYSTEM_ACTOR)]

    def fetched(self, bundle: dict[str, Any]) -> Fetch:
        """Send, work once, and tell how the one fetch of the case stands."""
        (found,) = self.work(self.send(bundle)).fetches
        return found


@contextmanager
def gateway_by_hand(folder: Path, **config: Any) -> Iterator[Gateway]:
    services = migrated_services(folder, dev=True, **config)
    durable.migrate(services.config.sqlalchemy_url)
    try:
        yield Gateway(services)
    finally:
        services.database.close()


def problems(found: Fetch) -> dict[str, str]:
    return {m.sop_instance_uid: m.problem.value for m in found.missing}


def dicom(file: bytes, **how: Any) -> Answer:
    """An archive's answer of one instance, not in multipart."""
    return Answer(200, file, {"Content-Type": "application/dicom"}, **how)


def data_set(file: bytes) -> bytes:
    """After preamble and group 0002, which every sender writes anew."""
    return file[144 + int.from_bytes(file[140:144], "little") :]
