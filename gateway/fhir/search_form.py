"""The form of POST [type]/_search (FHIR R4 3.1.1.1.1): all of it is understood, or the search is refused.

A part that is left out would find too much.
"""

from urllib.parse import parse_qsl

from flask import request
from werkzeug.http import parse_options_header

from gateway.content_encoding import decoded
from gateway.errors import InvalidContent, UnsupportedMediaType
from gateway.fhir import versions
from gateway.request_body import read_body

MAX_BYTES, MAX_PARAMETERS = 256 * 1024, 1000
_FORM = "application/x-www-form-urlencoded"


def posted() -> list[tuple[str, str]]:
    """Names and values in their order. Raises UnsupportedMediaType, InvalidContent, TooLarge, BodyBroken."""
    media_type, parameters = parse_options_header(request.headers.get("Content-Type", ""))
    body = _body()
    if media_type.casefold() != _FORM and (body or media_type):
        raise UnsupportedMediaType(f"A search by POST is a form: {_FORM}.")
    versions.require_utf8({name.casefold(): value for name, value in parameters.items()})
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except UnicodeDecodeError as error:
        raise InvalidContent("The form is not UTF-8.") from error
    except ValueError as error:
        raise InvalidContent(f"The form has more than {MAX_PARAMETERS} parameters.") from error
    if any("\0" in text for pair in pairs for text in pair):
        raise InvalidContent("The form has a NUL character in a text.")
    return pairs


def _body() -> bytes:
    stream = request.environ["wsgi.input"]  # werkzeug's has errors that hide the cause
    sent = read_body(stream, MAX_BYTES, request.content_length)
    return b"".join(decoded(sent, request.headers.get("Content-Encoding", ""), MAX_BYTES))
