"""Opens every door of a server once, so that whatever is loaded at a first use is loaded."""

import asyncio
from dataclasses import dataclass

import aiohttp
import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks import model
from benchmarks.chat_turn import our_door
from benchmarks.load import WrongAnswer, drive
from benchmarks.stage import USERS, Home

PAGES = ("/", "/docs", "/openapi.json", "/readiness")
LISTS = ("/v1/me", "/v1/tools", "/v1/conversations", "/v1/tasks", "/v1/activity", "/v1/analytics/tool_use")
DOCUMENT = b"# Retention\n\nWorking papers are kept for seven years.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """A server's doors, and who comes to them."""

    home: Home
    url: str

    def open_all(self) -> None:
        """Page, lists, documents, search, chat, MCP.

        Raises  WrongAnswer.
        """
        asyncio.run(self._rest())
        asyncio.run(drive(our_door(self.home, self.url), model.AT_ONCE, users=USERS, turns=2))
        asyncio.run(self._mcp())

    async def _rest(self) -> None:
        headers = {"Authorization": f"Bearer {self.home.token(0)}"}
        async with aiohttp.ClientSession(self.url, headers=headers) as session:
            for path in (*PAGES, *LISTS):
                async with session.get(path) as answer:
                    await _good(answer)
            form = aiohttp.FormData()
            form.add_field("files", DOCUMENT, filename="retention.md", content_type="text/markdown")
            async with session.post("/v1/knowledge/documents?wait=true", data=form) as answer:
                await _good(answer)
            async with session.post("/v1/knowledge/search", json={"query": "retention"}) as answer:
                await _good(answer)

    async def _mcp(self) -> None:
        headers = {"Authorization": f"Bearer {self.home.token(0, 'mcp')}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
            async with Client(transport, mode="auto") as client:
                await client.list_tools()
                result = await client.call_tool(model.TOOL, {"limit": 1})
        if result.is_error:
            raise WrongAnswer(f"/mcp: {result.content}")


async def _good(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 300:
        raise WrongAnswer(f"{answer.url} answered {answer.status}: {await answer.text()}")
