"""The MCP door on standard input and output: the same protocol as over HTTP, for one principal and one client."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import anyio
import orjson
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import ElicitRequest, ElicitRequestURLParams, ElicitResult
from pydantic import ValidationError

from domain.kernel import Principal
from server.http.bodies import JSON_LIMIT, checked
from server.http.marks import Marks
from server.hub import Hub
from server.lines import Lines
from server.mcp.asking import Action, declares_pages
from server.mcp.messages import check_message, error_of
from server.mcp.protocol import Context, protocol_server
from server.problems import Problem
from tools.outcomes import CallOutcome

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class OverStdio:
    """Satisfies Wire: one principal for as long as the process lives."""

    whose: Principal

    def principal(self, context: Context, /) -> Principal:
        """The one that the command was started for."""
        return self.whose

    def marks(self, context: Context, /) -> Marks | None:
        """None: a line has no headers."""
        return None

    def away(self, context: Context, /) -> None:
        """Nothing besides the error that the client gets."""

    def made(self, context: Context, /) -> CallOutcome | None:
        """None: there is one way only."""
        return None

    def shows(self, context: Context, /) -> bool:
        """As it has declared."""
        return declares_pages(context)

    async def show(self, context: Context, page: ElicitRequestURLParams, /) -> Action:
        """By a request of the server's own; what is no answer, or an error, is none."""
        asked = ElicitRequest(params=page)
        try:
            answer = await context.session.send_request(
                asked, ElicitResult, metadata=ServerMessageMetadata(related_request_id=context.request_id)
            )
        except (MCPError, ValidationError):
            return "cancel"
        return answer.action


async def serve_stdio(hub: Hub, principal: Principal, *, stdin: int = 0, stdout: int = 1) -> None:
    """Serve until the client closes its end of the input, or takes no answers any more."""
    server = protocol_server(hub, OverStdio(principal))
    with _nothing_but_answers(stdout) as wire:
        answers, lines = Answers(wire), Lines(stdin, longest=JSON_LIMIT)
        # Of its files the SDK asks no more than these two can.
        asked = cast("anyio.AsyncFile[str]", Messages(lines, answers))
        with _ended_by_signals(lines):
            try:
                async with stdio_server(asked, cast("anyio.AsyncFile[str]", answers)) as (read, write):
                    await server.run(read, write, server.create_initialization_options())
            except* BrokenPipeError:
                pass


@contextmanager
def _ended_by_signals(lines: Lines) -> Generator[None]:
    """The first signal ends the input, as a client does that closes it: the SDK is not made to be cancelled."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        lines.end()
        for each in _SIGNALS:
            loop.remove_signal_handler(each)

    before = [(each, signal.getsignal(each)) for each in _SIGNALS]
    for each in _SIGNALS:
        loop.add_signal_handler(each, end)
    try:
        yield
    finally:
        for each, handler in before:
            loop.remove_signal_handler(each)
            signal.signal(each, handler)


@contextmanager
def _nothing_but_answers(stdout: int) -> Generator[int]:
    """Where answers go. Meanwhile whatever else prints to standard output reaches standard error instead."""
    wire = os.dup(stdout)
    os.dup2(2, stdout)
    try:
        yield wire
    finally:
        os.dup2(wire, stdout)
        os.close(wire)


class Answers:
    """The lines that go out, each whole."""

    def __init__(self, wire: int) -> None:
        self._wire = wire
        self._one_at_a_time = asyncio.Lock()

    async def write(self, line: str) -> None:
        """Raises  BrokenPipeError: nobody reads any more."""
        async with self._one_at_a_time:
            await asyncio.to_thread(self._write, line.encode())

    async def flush(self) -> None:
        """Nothing is held back."""

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._wire, data) :]


class Messages:
    """The messages that come in, held to what every door takes for JSON; what is none is answered and passed over."""

    def __init__(self, lines: Lines, answers: Answers) -> None:
        self._lines = lines
        self._answers = answers

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._lines:
            try:
                check_message(checked(_within(line)))
            except Problem as refused:
                await self._answers.write(orjson.dumps(error_of(refused)).decode() + "\n")
            else:
                yield line.decode()


def _within(line: bytes) -> bytes:
    if len(line) > JSON_LIMIT:
        raise Problem(413, "payload_too_large", f"A message is at most {JSON_LIMIT} bytes.")
    return line
