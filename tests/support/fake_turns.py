"""What a fake model can answer: turns and faults, whichever API they are told in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import orjson

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool call of the model; `pieces` is how its arguments are cut, by default in two."""

    name: str
    arguments: str = "{}"
    id: str = ""
    pieces: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer: what the model says, and how its bytes travel."""

    text: str = ""
    tokens: tuple[str, ...] | None = None
    """How the text is cut; by default after each space."""
    calls: tuple[Call, ...] = ()
    refusal: str = ""
    reasoning: str = ""
    """Sealed reasoning that comes before all else; the Responses API alone knows it."""
    finish_reason: str | None = None
    """By default `tool_calls` with calls, else `stop`; the empty string leaves it out."""
    usage: tuple[int, int] | None = (11, 7)
    cached: int | None = None
    """Of what was read: remembered."""
    done_line: bool = True
    extra: Json = field(default_factory=dict[str, object])
    """Fields that no client knows, put into each chunk."""
    body: bytes | None = None
    """The whole body as it is, instead of all of the above."""
    media_type: str = "text/event-stream; charset=utf-8"
    write_bytes: int = 0
    """Each write carries so many bytes; 0: one event each, or all at once where nothing is paced."""
    first_token_s: float = 0.0
    per_token_s: float = 0.0
    late_headers: bool = False
    """Send nothing at all, not even the status, before the first token."""
    stop_after: int | None = None
    """After so many frames (an event, or some that always come together) do what `then` says instead of going on."""
    then: Literal["cut", "stall", "error", "failed"] = "cut"
    """`failed`: what the Responses API alone has, a response.failed with the error in it."""
    error: Json = field(default_factory=lambda: {"message": "The server had an error", "type": "server_error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpError:
    """An answer other than 200."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HangUp:
    """The connection is closed without an answer."""


Answer = Turn | HttpError | HangUp
Brain = Callable[[Json], Answer]
"""Thinks up the answer to a request's body."""


def http_error(status: int, message: str, *, code: str | None, headers: tuple[tuple[str, str], ...] = ()) -> HttpError:
    """An error in the words of the OpenAI API."""
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return HttpError(status=status, body=orjson.dumps(body), headers=headers)


LEAKED_KEY = "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"
"""A key that the `bad_key` error repeats, as some servers do."""

HTTP_ERRORS: dict[str, HttpError] = {
    "rate_limited": http_error(429, "Rate limit reached.", code="rate_limit_exceeded"),
    "rate_limited_for_2_s": http_error(
        429, "Rate limit reached.", code="rate_limit_exceeded", headers=(("Retry-After", "2"),)
    ),
    "quota_used_up": http_error(429, "You exceeded your current quota.", code="insufficient_quota"),
    "bad_gateway": HttpError(status=502, body=b"<html><h1>502 Bad Gateway</h1></html>", media_type="text/html"),
    "overloaded": http_error(503, "The server is overloaded.", code="overloaded"),
    "gateway_timeout": HttpError(status=504),
    "internal": http_error(500, "The server had an error.", code="server_error"),
    "bad_key": http_error(401, f"Incorrect API key provided: {LEAKED_KEY}.", code="invalid_api_key"),
    "forbidden": http_error(403, "Country not supported.", code="unsupported_country"),
    "unknown_model": http_error(404, "The model does not exist.", code="model_not_found"),
    "bad_request": http_error(400, "Invalid parameter.", code="invalid_value"),
    "context_too_long": http_error(
        400, "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"
    ),
    "context_too_long_without_code": HttpError(
        status=400,
        body=b'{"object":"error","message":"This model\'s maximum context length is 4096 tokens","code":400}',
    ),
    "body_too_large": HttpError(status=413, body=b"too large", media_type="text/plain"),
    "moved": HttpError(status=308, headers=(("Location", "http://127.0.0.1:9/elsewhere"),)),
}


def tokens(turn: Turn) -> Sequence[str]:
    """The turn's text as it is cut."""
    if turn.tokens is not None:
        return turn.tokens
    words = turn.text.split(" ")
    return [f"{word} " for word in words[:-1]] + [word for word in words[-1:] if word]


def pieces(call: Call) -> Sequence[str]:
    """A call's arguments as they are cut."""
    half = len(call.arguments) // 2
    return call.pieces if call.pieces is not None else (call.arguments[:half], call.arguments[half:])


def call_id(index: int, call: Call) -> str:
    """The call's own id, or one by its place."""
    return call.id or f"call_{index}"
