"""Stands in front of bolt: what is not whole, fresh and signed by Slack is refused before any work is done with it.

Stock bolt answers 500 to a timestamp that is no number, to a body that is not UTF-8 and to a payload that is not JSON.
"""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import cast
from urllib.parse import parse_qsl

from pydantic import SecretStr
from starlette.requests import Request

from server.http.bodies import JSON_LIMIT, Json, checked, media_type_of, read_bytes
from server.http.strict_json import nul_path
from server.problems import Problem
from server.slack.deliveries import form_object

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
FRESH_FOR = timedelta(minutes=5)
"""What is older, or as far ahead, may be a replay.  Source  Slack, Verifying requests."""
FIELDS_AT_MOST = 100


async def verified(request: Request, secret: SecretStr, now: datetime) -> Json:
    """The object that Slack sent: an event's envelope, an interaction, or a command.

    Raises  Problem: 401 unless Slack signed it within the last minutes; 400, 413, 415 for what cannot be read.
    """
    media_type, charset = media_type_of(request)
    if media_type not in (JSON, FORM) or charset not in (None, "utf-8", "utf8"):
        raise Problem(415, "unsupported_media_type", f"Send {JSON} or {FORM}, in UTF-8.")
    body = await read_bytes(request, JSON_LIMIT)
    _check_signature(request, body, secret, now)
    value = checked(body) if media_type == JSON else form_object(_fields(body), checked)
    if not isinstance(value, dict) or nul_path(cast(Json, value)) is not None:
        raise malformed("The body is no object that Slack sends.")
    return cast(Json, value)


def malformed(detail: str) -> Problem:
    """400: signed, and yet nothing that this door knows."""
    return Problem(400, "malformed_request", detail)


def signature(secret: SecretStr, timestamp: str, body: bytes) -> str:
    """What Slack puts into X-Slack-Signature."""
    text = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.get_secret_value().encode(), text, hashlib.sha256).hexdigest()


def _check_signature(request: Request, body: bytes, secret: SecretStr, now: datetime) -> None:
    timestamps = request.headers.getlist("x-slack-request-timestamp")
    signatures = request.headers.getlist("x-slack-signature")
    if len(timestamps) != 1 or len(signatures) != 1:
        raise _unsigned("The request carries no signature of Slack's.")
    timestamp = timestamps[0]
    # Written out, since "²" is a digit to Python and a number of any length to int().
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise _unsigned("The request's timestamp is no number.")
    expected = signature(secret, timestamp, body)
    if not hmac.compare_digest(expected.encode(), signatures[0].encode("utf-8", "surrogateescape")):
        raise _unsigned("The request's signature does not fit.")
    if abs(now.timestamp() - int(timestamp)) > FRESH_FOR.total_seconds():
        raise _unsigned("The request is too old.")


def _fields(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=FIELDS_AT_MOST,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise malformed("The body is no form in UTF-8.") from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise malformed("The form gives a field twice.")
    return fields


def _unsigned(detail: str) -> Problem:
    return Problem(401, "invalid_signature", detail)
