"""Asking clients of revision 2025-11-25 over HTTP: a request on the stream of their call's answer.

This server keeps no sessions. What a client has declared when it shook hands it brings back in its session's id, and
what it answers comes as a request of its own: to whichever process, which may not be the one that asks.
"""

import asyncio
from typing import cast
from uuid import uuid4

import orjson
from mcp import types
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from domain.kernel import PrincipalId
from server.mcp.asking import Action

SESSION = "mcp-session-id"
_SHOWS = "shows-pages."
"""How the id of a session begins whose client shows pages; it opens nothing, and is believed as what a client says."""

Json = dict[str, object]


def session_of(message: object) -> str | None:
    """The id for the session of a client that shakes hands; None: it needs none."""
    said = _object(message)
    elicitation = _object(_object(_object(said.get("params")).get("capabilities")).get("elicitation"))
    shakes_hands = said.get("method") == "initialize"
    return f"{_SHOWS}{uuid4().hex}" if shakes_hands and isinstance(elicitation.get("url"), dict) else None


def shows_pages(session: str | None) -> bool:
    """Whether the client with this session's id has declared that it shows pages."""
    return session is not None and session.startswith(_SHOWS)


def greeting(session: str, send: Send) -> Send:
    """Gives the session's id with the answer, unless that is a refusal."""

    async def greeted(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            MutableHeaders(scope=message)[SESSION] = session
        await send(message)

    return greeted


class AnswerStream:
    """The stream on which a call is answered, and on which its client can be asked for something before."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._one_at_a_time = asyncio.Lock()
        self._begun = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Pass on what the SDK sends."""
        async with self._one_at_a_time:
            await self._send(message)
        self._begun.set()

    async def ask(self, request: Json) -> None:
        """Send a request of our own, in an event of its own."""
        await self._begun.wait()
        event = b"event: message\r\ndata: " + orjson.dumps(request) + b"\r\n\r\n"
        await self.send({"type": "http.response.body", "body": event, "more_body": True})


class Shown:
    """What clients of this process were asked to show, until they say whether they do."""

    def __init__(self) -> None:
        self._open: dict[tuple[PrincipalId, str], asyncio.Future[Action]] = {}

    async def ask(self, stream: AnswerStream, whose: PrincipalId, page: types.ElicitRequestURLParams) -> Action:
        """Ask, and give what the client says; it may never say anything."""
        key = (whose, f"approval-{page.elicitation_id}")
        answered = self._open[key] = asyncio.get_running_loop().create_future()
        try:
            params = page.model_dump(by_alias=True, exclude_none=True)
            await stream.ask({"jsonrpc": "2.0", "id": key[1], "method": "elicitation/create", "params": params})
            return await answered
        finally:
            del self._open[key]

    def hear(self, whose: PrincipalId, message: object) -> None:
        """Take a message that may be the answer of one that was asked; others it leaves alone."""
        said = _object(message)
        answered = self._open.get((whose, str(said.get("id"))))
        if "method" not in said and answered is not None and not answered.done():
            action = _object(said.get("result")).get("action")
            answered.set_result("accept" if action == "accept" else "decline" if action == "decline" else "cancel")


def _object(value: object) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}
