"""The Slack door, driven as Slack does: mentions that an obedient model reads, and buttons that a person presses."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import orjson

from domain.kernel import Door, Mode
from tests.support.driven_doors import Asked
from tests.support.fake_slack import CHANNEL, FakeSlack, Message
from tests.support.parity import Told, Who
from tests.support.parity_world import slack_user
from tests.support.site import Site

Json = dict[str, Any]

AT_ONCE = 10
"""Calls of one mention: so many are listed below its answer one by one."""


@dataclass(frozen=True, slots=True)
class SlackMentions:
    """Mentions in a channel, answered by the obedient model; the hub must have been opened with it."""

    site: Site
    slack: FakeSlack
    name: str = "slack"
    door: Door = "slack"
    mode: Mode = "agent"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        told: list[Told] = []
        for first in range(0, len(calls), AT_ONCE):
            told += await self._mention(who, calls[first : first + AT_ONCE])
        return told

    async def _mention(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        text = html.escape(orjson.dumps(calls).decode(), quote=False)
        body = self.slack.mention(slack_user(who), text)
        await _deliver(self.site, self.slack, body)
        thread_ts = body["event"]["ts"]
        told: list[Told] = []

        def is_answered() -> bool:
            told[:] = [each for message in self.slack.posted(CHANNEL, thread_ts) for each in told_below(message)]
            return len(told) >= len(calls)

        await self.slack.until(is_answered)
        return told


@dataclass(frozen=True, slots=True)
class SlackButtons:
    """The buttons under a question, and the form that asks why; the only tool that has them is approval_decide."""

    site: Site
    slack: FakeSlack
    name: str = "slack buttons"
    door: Door = "slack"
    mode: Mode = "person"

    async def make(self, who: Who, calls: Sequence[Asked]) -> list[Told]:
        return [await self._press(who, arguments) for _, arguments in calls]

    async def _press(self, who: Who, arguments: Json) -> Told:
        question = self._question(arguments["approval_id"])
        asked = len(self.slack.views)
        presser = slack_user(who)
        await _deliver(self.site, self.slack, self.slack.press(question, "glow_reject", presser))
        await self.slack.until(lambda: len(self.slack.views) > asked)
        whispered = len(self.slack.whispered(presser))
        form = self.slack.send_form(self.slack.views[-1], presser, arguments["comment"])
        await _deliver(self.site, self.slack, form)
        told: list[Told] = []

        def is_told() -> bool:
            said = [question, *self.slack.whispered(presser)[whispered:]]
            told[:] = [each for message in said for each in told_below(message)]
            return bool(told)

        await self.slack.until(is_told)
        return told[0]

    def _question(self, approval_id: str) -> Message:
        """A message with the buttons of an approval that was asked for elsewhere."""
        buttons = [{"type": "button", "action_id": "glow_reject", "value": approval_id}]
        message = Message(ts=self.slack.ts(), channel=CHANNEL, blocks=[{"type": "actions", "elements": buttons}])
        self.slack.messages[message.ts] = message
        return message


async def _deliver(site: Site, slack: FakeSlack, body: Json) -> None:
    async with httpx.AsyncClient(base_url=site.url) as http:
        answer = await slack.deliver(http, body)
    assert answer.status_code == 200, answer.text


def told_below(message: Message) -> list[Told]:
    """The calls that a message lists: a line each, whose block carries the call's id."""
    told: list[Told] = []
    for block in message.blocks:
        kind, _, call_id = str(block.get("block_id", "")).partition(":")
        if kind == "call":
            words = block["elements"][0]["text"].split()
            told.append(Told(call_id=UUID(call_id), outcome=words[1]))
    return told
