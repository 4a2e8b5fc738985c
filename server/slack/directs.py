"""Direct messages to those who may decide a question: each once when it is asked, and once when it is reminded of.

Whom is written to is planned in one transaction and kept like deliveries, which the inbox works off. What a process had
begun that is lost is looked up in Slack by what the message carries, and never said twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import structlog

from agent.frames import json_text
from domain.approvals.model import ApprovalItem
from domain.approvals.service import ApprovalNotFound
from domain.kernel import ApprovalId, Principal
from server.database.identities import Member
from server.database.slack import EventKey, KeptEvent, PostgresSlack, Question, Untold
from server.hub import Hub
from server.slack.blocks import decided_blocks, fallback, question_blocks, section
from server.slack.deliveries import Occasion, ToDecider
from server.slack.inbox import Done, Ended, Later, TakenOver
from server.slack.people import People, Stranger, principal_of
from server.slack.questions import GONE, LEASE
from server.slack.web import Json, SlackAway, SlackSaysNo, SlackWeb
from server.slack.words import escaped

log = structlog.get_logger()

PLANNED_AT_ONCE = 20
SETTLED_AT_ONCE = 20
AT_ONCE = 4
"""Direct messages under way in this process: the rest waits, so that answers to people do not."""
WHEN_BUSY = timedelta(seconds=2)
LOOKED_THROUGH = 999
"""A conversation's newest messages among which a lost process's is looked for: all that Slack gives at once."""
EVENT_TYPE = "glow_question"
"""Of what a message carries, by which it is known again."""
HEADING: Mapping[Occasion, str] = {
    "asked": "You may decide this",
    "reminded": "You may decide this, and nobody has yet",
}
SETTLED = "This question is settled; what became of it is not yours to see any more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Directs:
    """Writes to those who may decide, in their own eyes; a button decides as under every question."""

    web: SlackWeb
    store: PostgresSlack
    people: People
    hub: Hub
    enabled: bool
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def plan(self) -> None:
        """Note whom is to be written to of what is asked or reminded of since.

        Raises  Unavailable.
        """
        if not self.enabled:
            return
        for untold in await self.store.untold(PLANNED_AT_ONCE):

            async def notes(addresses: Sequence[str], untold: Untold = untold) -> Mapping[str, str]:
                return await self._notes(untold, addresses)

            await self.store.plan(untold, notes)

    async def tell(self, key: EventKey, kept: KeptEvent, note: ToDecider) -> Ended:
        """Write to one of them, unless the message stands already, or nobody is asked any more."""
        if self.room.locked():
            return Later(after=WHEN_BUSY, however_long=True)
        async with self.room:
            return await self._told(key, kept, note)

    async def settle_answered(self) -> None:
        """Have each message whose question was answered, at whatever door, or has expired, say so.

        Raises  Unavailable.
        """
        for question in await self.store.answered_directly(SETTLED_AT_ONCE, LEASE):
            try:
                await self._show_settled(question)
            except SlackAway as away:
                log.warning("slack.put_off", reason=str(away), approvalId=str(question.approval_id))
                continue
            except SlackSaysNo as no:  # it would say so again: its buttons stay, and answer that it is decided
                log.error("slack.question_stands", code=no.code, approvalId=str(question.approval_id))
            await self.store.settle_directly(question)

    async def _notes(self, untold: Untold, addresses: Sequence[str]) -> Mapping[str, str]:
        """By ids that name nobody: the plan is kept whole, or not at all."""
        notes: dict[str, str] = {}
        for number, address in enumerate(addresses):
            principal_id = await self.hub.identities.principal_by_email(address)
            if principal_id is not None:
                occasion: Occasion = "reminded" if untold.occasion == "reminded" else "asked"
                note = ToDecider(approval_id=untold.approval_id, principal_id=principal_id, occasion=occasion)
                notes[f"decider:{untold.approval_id}:{occasion}:{number}"] = json_text(note.body())
        return notes

    async def _told(self, key: EventKey, kept: KeptEvent, note: ToDecider) -> Ended:
        member = await self.hub.identities.member_of(key.organization_id, note.principal_id)
        if member is None:
            return Done(outcome="not_a_member")
        stands = await self._stands(key, kept, note)
        if stands is None:
            stands = await self._posted(key, note, member)
        if isinstance(stands, Done):
            return stands
        question = Question(
            organization_id=key.organization_id,
            approval_id=note.approval_id,
            team_id=key.team_id,
            channel_id=stands.channel_id,
            message_ts=stands.message_ts,
            principal_id=note.principal_id,
        )
        await self.store.ask_directly(question, note.occasion)
        return Done(outcome=f"decider_{note.occasion}")

    async def _stands(self, key: EventKey, kept: KeptEvent, note: ToDecider) -> "_Message | None":
        """The message, where one that worked on it before has posted it; Slack is asked where that is not known."""
        match kept.posted:
            case (channel_id, message_ts):
                return _Message(channel_id=channel_id, message_ts=message_ts)
            case (channel_id,):
                found = await self._found(channel_id, note)
                return None if found is None else await self._remember(key, channel_id, found)
            case _:
                return None

    async def _posted(self, key: EventKey, note: ToDecider, member: Member) -> "_Message | Done":
        decider = principal_of(member, "person")
        item = await self._item(decider, note.approval_id)
        if item is None or item.approval.state != "pending":
            return Done(outcome="nothing_to_decide")
        user_id = await self.people.reached(member, key.team_id)
        if isinstance(user_id, Stranger):
            return Done(outcome=f"stranger:{user_id.why}")
        opened = await self.web.call("conversations.open", users=user_id)
        channel_id = str(cast(Json, opened["channel"])["id"])
        # From here on whoever takes this over asks Slack whether the message stands.
        if not await self.store.posted(key, [channel_id]):
            raise TakenOver
        said = await self.web.call(
            "chat.postMessage",
            channel=channel_id,
            unfurl_links=False,
            unfurl_media=False,
            text=fallback(f"{HEADING[note.occasion]}: {item.approval.tool}"),
            blocks=await self._blocks(decider, item, note.occasion),
            metadata={"event_type": EVENT_TYPE, "event_payload": _carried(note)},
        )
        return await self._remember(key, channel_id, str(said["ts"]))

    async def _remember(self, key: EventKey, channel_id: str, message_ts: str) -> "_Message":
        if not await self.store.posted(key, [channel_id, message_ts]):
            raise TakenOver
        return _Message(channel_id=channel_id, message_ts=message_ts)

    async def _found(self, channel_id: str, note: ToDecider) -> str | None:
        """The message as Slack has it; None: it never came to be posted."""
        said = await self.web.read(
            "conversations.history",
            channel=channel_id,
            include_all_metadata="true",
            limit=str(LOOKED_THROUGH),
        )
        for message in cast("list[Json]", said.get("messages") or []):
            metadata = cast(Json, message.get("metadata") or {})
            if metadata.get("event_type") == EVENT_TYPE and metadata.get("event_payload") == _carried(note):
                return str(message["ts"])
        return None

    async def _blocks(self, decider: Principal, item: ApprovalItem, occasion: Occasion) -> list[Json]:
        """What the decider may see of it, by a session of their own."""
        async with self.hub.transactions.session(decider.organization_id, decider.principal_id) as session:
            approvals = session.work.approvals
            comparison, subjects = await approvals.comparison(item.approval), await approvals.subjects(item.approval)
        url = self.hub.approval_url(item.approval.approval_id)
        return question_blocks(item, url, comparison, HEADING[occasion], subjects)

    async def _show_settled(self, question: Question) -> None:
        member = await self.hub.identities.member_of(question.organization_id, question.principal_id)
        item = None if member is None else await self._item(principal_of(member, "person"), question.approval_id)
        headline = SETTLED if item is None else f"{item.approval.tool}: {item.approval.state}"
        try:
            await self.web.call(
                "chat.update",
                channel=question.channel_id,
                ts=question.message_ts,
                text=fallback(headline),
                blocks=[section(escaped(SETTLED))] if item is None else decided_blocks(item),
            )
        except SlackSaysNo as no:
            if no.code not in GONE:
                raise
            log.info("slack.question_gone", code=no.code)

    async def _item(self, principal: Principal, approval_id: ApprovalId) -> ApprovalItem | None:
        async with self.hub.transactions.session(principal.organization_id, principal.principal_id) as session:
            try:
                return await session.work.approvals.get(approval_id, self.hub.clock())
            except ApprovalNotFound:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """Where a message stands."""

    channel_id: str
    message_ts: str


def _carried(note: ToDecider) -> Json:
    """What a message carries, unseen."""
    return {"approval_id": str(note.approval_id), "occasion": note.occasion}
