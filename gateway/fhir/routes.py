"""The FHIR door: POST a bundle or a resource; read and search what is the sender's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from gateway.auth.bearer import authenticate_partner
from gateway.case.access import Partner
from gateway.errors import GatewayError, NotSupported
from gateway.fhir import (
    answers,
    async_requests,
    everything,
    export,
    history,
    reading,
    refusing,
    releases,
    search_form,
    searching,
    single,
    submitting,
)
from gateway.fhir.capability import capability_statement, versions_offered
from gateway.fhir.subscriptions import offer_subscriptions
from mappings.fhir_search_parameters import resource_types

if TYPE_CHECKING:
    from gateway.services import Services


def blueprint(services: Services) -> Blueprint:
    """Mounted at /fhir."""
    door = Blueprint("fhir", __name__)
    base = services.config.fhir_base

    @door.get("/metadata")
    def metadata() -> Response:
        answers.require_fhir_answer()
        return answers.fhir_answer(capability_statement(services.config.base_url))

    @door.get("/$versions")
    def operation_versions() -> Response:
        answers.require_fhir_answer()
        return answers.fhir_answer(versions_offered())

    _offer_sending(door, services, base)
    _offer_reading(door, services, base)
    _offer_asynchronous(door, services, base)
    offer_subscriptions(door, services, base)

    @door.route("/", methods=["GET", "PUT", "PATCH", "DELETE"], strict_slashes=False)
    @door.route("/<path:anything>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def not_offered(anything: str = "") -> Response:
        _partner(services)
        raise refusing.not_offered(anything)

    door.register_error_handler(GatewayError, refusing.of_error)
    door.register_error_handler(HTTPException, refusing.of_http)
    door.register_error_handler(Exception, refusing.of_unknown)
    return door


def _offer_sending(door: Blueprint, services: Services, base: str) -> None:
    @door.post("/", strict_slashes=False)
    @door.post("/Bundle")
    def post_bundle() -> Response:
        return submitting.post_bundle(services, _partner(services), base)

    @door.post("/<type_name>")
    def create(type_name: str) -> Response:
        kind, _ = _addressed(type_name)
        return single.create(services, _reader(services, kind), base, type_name, kind)

    @door.put("/<type_name>/<fhir_id>")
    def update(type_name: str, fhir_id: str) -> Response:
        kind, own_id = _addressed(type_name, fhir_id)
        return single.change(
            services, _reader(services, kind), base, f"{type_name}/{fhir_id}", f"{kind}/{own_id}"
        )

    @door.patch("/DocumentReference/<fhir_id>")
    def patch(fhir_id: str) -> Response:
        reference = f"DocumentReference/{fhir_id}"
        return single.change(services, _partner(services), base, reference, reference)

    @door.post("/$process-message")
    def process_message() -> Response:
        return submitting.post_bundle(services, _partner(services), base, is_message=True)

    @door.post("/$check")
    def check() -> Response:
        return submitting.check(services, _partner(services))

    @door.post("/<type_name>/$validate")
    def validate(type_name: str) -> Response:
        return submitting.validate(services, _partner(services), type_name)


def _offer_asynchronous(door: Blueprint, services: Services, base: str) -> None:
    @door.route("/$export", methods=["HEAD"])
    @door.route("/Patient/$export", methods=["HEAD"])
    def head_of_export() -> Response:
        _partner(services)
        raise NotSupported("HEAD begins no export; ask by GET or POST.")  # RFC 9110 9.2.1: HEAD is safe

    @door.route("/$export", methods=["GET", "POST"])
    def export_all() -> Response:
        return export.kick_off(services, _partner(services), base, of_patients=False)

    @door.route("/Patient/$export", methods=["GET", "POST"])
    def export_patients() -> Response:
        return export.kick_off(services, _partner(services), base, of_patients=True)

    @door.get(f"/{async_requests.PATH}/<request_id>")
    def status(request_id: str) -> Response:
        return async_requests.status(services, _partner(services), base, request_id)

    @door.delete(f"/{async_requests.PATH}/<request_id>")
    def cancel(request_id: str) -> Response:
        return async_requests.cancel(services, _partner(services), request_id)

    @door.get(f"/{async_requests.PATH}/<request_id>/<int:number>")
    def file(request_id: str, number: int) -> Response:
        return async_requests.file(services, _partner(services), request_id, number)


def _offer_reading(door: Blueprint, services: Services, base: str) -> None:
    @door.get("/<type_name>/<fhir_id>")
    def read(type_name: str, fhir_id: str) -> Response:
        kind, own_id = _addressed(type_name, fhir_id)
        return reading.read(services, _reader(services, kind), base, kind, own_id)

    @door.get("/<type_name>/<fhir_id>/_history/<version>")
    def vread(type_name: str, fhir_id: str, version: str) -> Response:
        kind, own_id = _addressed(type_name, fhir_id)
        return reading.read(services, _reader(services, kind), base, kind, own_id, version)

    @door.get("/<type_name>/<fhir_id>/_history")
    def instance_history(type_name: str, fhir_id: str) -> Response:
        kind, own_id = _addressed(type_name, fhir_id)
        return history.history(services, _reader(services, kind), base, kind, own_id)

    @door.get("/<type_name>/_history")
    def type_history(type_name: str) -> Response:
        return history.history(services, _reader(services, type_name), base, type_name, None)

    @door.get("/Patient/<fhir_id>/$everything")
    def of_patient(fhir_id: str) -> Response:
        return everything.everything(services, _reader(services, "Patient"), base, fhir_id)

    @door.get("/<type_name>")
    def search_type(type_name: str) -> Response:
        kind, _ = _addressed(type_name)
        pairs = list(request.args.items(multi=True))
        return searching.search_type(services, _reader(services, kind), base, type_name, pairs)

    @door.post("/<type_name>/_search")
    def search_by_form(type_name: str) -> Response:
        kind, _ = _addressed(type_name)
        partner = _reader(services, kind)
        pairs = [*request.args.items(multi=True), *search_form.posted()]
        return searching.search_type(services, partner, base, type_name, pairs)


def _addressed(asked_type: str, asked_id: str = "") -> tuple[str, str]:
    """The R4 type and id of an address; one by the name of another release is answered in that."""
    type_name, fhir_id, release = releases.addressed(asked_type, asked_id)
    if release is not None:
        answers.answer_in(release)
    return type_name, fhir_id


def _partner(services: Services) -> Partner:
    return authenticate_partner(services, request.headers, request.remote_addr)


def _reader(services: Services, type_name: str) -> Partner:
    """Who asks, of a type that there is."""
    partner = _partner(services)
    if type_name not in resource_types():
        raise refusing.not_offered(type_name)
    return partner
