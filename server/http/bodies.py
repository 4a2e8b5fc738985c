"""Bodies of requests: read up to a limit, decoded strictly, and parsed into the type that a route asks for.

FastAPI's own reading of bodies is not used: it answers 500 to NaN, to 1e999 and to a lone surrogate.
"""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from email.message import Message
from itertools import islice
from typing import Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request

from server.http.strict_json import MalformedJson, decoded, nul_path
from server.problems import Problem
from tools.json_schema import MAX_FAULTS, shortened

JSON_LIMIT = 1024 * 1024
Json = dict[str, object]

Model = TypeVar("Model", bound=BaseModel)


class Body(BaseModel):
    """A body that a route takes: exact types, nothing unasked for."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class JsonBody(Generic[Model]):
    """A dependency that gives the request's body as `model`; the OpenAPI document shows it as the request's body.

    `for_gate`: NUL characters are left to the gate, which refuses and records them like any bad argument.
    """

    def __init__(self, model: type[Model], *, for_gate: bool = False) -> None:
        self.model = model
        self.for_gate = for_gate

    async def __call__(self, request: Request) -> Model:
        body = await read_json_bytes(request)
        value = checked(body)
        path = None if self.for_gate else nul_path(value)
        if path is not None:
            raise invalid_request([{"path": shortened(path), "message": "holds a NUL character"}])
        self._refuse_many_unasked(value)
        try:
            return self.model.model_validate_json(body)
        except ValidationError as error:
            raise invalid_request(faults_of(error)) from error

    def _refuse_many_unasked(self, value: object) -> None:
        """Pydantic would refuse each unasked member by an error of its own, many times as large as the member."""
        names = cast(Json, value) if isinstance(value, dict) else {}
        unasked = list(islice((name for name in names if name not in self.model.model_fields), MAX_FAULTS))
        if len(unasked) == MAX_FAULTS:
            raise invalid_request([{"path": shortened(name), "message": "is not asked for"} for name in unasked])


class ToolArguments:
    """A dependency that gives the body as arguments of a tool, unread: the gate holds them to the tool's schema.

    `tool`: whose schema the OpenAPI document shows, without the arguments that the path gives. `optional`: an empty
    body means no arguments.
    """

    def __init__(self, tool: str, *, from_path: tuple[str, ...] = (), optional: bool = False) -> None:
        self.tool = tool
        self.from_path = from_path
        self.optional = optional

    async def __call__(self, request: Request) -> Json:
        if self.optional and not await has_body(request):
            return {}
        value = checked(await read_json_bytes(request))
        if not isinstance(value, dict):
            raise invalid_request([{"path": "", "message": "the body is not a JSON object"}])
        arguments = cast(Json, value)
        for name in self.from_path:
            if name in arguments:
                raise invalid_request([{"path": name, "message": "is given by the path, not by the body"}])
        return arguments


class NoBody:
    """A dependency of routes that take no body: an empty JSON object passes for none."""

    async def __call__(self, request: Request) -> None:
        if await has_body(request) and checked(await read_json_bytes(request)) != {}:
            raise invalid_request([{"path": "", "message": "this takes no body"}])


async def has_body(request: Request) -> bool:
    """Whether a request carries any body at all."""
    return bool(await read_bytes(request, JSON_LIMIT))


async def read_json_bytes(request: Request) -> bytes:
    """The body of a request that says it is JSON.

    Raises  Problem: 415, 413.
    """
    require_media_type(request, "application/json")
    return await read_bytes(request, JSON_LIMIT)


def checked(body: bytes) -> object:
    """The JSON value of a body.

    Raises  Problem: 400 `malformed_json`.
    """
    try:
        return decoded(body)
    except MalformedJson as error:
        raise Problem(400, "malformed_json", f"{str(error).capitalize()}.") from error


async def read_bytes(request: Request, limit: int) -> bytes:
    """The raw body, kept for a second reader.

    Raises  Problem: 413 beyond `limit`, as soon as that is known.
    """
    kept = cast("bytes | None", request.scope.get("glow.body"))
    if kept is None:
        kept = request.scope["glow.body"] = await _read(request, limit)
    return kept


async def _read(request: Request, limit: int) -> bytes:
    refuse_declared(request, limit)
    try:
        async with aclosing(request.stream()) as body, aclosing(up_to(limit, body)) as chunks:
            return b"".join([chunk async for chunk in chunks])
    except ClientDisconnect as gone:
        raise Problem(400, "incomplete_body", "The connection ended before the body did.") from gone


def refuse_declared(request: Request, limit: int) -> None:
    """Raises  Problem: 413, the request says itself that its body is larger."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
        raise too_large(limit)


async def up_to(limit: int, body: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    """The body as it comes.

    Raises  Problem: 413, as soon as it is larger.
    """
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        yield chunk


def require_media_type(request: Request, wanted: str) -> None:
    """Raises  Problem: 415 unless the body is of this media type, in UTF-8 where it says so."""
    media_type, charset = media_type_of(request)
    if media_type != wanted or charset not in (None, "utf-8", "utf8", "us-ascii"):
        raise Problem(415, "unsupported_media_type", f"Send the body as {wanted}.", headers={"Accept": wanted})


def media_type_of(request: Request) -> tuple[str | None, str | None]:
    """The media type and charset that Content-Type names; None where it names none, or nothing that is one."""
    given = request.headers.getlist("content-type")
    if len(given) != 1:
        return None, None
    header = Message()
    header["content-type"] = given[0].replace("\r", " ").replace("\n", " ")
    media_type = given[0].split(";")[0].strip().lower()
    charset = header.get_param("charset")
    return media_type or None, charset.strip().lower() if isinstance(charset, str) else None


def too_large(limit: int) -> Problem:
    """413. Without `Connection: close`, by which the server would reset a sender before it could read this."""
    return Problem(413, "too_large", f"The body is larger than {limit} bytes.")


def invalid_request(details: list[dict[str, str]]) -> Problem:
    """422: each fault with its path."""
    first = details[0]
    words = f"{first['path']}: {first['message']}" if first["path"] else first["message"]
    return Problem(422, "invalid_request", words, extra={"details": details})


def faults_of(error: ValidationError) -> list[dict[str, str]]:
    """What pydantic found, in the words that problems use; never the value that was given."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        {"path": shortened(".".join(str(part) for part in fault["loc"])), "message": fault["msg"]}
        for fault in found[:MAX_FAULTS]
    ]
