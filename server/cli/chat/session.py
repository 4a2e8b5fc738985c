"""A session of `glow chat`: reads what the person says, shows what the run tells, and asks for what waits."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager

from agent.runs import RunHandle
from domain.kernel import DomainError
from server.cli.chat.commands import Asks, Commands, Quit
from server.cli.chat.talk import Talk
from server.cli.chat.views import View
from server.cli.printing import complain

WELL = frozenset({"run.completed"})


class Session:
    """One person at one terminal, or a program that reads the events and nothing else."""

    def __init__(self, talk: Talk, view: View, asks: Asks, *, for_machines: bool = False) -> None:
        self._talk = talk
        self._for_machines = for_machines
        self._view = view
        self.commands = Commands(talk, asks)

    async def converse(self, lines: AsyncGenerator[str]) -> bool:
        """Every line in turn, to the last one; False when the last message's answer failed."""
        well = True
        async with aclosing(lines):
            async for line in lines:
                if not line.strip():
                    continue
                try:
                    well = await self.commands.run(line.strip()) or await self.say(line)
                except Quit:
                    break
        return well

    async def say(self, message: str) -> bool:
        """A message and its answer; False when there was none, or none to the end."""
        try:
            begun = await self._talk.begin(message)
        except DomainError as refused:
            complain(f"glow: {refused}")
            return False
        waiting: set[str] = set()
        ended = ""
        try:
            with self._stopped_by_ctrl_c(begun):
                async for text, event in self._talk.events(begun):
                    self._view.show(text, event)
                    ended = str(event["type"])
                    if ended == "message.completed":
                        self.commands.cited(event)
                    elif ended == "approval.requested":
                        waiting.add(str(event["approval_id"]))
        finally:
            self._view.close()
        if waiting and not self._for_machines:
            await self.commands.ask_about(waiting)
        return ended in WELL

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
    """The lines of standard input where it is no terminal."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield line


async def nobody(_: str) -> str | None:
    """Where no person sits nothing is answered for one: what a pipe says is never taken for consent."""
    return None
