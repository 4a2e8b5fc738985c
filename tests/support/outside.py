"""Something outside the hub that does a thing once for each key and counts, and a tool that acts on it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar

import aiohttp
from aiohttp import web

from domain.kernel import DomainError, Effect, Role
from tools.handlers.arguments import Arguments
from tools.manifest import ApprovalRule, Manifest
from tools.outcomes import Json
from tools.outside import Happened, NeverHappened, Outside, OutsideContext, Settled
from tools.work import CallContext, Handler

TOOL = "letter_send"
Turn = Callable[[str], Awaitable[None]]


async def _nothing(_stage: str) -> None:
    return


@dataclass(slots=True)
class PostOffice:
    """Sends each letter once, by the key it came with, whoever brings it and however often."""

    sent: dict[str, str] = field(default_factory=dict[str, str])
    """To whom, by key."""
    brought: int = 0
    """How often anybody brought a letter, the same one counted each time."""
    asked: int = 0
    turn: Turn = _nothing
    """What happens when a letter is `received`, and when it is `sent`, before anything is answered."""
    closed: bool = False
    """It answers nobody."""

    async def send(self, request: web.Request) -> web.Response:
        key, to = request.headers["Idempotency-Key"], str((await request.json())["to"])
        self.brought += 1
        if self.closed:
            return web.Response(status=503)
        await self.turn("received")
        if to == "nobody":
            return web.Response(status=422)
        self.sent.setdefault(key, to)
        await self.turn("sent")
        return web.json_response({"number": list(self.sent).index(key) + 1})

    async def find(self, request: web.Request) -> web.Response:
        self.asked += 1
        key = request.match_info["key"]
        if self.closed:
            return web.Response(status=503)
        if key not in self.sent:
            return web.Response(status=404)
        return web.json_response({"number": list(self.sent).index(key) + 1})


@asynccontextmanager
async def serving(office: PostOffice) -> AsyncGenerator[str]:
    """The office on loopback, for the length of the block; gives its address."""
    app = web.Application()
    app.router.add_post("/letters", office.send)
    app.router.add_get("/letters/{key}", office.find)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


class Letter(Arguments):
    to: str


class NobodyThere(DomainError):
    code: ClassVar[str] = "nobody_there"


def letter_tool(
    url: str, effect: Effect = "prepare", timeout: timedelta = timedelta(seconds=10)
) -> tuple[Manifest, Handler[Letter]]:
    """A tool whose effect is at the office at `url`."""

    async def act(letter: Letter, context: OutsideContext) -> object:
        async with aiohttp.ClientSession() as session:
            answer = await session.post(
                f"{url}/letters", json={"to": letter.to}, headers={"Idempotency-Key": context.key}
            )
            if answer.status == 422:
                raise NobodyThere("to: the office knows nobody of that name")
            answer.raise_for_status()
            return await answer.json()

    async def settle(_letter: Letter, context: OutsideContext) -> Settled:
        async with aiohttp.ClientSession() as session:
            answer = await session.get(f"{url}/letters/{context.key}")
            if answer.status == 404:
                return NeverHappened()
            answer.raise_for_status()
            return Happened(await answer.json())

    async def result(letter: Letter, context: CallContext) -> Json:
        said = context.prepared
        assert isinstance(said, dict)
        return {"to": letter.to, "number": said["number"]}

    properties: Json = {"to": {"type": "string"}, "number": {"type": "integer"}}
    manifest = Manifest(
        name=TOOL,
        version="1",
        title="Send a letter",
        description="Sends a letter.",
        effect=effect,
        least_role=Role.EMPLOYEE,
        doors=frozenset({"rest", "chat", "worker"}),
        writes=(),
        approval=ApprovalRule(role=Role.PARTNER, four_eyes=effect == "irreversible", expires_after=timedelta(hours=1)),
        control=None,
        outside=True,
        timeout=timeout,
        result_limit=1000,
        trust="external",
        subjects={},
        arguments={
            "type": "object",
            "additionalProperties": False,
            "required": ["to"],
            "properties": {"to": {"type": "string"}},
        },
        result={
            "type": "object",
            "additionalProperties": False,
            "required": ["to", "number"],
            "properties": properties,
        },
    )
    return manifest, Handler(arguments=Letter, work=result, outside=Outside(act=act, settle=settle))


async def hang(_stage: str) -> None:
    """A turn at which the office never goes on."""
    await asyncio.Event().wait()
