"""Messages in Slack: who says it, in which conversation, a run like any other, and its answer in the thread."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

import structlog

from agent.conversations.refusals import (
    ConversationBusy,
    ConversationNotFound,
    EngagementNotFound,
    InvalidMessage,
    RunNotFound,
    UnknownAgent,
)
from agent.frames import json_text
from agent.run_opening import NewMessage
from agent.runs import RunHandle, Runs, TooManyRuns
from domain.kernel import Principal, RunId
from server.database.slack import EventKey, KeptEvent, PostgresSlack, Team, ThreadKey
from server.slack.answer import Answer, Place
from server.slack.deliveries import Commanded, GoneOn, Opened, Said
from server.slack.inbox import Done, Ended, Later, TakenOver
from server.slack.people import People, Stranger, principal_of
from server.slack.questions import Questions, event_prefix
from server.slack.status import Status
from server.slack.telling import Telling
from server.slack.web import Json, Pause, SlackSaysNo, SlackWeb
from server.slack.words import escaped, heard, shortened

log = structlog.get_logger()

BETWEEN_APPENDS_S = 0.7
"""Slack takes some 100 appends a minute; what comes meanwhile goes with the next one."""
WHEN_BUSY = timedelta(seconds=2)
AT_REST = timedelta(minutes=1)
"""How long a run that waits is left alone; an answer in Slack, or the sweep of questions, is heard at once."""
GOES_ON_WITHIN_S = 15.0
"""What a run whose question was answered gets to say its first word."""

UNKNOWN = (
    "I am sorry: I cannot tell which member of the firm you are, so I cannot answer here. I know people by the "
    "confirmed e-mail address of their Slack account; please ask whoever looks after the hub in your firm."
)
SHARED = "People of another company can read this channel, so I do not answer in it. Please ask me in a direct message."
NOTHING_SAID = "What would you like to know? Mention me together with your question."
NO_ENGAGEMENT = "This channel belongs to an engagement that you have no access to, so I cannot answer you here."
NO_AGENT = "Whoever was to answer in this channel is not there any more; an administrator can name another."
GREETING = "Ask me about the firm's documents, tasks and figures. I answer in this thread."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Of a run, what one answer tells: from its beginning, or from where it was told already."""

    run_id: RunId
    after: int
    user_team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """Answers what people say."""

    web: SlackWeb
    store: PostgresSlack
    people: People
    runs: Runs
    questions: Questions
    pause: Pause = asyncio.sleep

    async def greet(self, opened: Opened) -> Ended:
        """Somebody has opened a thread with the assistant."""
        await self.web.call(
            "chat.postMessage", channel=opened.channel_id, thread_ts=opened.thread_ts, text=escaped(GREETING)
        )
        return Done(outcome="greeted")

    async def command(self, key: EventKey, kept: KeptEvent, team: Team, commanded: Commanded) -> Ended:
        """A slash command is answered where only whoever typed it reads: in their direct messages."""
        opened = await self.web.call("conversations.open", users=commanded.user_id)
        channel_id = str(cast(Json, opened["channel"])["id"])
        if kept.posted:
            ts, *earlier = kept.posted
        else:
            words = escaped(shortened(commanded.text.strip() or NOTHING_SAID, 1000))
            repeated = await self.web.call("chat.postMessage", channel=channel_id, text=words)
            ts, earlier = str(repeated["ts"]), list[str]()
            if not await self.store.posted(key, [ts]):
                raise TakenOver
        said = Said(
            user_id=commanded.user_id,
            user_team=commanded.user_team,
            channel_id=channel_id,
            ts=ts,
            thread_ts=ts,
            text=commanded.text,
            direct=True,
            shared=False,
        )
        return await self._answer(key, tuple(earlier), team, said, before=(ts,))

    async def answer(self, key: EventKey, kept: KeptEvent, team: Team, said: Said) -> Ended:
        """A mention, or a direct message."""
        return await self._answer(key, kept.posted, team, said)

    async def _answer(
        self, key: EventKey, earlier: tuple[str, ...], team: Team, said: Said, before: tuple[str, ...] = ()
    ) -> Ended:
        if said.shared and not said.direct:
            return await self._refuse(said, SHARED, "shared_channel")
        member = await self.people.member(team.organization_id, key.team_id, said.user_id, said.user_team)
        if isinstance(member, Stranger):
            log.info("slack.stranger", why=member.why)
            return await self._refuse(said, UNKNOWN, f"stranger:{member.why}")
        text = heard(said.text, team.bot_user_id)
        if not text:
            return await self._refuse(said, NOTHING_SAID, "nothing_said")
        principal = principal_of(member, "agent")
        begun = await self._begun(key, principal, said, text)
        if not isinstance(begun, RunHandle):
            return begun
        place = Place(channel_id=said.channel_id, thread_ts=said.thread_ts, team_id=key.team_id, user_id=said.user_id)
        answer = self._answer_in(key, place, earlier, before)
        part = _Part(run_id=begun.run_id, after=0, user_team=said.user_team)
        return await self._told(key, principal, part, answer, Telling())

    async def go_on(self, key: EventKey, kept: KeptEvent, team: Team, waited: GoneOn) -> Ended:
        """A run that waited: what it tells once its questions are answered, below what it told before."""
        member = await self.people.member(team.organization_id, key.team_id, waited.user_id, waited.user_team)
        if isinstance(member, Stranger):
            return Done(outcome=f"stranger:{member.why}")
        principal = principal_of(member, "agent")
        if await self.questions.open(principal, waited.approvals):
            return Later(after=AT_REST, however_long=True)
        place = Place(
            channel_id=waited.channel_id, thread_ts=waited.thread_ts, team_id=key.team_id, user_id=waited.user_id
        )
        part = _Part(run_id=waited.run_id, after=waited.after, user_team=waited.user_team)
        answer, telling = self._answer_in(key, place, kept.posted, ()), Telling(tools=waited.tools)
        try:
            async with asyncio.timeout(GOES_ON_WITHIN_S) as patience:
                return await self._told(key, principal, part, answer, telling, patience)
        except TimeoutError:
            return Later(after=WHEN_BUSY, however_long=True)
        except RunNotFound:
            return Done(outcome="run_gone")

    async def _told(
        self,
        key: EventKey,
        principal: Principal,
        part: "_Part",
        answer: Answer,
        telling: Telling,
        patience: asyncio.Timeout | None = None,
    ) -> Ended:
        """The answer in its thread, the questions it leaves, and a note of where it goes on once they are answered.

        `patience`: for the first word; what is told takes the time it takes.
        """
        await self._streamed(principal, part, answer, telling, patience)
        refused = await self._finished(answer, telling)
        for approval_id in telling.approvals:
            await self.questions.ask(principal, answer.place, approval_id)
        if telling.waits:
            await self._note(key, part, answer.place, telling)
        if refused is not None:
            raise refused
        return Done(outcome="waiting" if telling.waits else "answered")

    async def _note(self, key: EventKey, part: "_Part", place: Place, telling: Telling) -> None:
        """Kept like a delivery, which nobody holds until its questions are answered or a while has passed."""
        waits = GoneOn(
            run_id=part.run_id,
            after=telling.sequence,
            approvals=tuple(telling.awaited),
            tools=telling.waiting_calls,
            user_id=place.user_id,
            user_team=part.user_team,
            channel_id=place.channel_id,
            thread_ts=place.thread_ts,
        )
        noted = replace(key, event_id=f"{event_prefix(part.run_id)}{telling.sequence}", attempt=1)
        await self.store.keep(noted, json_text(waits.body()), AT_REST)

    def _answer_in(self, key: EventKey, place: Place, earlier: tuple[str, ...], before: tuple[str, ...]) -> Answer:
        """An answer that is shown only as long as this process holds what it answers."""

        async def remember(messages: Sequence[str]) -> None:
            if not await self.store.posted(key, [*before, *messages]):
                raise TakenOver

        async def hold() -> None:
            if await self.store.load(key) is None:
                raise TakenOver

        return Answer(web=self.web, place=place, remember=remember, hold=hold, earlier=earlier)

    async def _begun(self, key: EventKey, principal: Principal, said: Said, text: str) -> RunHandle | Ended:
        """The run that the message begins, or has begun when it was worked on before."""
        try:
            return await self._start(key, principal, said, text)
        except (ConversationBusy, TooManyRuns):
            return Later(after=WHEN_BUSY)
        except EngagementNotFound:
            return await self._refuse(said, NO_ENGAGEMENT, "no_engagement")
        except UnknownAgent:
            return await self._refuse(said, NO_AGENT, "no_agent")
        except InvalidMessage as invalid:
            return await self._refuse(said, str(invalid), "invalid_message")

    async def _start(self, key: EventKey, principal: Principal, said: Said, text: str) -> RunHandle:
        thread = ThreadKey(
            organization_id=principal.organization_id,
            principal_id=principal.principal_id,
            team_id=key.team_id,
            channel_id=said.channel_id,
            thread_ts=said.thread_ts,
        )
        earlier = await self.store.conversation(thread)
        setting = None if said.direct or earlier is not None else await self.store.channel(thread)
        message = NewMessage(
            message=text,
            conversation_id=earlier,
            # A conversation keeps the engagement it began with, and who answers in it, should it have been handed over.
            agent=None if setting is None else setting.agent,
            engagement_id=None if setting is None else setting.engagement_id,
            # By the message and not by the delivery: however often it comes, it begins one run.
            client_message_id=f"slack:{said.channel_id}:{said.ts}",
        )
        try:
            begun = await self.runs.start(principal, message)
        except ConversationNotFound:  # deleted this very moment
            begun = await self.runs.start(principal, replace(message, conversation_id=None))
        await self.store.remember(thread, begun.conversation_id)
        return begun

    async def _streamed(
        self, principal: Principal, part: "_Part", answer: Answer, telling: Telling, patience: asyncio.Timeout | None
    ) -> None:
        """What the run told, shown as it comes; where another process began to show it, nothing yet."""
        live = not answer.earlier
        clock = asyncio.get_running_loop().time
        shown_at = clock() - BETWEEN_APPENDS_S
        status = Status(self.web, answer.place, self.pause, clock)
        async with status, aclosing(self.runs.pages(principal, part.run_id, part.after)) as pages:
            async for page in pages:
                if patience is not None:
                    patience.reschedule(None)
                for frame in page:
                    telling.add(frame)
                if live and not telling.ended and not telling.withdrawn and not answer.shows(telling.text):
                    await self.pause(max(0.0, shown_at + BETWEEN_APPENDS_S - clock()))
                    await answer.grow(telling.text)
                    shown_at = clock()
                if live:
                    status.show(telling.doing)
                if telling.waits:
                    return

    async def _finished(self, answer: Answer, telling: Telling) -> SlackSaysNo | None:
        """The answer is shown whole; or Slack's refusal, which keeps no question from being asked."""
        try:
            await answer.finish(telling.whole, telling.footing, as_told=not telling.withdrawn)
        except SlackSaysNo as no:
            return no
        return None

    async def _refuse(self, said: Said, words: str, outcome: str) -> Ended:
        """Polite, and without a word of the firm's; in a channel only whoever asked reads it."""
        method = "chat.postMessage" if said.direct else "chat.postEphemeral"
        await self.web.call(
            method,
            channel=said.channel_id,
            user=None if said.direct else said.user_id,
            thread_ts=said.thread_ts,
            text=escaped(words),
        )
        return Done(outcome=outcome)
