"""Questions to people: posted with buttons, answered through the gate by whoever presses, settled whoever answered."""

from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import structlog

from domain.approvals.model import ApprovalAnswer, ApprovalItem
from domain.approvals.service import ApprovalNotFound
from domain.kernel import ApprovalId, CallId, Principal
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
        said = await self.web.call(
            "chat.postMessage",
            channel=place.channel_id,
            thread_ts=place.thread_ts,
            unfurl_links=False,
            unfurl_media=False,
            text=fallback(f"A person decides: {item.approval.tool}"),
            blocks=question_blocks(item, self.hub.approval_url(approval_id)),
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

    async def pressed(self, key: EventKey, team: Team, press: Pressed) -> Ended:
        """Approve at once; ask why before rejecting."""
        member = await self._presser(key, team, press)
        if isinstance(member, Stranger):
            return await self._tell(press, NOT_YOU, f"stranger:{member.why}")
        if press.answer == "approve":
            return await self._decide(member, press, "approve", None)
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
        return await self._decide(member, sent, "reject", sent.comment)

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
                await self._show_decided(asker, question.approval_id, question.channel_id, question.message_ts)
            except SlackAway as away:
                log.warning("slack.put_off", reason=str(away), approvalId=str(question.approval_id))
                continue
            await self.store.settle(question)

    # ------------------------------------------------------------------------------------------------------------------

    async def _presser(self, key: EventKey, team: Team, press: Pressed | Rejected) -> Member | Stranger:
        """Slack is asked afresh: who was put out a minute ago decides nothing."""
        return await self.people.member(team.organization_id, key.team_id, press.user_id, press.user_team, afresh=True)

    async def _decide(
        self, member: Member, press: Pressed | Rejected, answer: ApprovalAnswer, comment: str | None
    ) -> Ended:
        person = principal_of(member, "person")
        arguments: dict[str, object] = {"approval_id": str(press.approval_id), "decision": answer}
        if comment is not None:
            arguments["comment"] = comment
        request = CallRequest(call_id=CallId(self.hub.new_id()), tool="approval_decide", arguments=arguments)
        outcome = await self.hub.gate.call(request, person)
        is_done = outcome.outcome == "done"
        call = _call_json(outcome)
        await self._show_decided(
            person, press.approval_id, press.channel_id, press.message_ts, call if is_done else None
        )
        if is_done:
            return Done(outcome=answer)
        return await self._tell(press, _refusal(outcome), f"not_decided:{outcome.outcome}", call)

    async def _show_decided(
        self, principal: Principal, approval_id: ApprovalId, channel_id: str, message_ts: str, call: Json | None = None
    ) -> None:
        """Take the buttons away and say what became of it; nothing while it is open, or not for these eyes."""
        item = await self._item(principal, approval_id)
        if item is None or item.approval.state in ("pending", "executing"):
            return
        try:
            await self.web.call(
                "chat.update",
                channel=channel_id,
                ts=message_ts,
                text=fallback(f"{item.approval.tool}: {item.approval.state}"),
                blocks=decided_blocks(item, call),
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

    async def _tell(self, press: Pressed | Rejected, words: str, outcome: str, call: Json | None = None) -> Ended:
        """For the presser's eyes alone."""
        await self.web.call(
            "chat.postEphemeral",
            channel=press.channel_id,
            user=press.user_id,
            thread_ts=press.thread_ts,
            text=escaped(words),
            blocks=None if call is None else [section(escaped(words)), call_block(call)],
        )
        return Done(outcome=outcome)


def _call_json(outcome: CallOutcome) -> Json:
    reasons = getattr(outcome.verdict, "reasons", ())
    return {
        "call_id": str(outcome.call_id),
        "tool": outcome.tool,
        "outcome": outcome.outcome,
        "reasons": list(cast("tuple[str, ...]", reasons)),
    }


def _refusal(outcome: CallOutcome) -> str:
    if outcome.error is not None:
        return f"Your answer does not count: {outcome.error.message}."
    reasons = cast("tuple[str, ...]", getattr(outcome.verdict, "reasons", ()))
    return f"You may not decide this: {', '.join(reasons) or outcome.outcome}."
