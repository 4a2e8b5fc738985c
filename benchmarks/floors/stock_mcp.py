"""A stock MCP server on the SDK's low-level API: one tool that echoes, and one that does a single insert.

Nobody is asked who they are, nothing is decided and nothing recorded. With DATABASE_URL set, run it as
`uvicorn benchmarks.floors.stock_mcp:app`.
"""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

TABLE = "CREATE TABLE IF NOT EXISTS notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL)"
ADD = "INSERT INTO notes (title) VALUES ($1) RETURNING id"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["title"],
    "properties": {"title": {"type": "string", "maxLength": 200}},
}
TOOLS = [
    types.Tool(name="echo", description="Gives back what it is given.", input_schema=SCHEMA),
    types.Tool(name="note_add", description="Adds a note.", input_schema=SCHEMA),
]
BY_NAME = {tool.name: tool.input_schema for tool in TOOLS}

Context = ServerRequestContext[Any, Request]


class Notes:
    """The pool, once there is one."""

    pool: "asyncpg.Pool[Any]"


async def list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    """Both."""
    return types.ListToolsResult(tools=TOOLS)


async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    """One of them."""
    title = str((params.arguments or {})["title"])
    result: dict[str, Any] = {"title": title}
    if params.name == "note_add":
        result["id"] = await Notes.pool.fetchval(ADD, title)
    text = types.TextContent(type="text", text=json.dumps(result))
    return types.CallToolResult(content=[text], structured_content=result)


# The schemas by name are the cheaper way, and what the SDK's own high-level server does: without, each call lists all.
server = Server[Any]("stock", get_tool_input_schema=BY_NAME.get, on_list_tools=list_tools, on_call_tool=call_tool)
mcp = server.streamable_http_app(json_response=True, stateless_http=True)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """The pool and the SDK's manager."""
    async with (
        asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=4, max_size=20) as pool,
        mcp.router.lifespan_context(mcp),
    ):
        await pool.execute(TABLE)
        Notes.pool = pool
        yield


async def health(request: Request) -> Response:
    """The process lives."""
    return JSONResponse({"status": "ok"})


app = Starlette(routes=[Route("/health", health), Mount("/", mcp)], lifespan=lifespan)
