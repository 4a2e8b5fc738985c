"""The OpenAPI document: built from the routes themselves, with a manifest's schemas where a tool stands behind one."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from domain.idempotency.model import LONGEST_KEY
from server.http.bodies import JsonBody, ToolArguments
from server.http.keys import METHODS
from server.http.negotiation import EVENT_STREAM
from server.http.uploads import MULTIPART, UploadBody
from server.problems import MEDIA_TYPE
from tools.manifest import Manifest

Json = dict[str, object]
Manifests = Mapping[str, Manifest]

_RESULT = "x-glow-result"
"""Stands in a route's own schema for a part of a tool's result schema, until the manifests are known."""
_WITH = "x-glow-with"
"""Stands beside it: members that the route adds."""
_REF = "#/components/schemas/{model}"

DESCRIPTION = (
    "Chat, tools, documents, tasks, approvals and the record of a governed agent hub. Every act passes one gate: "
    "policy first, an activity event always. Send `Authorization: Bearer <token>`; errors are RFC 9457 problem details."
)


class ProblemFault(BaseModel):
    """One fault of a body, of parameters or of a tool's arguments."""

    path: str
    message: str


class ProblemDetails(BaseModel):
    """What every refusal is answered with (RFC 9457); `code` is stable. A refused tool call adds how it ended."""

    model_config = ConfigDict(title="Problem")

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str | None = None
    details: list[ProblemFault] = Field(default=[])
    reference: str | None = Field(default=None, description="By which the server's log knows more.")
    call_id: str | None = None
    outcome: str | None = None
    verdict: dict[str, object] | None = None


Responses = dict[int | str, dict[str, Any]]
"""Any: the framework's own type of a route's documented responses."""


def problems(*statuses: int) -> Responses:
    """The refusals of a route, for its documentation."""
    return {
        status: {
            "description": _WHY[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        for status in statuses
    }


_WHY: Mapping[int, str] = {
    400: "The body or the headers cannot be read",
    401: "No valid credential",
    403: "Refused: the credential, the role or policy does not allow it",
    404: "No such thing that the principal may see",
    406: "None of the media types on offer is accepted",
    409: "In conflict with what stands already",
    413: "The body is too large",
    415: "The body is of another media type",
    416: "There is no such part of it; `Content-Range` says how long it is",
    429: "As much of the principal's is under way as may be",
    422: "The request can be read and makes no sense",
    502: "The tool failed",
    503: "Not available for a moment",
    504: "The tool took too long",
}

REFUSALS = problems(401, 403, 404, 406, 422, 503)
"""Of every route behind a credential."""
BODY_REFUSALS = problems(400, 413, 415)
"""Of every route that takes a body, besides."""
KEY_REFUSALS = problems(400)
"""Of a route that takes no body, and an Idempotency-Key, besides."""
CALL_REFUSALS = problems(409, 502, 504)
"""Of every route whose work is a tool call, besides."""


def shows(schema: Json, *, status: int = 200, description: str = "Done", located: str | None = None) -> Responses:
    """What a route answers, for its documentation. `located`: what the header Location names, where there is one."""
    shown: dict[str, Any] = {"description": description, "content": {"application/json": {"schema": schema}}}
    if located is not None:
        shown["headers"] = {"Location": {"description": located, "schema": {"type": "string"}}}
    return {status: shown}


def event_streams(description: str) -> Responses:
    """A route that shows events as they come: each of them is such an object on the wire."""
    event: Json = {
        "type": "object",
        "description": "One server-sent event; `data` is a JSON object.",
        "required": ["id", "event", "data"],
        "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
    }
    return {200: {"description": description, "content": {EVENT_STREAM: {"schema": event}}}}


def tool_result(tool: str, *path: str) -> Json:
    """The schema of a tool's result, or of a part of it."""
    return {_RESULT: [tool, *path]}


def with_members(schema: Json, **members: Json) -> Json:
    """A tool's result with members that the route adds to it."""
    return {**schema, _WITH: members}


def listed(schema: Json, **more: Json) -> Json:
    """The schema of a page of a list. `more`: what each page says besides."""
    return {
        "type": "object",
        "required": ["items", "next_cursor", *more],
        "properties": {
            "items": {"type": "array", "items": schema},
            "next_cursor": {"type": ["string", "null"], "description": "null: this was the last page"},
            **more,
        },
    }


def of_model(model: type[BaseModel]) -> Json:
    """The schema of a shape that a route builds itself."""
    return {**model.model_json_schema(mode="serialization"), "title": model.__name__}


WAITING = shows(
    {
        "type": "object",
        "required": ["call_id", "outcome", "verdict", "approval_id"],
        "properties": {
            "call_id": {"type": "string", "format": "uuid"},
            "outcome": {"const": "waiting"},
            "verdict": {"type": "object"},
            "approval_id": {"type": "string", "format": "uuid"},
        },
    },
    status=202,
    description="Nothing is done yet: a person is asked to approve the call",
)
"""Of every route whose work may need an approval, besides."""


def or_waits(schema: Json) -> Json:
    """Of a route that accepts what it goes on with: it answers so, or that a person is asked."""
    return {"anyOf": [schema, WAITING[202]["content"]["application/json"]["schema"]]}


KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Names the request, so that it is done once however often it is sent: for 24 hours the same key "
    "with the same content is answered as the first time (`Idempotency-Replayed: true`), with other content by 422 "
    "`idempotency_mismatch`, while the first has not ended by 409 `idempotency_in_progress`. Also `X-Idempotency-Key`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
}
"""Of every route that changes something."""


def document_of(app: FastAPI, version: str, manifests: Iterable[Manifest]) -> Json:
    """The document of the app's routes."""
    tools = {manifest.name: manifest for manifest in manifests}
    document = cast(
        Json,
        get_openapi(title="Prisma Glow", version=version, description=DESCRIPTION, routes=app.routes),
    )
    for method, operation, dependant in _operations(document, app):
        if method in METHODS and "security" in operation:
            cast("list[Json]", operation.setdefault("parameters", [])).append(KEY)
        body = _request_body(dependant, tools)
        if body is not None:
            operation["requestBody"] = body
        operation["responses"] = _resolved(operation["responses"], tools)
    components = cast(Json, document.setdefault("components", {}))
    components["schemas"] = {**cast(Json, components.get("schemas", {})), **_problem_schemas()}
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return document


def _operations(document: Json, app: FastAPI) -> Iterator[tuple[str, Json, Dependant]]:
    """Each documented operation with the dependencies of its route; what lies behind a credential is marked so."""
    paths = cast("dict[str, dict[str, Json]]", document["paths"])
    for context in iter_route_contexts(app.routes):
        for method in context.methods or ():
            operation = paths.get(context.path_format or "", {}).get(method.lower())
            if operation is not None:
                if "401" in cast(Json, operation["responses"]):
                    operation["security"] = [{"bearer": []}]
                yield method, operation, cast(Dependant, context.dependant)


def _request_body(dependant: Dependant, tools: Manifests) -> Json | None:
    for each in _dependencies(dependant):
        match each:
            case JsonBody():
                return _json_content(each.model.model_json_schema())
            case ToolArguments():
                schema = _without(tools[each.tool].arguments, each.from_path)
                return _json_content(schema, required=not each.optional)
            case UploadBody():
                return _form_content(each.fields.model_json_schema())
            case _:
                pass
    return None


def _dependencies(dependant: Dependant) -> Iterator[object]:
    for each in dependant.dependencies:
        yield each.call
        yield from _dependencies(each)


def _json_content(schema: Json, *, required: bool = True) -> Json:
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _form_content(fields: Json) -> Json:
    files = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
    }
    schema: Json = {
        **fields,
        "required": ["files"],
        "properties": {"files": files, **cast(Json, fields.get("properties", {}))},
    }
    return {"required": True, "content": {MULTIPART: {"schema": schema}}}


def _without(schema: Json, names: tuple[str, ...]) -> Json:
    """A tool's arguments without those that the path gives."""
    properties = cast(Json, schema.get("properties", {}))
    required = cast("list[str]", schema.get("required", []))
    return {
        **schema,
        "properties": {name: each for name, each in properties.items() if name not in names},
        "required": [name for name in required if name not in names],
    }


def _resolved(value: object, tools: Manifests) -> object:
    """The same, with the manifests' schemas where a place was kept for them."""
    if isinstance(value, dict):
        members = cast(Json, value)
        if _RESULT in members:
            tool, *path = cast("list[str]", members[_RESULT])
            added = cast(Json, _resolved(members.get(_WITH, {}), tools))
            return _extended(_part(tools[tool].result, path), added)
        return {name: _resolved(member, tools) for name, member in members.items()}
    return [_resolved(each, tools) for each in cast("list[object]", value)] if isinstance(value, list) else value


def _extended(schema: Json, members: Json) -> Json:
    required = [*cast("list[str]", schema.get("required", [])), *members]
    return {**schema, "required": required, "properties": {**cast(Json, schema.get("properties", {})), **members}}


def _part(schema: Json, path: list[str]) -> Json:
    for name in path:
        schema = cast(Json, cast(Json, schema["properties"])[name])
    return schema


def _problem_schemas() -> Json:
    _, schemas = models_json_schema([(ProblemDetails, "serialization")], ref_template=_REF)
    definitions = cast(Json, schemas["$defs"])
    return {"Problem": definitions["ProblemDetails"], "ProblemFault": definitions["ProblemFault"]}
