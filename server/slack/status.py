"""What a thread says is going on while a call takes its time: bounded in number, and nothing depends on it."""

from dataclasses import dataclass, field

from server.slack.answer import Place
from server.slack.web import Clock, Pause, SlackWeb
from server.slack.words import escaped, shortened

BETWEEN_STATUSES_S = 1.0
"""Slack takes some hundreds a minute of an app in a workspace; what comes meanwhile goes with the next one."""
LONGEST_STATUS = 140


@dataclass(slots=True)
class Status:
    """The status of one thread. Slack takes it away when the app says something there; one refusal is the last try."""

    web: SlackWeb
    place: Place
    pause: Pause
    clock: Clock
    _shown: str = ""
    _shown_at: float = field(default=float("-inf"))
    _taken: bool = True

    async def show(self, words: str) -> None:
        """Have the thread say this; empty: nothing more. Never raises for Slack's sake."""
        if words == self._shown or not self._taken:
            return
        await self.pause(max(0.0, self._shown_at + BETWEEN_STATUSES_S - self.clock()))
        self._taken = await self.web.tried_once(
            "assistant.threads.setStatus",
            channel_id=self.place.channel_id,
            thread_ts=self.place.thread_ts,
            status=escaped(shortened(words, LONGEST_STATUS)),
        )
        self._shown, self._shown_at = words, self.clock()
