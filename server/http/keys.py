"""Idempotency keys as requests bring them: a request that may be sent again names itself, and is done once.

Source  contract.md, HTTP; draft-ietf-httpapi-idempotency-key-header. A key is opaque: quotes around it belong to it.
"""

from collections.abc import Mapping

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import Request

from domain.idempotency.model import LONGEST_KEY, IdempotencyKey
from server.problems import Problem

METHODS = frozenset({"POST", "PUT", "PATCH"})
NAMES = ("idempotency-key", "x-idempotency-key")
REPLAYED: Mapping[str, str] = {"Idempotency-Replayed": "true"}
"""The header of an answer that was given before."""


def key_of(request: Request) -> IdempotencyKey | None:
    """The key that a changing request names itself by; None: it names none, or changes nothing.

    Raises  Problem: 400 `invalid_idempotency_key`.
    """
    if request.method not in METHODS:
        return None
    named = named_in(request.headers)
    if named is None:
        return None
    route: APIRoute = request.scope["route"]
    return IdempotencyKey(route=f"{request.method} {route.path_format}", key=named)


def named_in(headers: Headers) -> str | None:
    """The one key that the headers name, under either name.

    Raises  Problem: 400, several keys or one that is none.
    """
    named = {value for name in NAMES for value in headers.getlist(name)}
    if not named:
        return None
    if len(named) > 1:
        raise invalid("the request names several")
    key = named.pop()
    if not 0 < len(key) <= LONGEST_KEY:
        raise invalid(f"it must have 1 to {LONGEST_KEY} characters")
    if not (key.isascii() and key.isprintable()) or key.isspace():
        raise invalid("its characters must be printable ASCII")
    return key


def replayed_headers(replayed: bool) -> Mapping[str, str]:
    """What an answer carries where it was given before."""
    return REPLAYED if replayed else {}


def invalid(why: str) -> Problem:
    """400: without a key that can be held to, the request must not be done."""
    return Problem(400, "invalid_idempotency_key", f"The Idempotency-Key cannot be used: {why}.")
