"""The mark of a next link: opaque, signed, and good for the search and the partner that it was made for."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from flask import current_app
from itsdangerous import BadData, URLSafeSerializer

from gateway.case.access import Partner
from gateway.errors import InvalidContent


def mark(partner: Partner, asked: Sequence[Any], after: Sequence[int | str]) -> str:
    return str(_signer().dumps([_digest(partner, asked), *after]))


def read_mark(partner: Partner, asked: Sequence[Any], sent: str) -> tuple[int | str, ...]:
    """Where the page begins. Raises InvalidContent on a mark of another search and on one that is none."""
    try:
        digest, *after = _signer().loads(sent)
    except BadData as error:
        raise InvalidContent(
            "The page's address is not one that was given here; please search again."
        ) from error
    if digest != _digest(partner, asked):
        raise InvalidContent("The page's address belongs to another search; please search again.")
    return tuple(after)


def _digest(partner: Partner, asked: Sequence[Any]) -> str:
    return sha256(repr((partner.id, *asked)).encode()).hexdigest()[:16]


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(str(current_app.config["SECRET_KEY"]), salt="fhir-page")
