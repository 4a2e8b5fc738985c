"""The OpenAPI document, and a page that shows it: made here, so that it works offline and runs no script."""

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import cast

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from server.http.answers import json_answer
from server.http.bodies import Json
from server.http.visits import hub_of

router = APIRouter(include_in_schema=False)

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: .4rem; margin: .5rem 0; }
summary { padding: .5rem .75rem; cursor: pointer; }
details > div { padding: 0 .75rem .5rem; overflow-x: auto; }
code, pre { font: .875rem/1.45 ui-monospace, monospace; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 700; }
td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0; }
"""
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document of this server."""
    return json_answer(_document(request), headers={"Cache-Control": "no-cache"})


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The same, for people."""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-cache"}
    return Response(page_of(_document(request)), headers=headers, media_type="text/html")


def _document(request: Request) -> Json:
    manifests = tuple(tool.manifest for tool in hub_of(request).rules.registry.all())
    return request.app.state.document(manifests)


def page_of(document: Json) -> str:
    """The document as a page."""
    info = cast("dict[str, str]", document["info"])
    operations = "".join(_sections(document))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(info['title'])}</title><style>{STYLE}</style>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a></p>{operations}</html>'
    )


def _sections(document: Json) -> Iterator[str]:
    """One a tag, in the order in which the tags first come."""
    tagged: dict[str, list[str]] = {}
    for path, operations in cast("dict[str, dict[str, Json]]", document["paths"]).items():
        for method, operation in operations.items():
            tag = cast("list[str]", operation.get("tags", ["other"]))[0]
            tagged.setdefault(tag, []).append(_operation(method, path, operation))
    for tag, shown in tagged.items():
        yield f"<h2>{escape(tag)}</h2>{''.join(shown)}"


def _operation(method: str, path: str, operation: Json) -> str:
    words = escape(str(operation.get("description", "")))
    return (
        f'<details><summary><code><span class="method">{method.upper()}</span> {escape(path)}</code></summary>'
        f"<div><p>{words}</p>{_parameters(operation)}{_schema('Body', _body(operation))}{_responses(operation)}</div>"
        "</details>"
    )


def _parameters(operation: Json) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(str(each['name']))}</code><td>{escape(str(each['in']))}"
        f"<td><code>{escape(_text(each.get('schema', {})))}</code>"
        for each in cast("list[Json]", operation.get("parameters", []))
    )
    return f"<table><tr><th>Parameter<th>In<th>Schema{rows}</table>" if rows else ""


def _body(operation: Json) -> object:
    return cast(Json, operation.get("requestBody", {})).get("content")


def _responses(operation: Json) -> str:
    return "".join(
        _schema(f"{status} {response.get('description', '')}", response.get("content"))
        for status, response in cast("dict[str, Json]", operation["responses"]).items()
    )


def _schema(title: str, content: object) -> str:
    if content is None:
        return f"<p>{escape(title)}</p>"
    shown = escape(_text(content, indent=True))
    return f"<details><summary>{escape(title)}</summary><div><pre>{shown}</pre></div></details>"


def _text(value: object, *, indent: bool = False) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode()
