"""A session of `glow chat`: reads what the person says, shows what the run tells, and asks for what waits."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Self, cast

from agent.conversations.model import MESSAGE_LENGTH
from agent.runs import RunHandle
from domain.kernel import DomainError
from server.cli.chat.commands import Asks, Commands, Quit
from server.cli.chat.talk import Talk
from server.cli.chat.views import View
from server.cli.printing import complain
from server.lines import Lines
from tools.outcomes import Json
from tools.ports import Unavailable

MOST_BYTES_A_CHARACTER = 4
"""In UTF-8."""
WELL = frozenset({"run.completed", "run.waiting"})
"""A run that waits was answered as far as it can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """A run that was left waiting, and how far it was shown."""

    begun: RunHandle
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """The last event that was shown."""

    type: str = ""
    sequence: int = 0
    approvals: frozenset[str] = frozenset()
    """What a run that waits waits for."""

    @classmethod
    def of(cls, event: Json) -> Self:
        approvals = frozenset(cast("list[str]", event.get("approvals", [])))
        return cls(type=str(event["type"]), sequence=cast(int, event["sequence"]), approvals=approvals)


class Session:
    """One person at one terminal, or a program that reads the events and nothing else."""

    def __init__(self, talk: Talk, view: View, asks: Asks, *, for_machines: bool = False) -> None:
        self._talk = talk
        self._for_machines = for_machines
        self._view = view
        self._left: _Left | None = None
        self.commands = Commands(talk, asks)

    async def converse(self, lines: AsyncGenerator[str]) -> bool:
        """Every line in turn, to the last one; False when the last message's answer failed."""
        well = True
        async with aclosing(lines):
            async for line in lines:
                if not line.strip():
                    continue
                try:
                    well = await self._done(line)
                except Quit:
                    break
        return well

    async def _done(self, line: str) -> bool:
        done = await self.commands.run(line.strip())
        if done is False:
            return await self.say(line)
        try:
            if isinstance(done, RunHandle):
                return await self._followed(done, after=0)
            await self._taken_up()
        except (DomainError, Unavailable) as refused:
            complain(f"glow: {refused}")
        return done is True

    async def say(self, message: str) -> bool:
        """A message and its answer; False when there was none, or none to the end."""
        try:
            return await self._answered(message)
        except (DomainError, Unavailable) as refused:
            complain(f"glow: {refused}")
            return False

    async def _answered(self, message: str) -> bool:
        return await self._followed(await self._talk.begin(message), after=0)

    async def _followed(self, begun: RunHandle, after: int) -> bool:
        """The run from there on, through what it waits for, to its end or to where that is left open."""
        while True:
            shown = await self._shown(begun, after)
            self._left = _Left(begun=begun, after=shown.sequence) if shown.type == "run.waiting" else None
            if self._left is None or self._for_machines or not await self.commands.ask_about(shown.approvals):
                return shown.type in WELL
            await self._talk.go_on(begun)
            after = shown.sequence

    async def _shown(self, begun: RunHandle, after: int) -> "_Last":
        last = _Last()
        try:
            with self._stopped_by_ctrl_c(begun):
                async for text, event in self._talk.events(begun, after):
                    self._view.show(text, event)
                    last = _Last.of(event)
                    if last.type == "message.completed":
                        self.commands.cited(event)
        finally:
            self._view.close()
        return last

    async def _taken_up(self) -> None:
        """What was left waiting and was answered since, by a command here or elsewhere, is followed to its end."""
        left = self._left
        if left is None or self._for_machines or left.begun.conversation_id != self._talk.conversation_id:
            return
        await self._talk.go_on(left.begun)
        if not await self._talk.waits(left.begun):
            await self._followed(left.begun, left.after)

    @contextmanager
    def _stopped_by_ctrl_c(self, begun: RunHandle) -> Generator[None]:
        """While an answer comes, Ctrl-C stops it and not the program."""
        loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGINT)
        stopping: list[asyncio.Task[None]] = []
        loop.add_signal_handler(signal.SIGINT, lambda: stopping.append(asyncio.ensure_future(self._talk.cancel(begun))))
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            signal.signal(signal.SIGINT, before)
            for task in stopping:
                task.cancel()


async def piped_lines() -> AsyncGenerator[str]:
    """The lines of standard input where it is no terminal; one that is too long for a message is refused as any is."""
    async for line in Lines(sys.stdin.fileno(), longest=MOST_BYTES_A_CHARACTER * MESSAGE_LENGTH):
        yield line.decode(errors="replace")


async def nobody(_: str) -> str | None:
    """Where no person sits nothing is answered for one: what a pipe says is never taken for consent."""
    return None
