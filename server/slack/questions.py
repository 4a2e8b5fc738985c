"""Questions to people: posted with buttons, answered through the gate by whoever presses, settled whoever answered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from domain.approvals.model import ApprovalAnswer, ApprovalItem
from domain.approvals.service import ApprovalNotFound
from domain.idempotency.model import IdempotencyKey
from domain.kernel import ApprovalId, CallId, Principal, RunId
from server.database.identities import Member
from server.database.slack import EventKey, PostgresSlack, Question, Team
from server.hub import Hub
from server.slack.answer import Place
from server.slack.blocks import call_block, decided_blocks, fallback, question_blocks, rejection_view, section
from server.slack.deliveries import Pressed, Rejected
from server.slack.inbox import Done, Ended
from server.slack.people import People, Stranger, principal_of
from server.slack.web import Json, SlackAway, SlackSaysNo, SlackWeb
from server.slack.words import escaped
from tools.outcomes import CallOutcome, CallRequest

log = structlog.get_logger()

AT_ONCE = 20
LEASE = timedelta(seconds=30)
NOT_YOU = "I am sorry: I cannot tell which member of the firm you are, so your answer does not count."
NO_FORM = "Slack would not open the form; please press again, or decide it in the browser: {url}"
WAITS_STILL = "{tool} still waits for a person, until {until} UTC. Who may decide: {role} or above."
GONE = frozenset({"message_not_found", "channel_not_found", "cant_update_message", "is_archived", "not_in_channel"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Shows approvals and takes their answers; who may decide is the gate's to say, at the press."""

    web: SlackWeb
    store: PostgresSlack
    people: People
    hub: Hub

    async def ask(self, asker: Principal, place: Place, approval_id: ApprovalId) -> None:
        """Post the question into the thread, unless a message shows it already.

        Raises  SlackAway, SlackSaysNo.
        """
        if await self.store.asked(asker.organization_id, asker.principal_id, approval_id):
            return
        item = await self._item(asker, approval_id)
        if item is None or item.approval.state != "pending":
            return
        async with self.hub.transactions.session(asker.organization_id, asker.principal_id) as session:
            approvals = session.work.approvals
            comparison, subjects = await approvals.comparison(item.approval), await approvals.subjects(item.approval)
        said = await self.web.call(
            "chat.postMessage",
            channel=place.channel_id,
            thread_ts=place.thread_ts,
            unfurl_links=False,
            unfurl_media=False,
            text=fallback(f"A person decides: {item.approval.tool}"),
            blocks=question_blocks(item, self.hub.approval_url(approval_id), comparison, subjects=subjects),
        )
        await self.store.ask(
            Question(
                organization_id=asker.organization_id,
                approval_id=approval_id,
                team_id=place.team_id,
                channel_id=place.channel_id,
                message_ts=str(said["ts"]),
                principal_id=asker.principal_id,
            )
        )

    async def open(self, asker: Principal, approval_ids: Sequence[ApprovalId]) -> bool:
        """Whether all of these still wait for an answer."""
        items = [await self._item(asker, each) for each in approval_ids]
        return all(item is not None and item.approval.state == "pending" for item in items)

    async def pressed(self, key: EventKey, team: Team, press: Pressed) -> Ended:
        """Approve at once; ask why before rejecting."""
        member = await self._presser(key, team, press)
        if isinstance(member, Stranger):
            return await self._tell(press, NOT_YOU, f"stranger:{member.why}")
        if press.answer == "approve":
            return await self._decide(key, member, press, "approve", None)
        view = rejection_view(str(press.approval_id), press.channel_id, press.message_ts, press.thread_ts)
        try:
            await self.web.call("views.open", trigger_id=press.trigger_id, view=view)
        except SlackSaysNo as no:  # the trigger lives for three seconds
            words = NO_FORM.format(url=self.hub.approval_url(press.approval_id))
            return await self._tell(press, words, f"no_form:{no.code}")
        return Done(outcome="form_opened")

    async def rejected(self, key: EventKey, team: Team, sent: Rejected) -> Ended:
        """The form was sent: whoever sent it is asked for once more, since it is this that counts."""
        member = await self._presser(key, team, sent)
        if isinstance(member, Stranger):
            return await self._tell(sent, NOT_YOU, f"stranger:{member.why}")
        return await self._decide(key, member, sent, "reject", sent.comment)

    async def settle_answered(self) -> None:
        """Have every question that was answered, at whatever door, say so.

        Raises  Unavailable.
        """
        for question in await self.store.answered(AT_ONCE, LEASE):
            asker = Principal(
                organization_id=question.organization_id,
                principal_id=question.principal_id,
                kind="person",
                mode="agent",
                door="slack",
            )
            try:
                run_id = await self._show_settled(asker, question)
            except SlackAway as away:
                log.warning("slack.put_off", reason=str(away), approvalId=str(question.approval_id))
                continue
            except SlackSaysNo as no:  # it would say so again: its buttons stay, and answer that it is decided
                log.error("slack.question_stands", code=no.code, approvalId=str(question.approval_id))
                run_id = None
            await self._settle(question, run_id)

    async def remind(self) -> None:
        """Say once in the thread of each question that is reminded of that nobody has answered it.

        Raises  Unavailable.
        """
        for question in await self.store.reminded(AT_ONCE):
            asker = Principal(
                organization_id=question.organization_id,
                principal_id=question.principal_id,
                kind="person",
                mode="agent",
                door="slack",
            )
            item = await self._item(asker, question.approval_id)
            if item is None or item.approval.state != "pending":
                continue
            try:
                await self._say_it_waits(question, item)
            except (SlackAway, SlackSaysNo) as no:
                log.warning("slack.not_reminded", reason=str(no), approvalId=str(question.approval_id))

    async def _say_it_waits(self, question: Question, item: ApprovalItem) -> None:
        approval = item.approval
        asked_in = approval.conversation_id
        thread_ts = None if asked_in is None else await self.store.thread_of(question, asked_in)
        words = WAITS_STILL.format(
            tool=approval.tool, until=f"{approval.expires_at:%Y-%m-%d %H:%M}", role=approval.needs_role
        )
        link = f"<{self.hub.approval_url(approval.approval_id)}|open it in the browser>"
        await self.web.call(
            "chat.postMessage",
            channel=question.channel_id,
            thread_ts=thread_ts or question.message_ts,
            unfurl_links=False,
            unfurl_media=False,
            text=fallback(words),
            blocks=[section(f"{escaped(words)} {link}")],
        )

    async def _presser(self, key: EventKey, team: Team, press: Pressed | Rejected) -> Member | Stranger:
        """Slack is asked afresh: who was put out a minute ago decides nothing."""
        return await self.people.member(team.organization_id, key.team_id, press.user_id, press.user_team, afresh=True)

    async def _decide(
        self, key: EventKey, member: Member, press: Pressed | Rejected, answer: ApprovalAnswer, comment: str | None
    ) -> Ended:
        """One decision for one press: where only Slack failed behind it, the next attempt shows what was decided."""
        person = principal_of(member, "person")
        arguments: dict[str, object] = {"approval_id": str(press.approval_id), "decision": answer}
        if comment is not None:
            arguments["comment"] = comment
        request = CallRequest(
            call_id=CallId(self.hub.new_id()),
            tool="approval_decide",
            arguments=arguments,
            idempotency=IdempotencyKey(route="POST /slack/events", key=f"{key.team_id}:{key.event_id}"),
        )
        outcome = await self.hub.gate.call(request, person)
        is_done = outcome.outcome == "done"
        call = _call_json(outcome)
        await self._show_decided(person, press, call if is_done else None)
        if is_done:
            return Done(outcome=answer)
        return await self._tell(press, _refusal(outcome), f"not_decided:{outcome.outcome}", call)

    async def _settle(self, question: Question, run_id: RunId | None) -> None:
        """The message is settled, and the run that waited for the answer is heard in its thread from now on."""
        await self.store.settle(question)
        if run_id is not None:
            await self.store.hasten(question.organization_id, event_prefix(run_id), LEASE)

    async def _show_settled(self, asker: Principal, question: Question) -> RunId | None:
        """The run that waited for it."""
        item = await self._item(asker, question.approval_id)
        if item is None:
            return None
        await self._rewrite(question.channel_id, question.message_ts, _headline(item), decided_blocks(item))
        return item.approval.run_id

    async def _show_decided(self, person: Principal, press: Pressed | Rejected, call: Json | None) -> None:
        """Take the buttons away and say what became of it; nothing while it is open, or not for these eyes.

        What shows the decision's own call is settled with it, so that the sweep does not write over it.
        """
        item = await self._item(person, press.approval_id)
        if item is None or item.approval.state == "pending":
            return
        await self._rewrite(press.channel_id, press.message_ts, _headline(item), decided_blocks(item, call))
        approval = item.approval
        shown = Question(
            organization_id=approval.organization_id,
            approval_id=approval.approval_id,
            team_id="",
            channel_id=press.channel_id,
            message_ts=press.message_ts,
            principal_id=approval.requested_by,
        )
        await self.store.settle_directly(replace(shown, principal_id=person.principal_id))
        await self._settle(shown, approval.run_id)

    async def _rewrite(self, channel_id: str, message_ts: str, text: str, blocks: list[Json]) -> None:
        try:
            await self.web.call("chat.update", channel=channel_id, ts=message_ts, text=fallback(text), blocks=blocks)
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

    async def _tell(self, press: Pressed | Rejected, words: str, outcome: str, call: Json | None = None) -> Ended:
        """For the presser's eyes alone; in a direct message, where nobody else reads, Slack knows no whispers."""
        is_direct = press.channel_id.startswith("D")
        await self.web.call(
            "chat.postMessage" if is_direct else "chat.postEphemeral",
            channel=press.channel_id,
            user=None if is_direct else press.user_id,
            thread_ts=press.thread_ts,
            text=escaped(words),
            blocks=None if call is None else [section(escaped(words)), call_block(call)],
        )
        return Done(outcome=outcome)


def event_prefix(run_id: RunId) -> str:
    """How the ids begin under which it is kept that a run's answer goes on."""
    return f"run:{run_id}:"


def _headline(item: ApprovalItem) -> str:
    return f"{item.approval.tool}: {item.approval.state}"


def _call_json(outcome: CallOutcome) -> Json:
    return {
        "call_id": str(outcome.call_id),
        "tool": outcome.tool,
        "outcome": outcome.outcome,
        "reasons": list(_reasons(outcome)),
    }


def _reasons(outcome: CallOutcome) -> tuple[str, ...]:
    return () if outcome.verdict is None else outcome.verdict.reasons


def _refusal(outcome: CallOutcome) -> str:
    if outcome.error is not None:
        return f"Your answer does not count: {outcome.error.message}."
    return f"You may not decide this: {', '.join(_reasons(outcome)) or outcome.outcome}."
