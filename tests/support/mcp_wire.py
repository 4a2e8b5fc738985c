"""Requests to /mcp written by hand, for what no client of the SDK would send."""

import json
from typing import Any

import httpx2

from tests.support.served import Served

Json = dict[str, Any]
MODERN = "2026-07-28"


def rpc(method: str, params: Json | None = None) -> Json:
    """A request as the revisions with a handshake send it."""
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params or {}}


def modern(method: str, params: Json | None = None) -> Json:
    """A request as revision 2026-07-28 sends it, complete in itself."""
    meta: Json = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    return rpc(method, {**(params or {}), "_meta": meta})


def headers_of(token: str | None, revision: str | None = None, **more: str) -> dict[str, str]:
    """What a client sends beside its body."""
    shown = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **more}
    if token is not None:
        shown["Authorization"] = f"Bearer {token}"
    if revision is not None:
        shown["MCP-Protocol-Version"] = revision
    return shown


def modern_headers(token: str, method: str, name: str | None = None) -> dict[str, str]:
    """What the modern revision repeats in headers, so that proxies need not read bodies."""
    named = {} if name is None else {"Mcp-Name": name}
    return headers_of(token, MODERN, **{"Mcp-Method": method, **named})


async def post(server: Served, body: object, headers: dict[str, str]) -> httpx2.Response:
    """One request to /mcp; `body` is JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx2.AsyncClient(timeout=20) as http:
        return await http.post(f"{server.url}/mcp", content=content, headers=headers)
