"""What a thread says is going on while a call takes its time: bounded in number, and nothing depends on it."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from server.slack.answer import Place
from server.slack.web import Clock, Pause, SlackWeb
from server.slack.words import escaped, shortened

BETWEEN_STATUSES_S = 1.0
"""Slack takes some hundreds a minute of an app in a workspace; what comes meanwhile goes with the next one."""
LONGEST_STATUS = 140


@dataclass(slots=True)
class Status:
    """The status of one thread for the length of a block. Slack takes it away when the app says something there.

    One refusal is the last try. Said by a task of its own, so that nobody waits for the time between two of them; the
    block ends with the status taken away, whatever was still to be said.
    """

    web: SlackWeb
    place: Place
    pause: Pause
    clock: Clock
    _wanted: str = ""
    _shown: str = ""
    _shown_at: float = field(default=float("-inf"))
    _taken: bool = True
    _pausing: bool = False
    _telling: "asyncio.Task[None] | None" = None

    def show(self, words: str) -> None:
        """Have the thread say this soon, or what is shown later instead; empty: nothing more."""
        self._wanted = words
        if self._has_more and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wanted = ""
        if self._telling is not None:
            # What is on its way to Slack is seen through: it must not come behind the answer.
            if self._pausing or kind is not None:
                self._telling.cancel()
            await asyncio.wait([self._telling])
        if kind is None and self._has_more:
            await self._say("")

    @property
    def _has_more(self) -> bool:
        return self._taken and self._wanted != self._shown

    async def _tell(self) -> None:
        while self._has_more:
            self._pausing = True
            await self.pause(max(0.0, self._shown_at + BETWEEN_STATUSES_S - self.clock()))
            self._pausing = False
            if self._has_more:
                await self._say(self._wanted)

    async def _say(self, words: str) -> None:
        """Never raises for Slack's sake."""
        self._taken = await self.web.tried_once(
            "assistant.threads.setStatus",
            channel_id=self.place.channel_id,
            thread_ts=self.place.thread_ts,
            status=escaped(shortened(words, LONGEST_STATUS)),
        )
        self._shown, self._shown_at = words, self.clock()
