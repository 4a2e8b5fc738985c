"""How a call ended, as the caller is told and as the record keeps it: the last step of its path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import structlog

from domain.activity.model import ActivityEvent
from domain.approvals.model import Approval
from domain.budgets.service import exhausted_words
from domain.kernel import ApprovalId, CallId, EventId, NewId, Outcome, Role
from domain.taint import NOTHING, Taint
from tools.calls import KIND_OF, Call, Progress, Undone, duplicate_call, not_found
from tools.outcomes import Allow, ApprovalAsked, CallError, CallOutcome, Deny, Json, NeedsApproval, reference_of
from tools.record import Judged, Recorded, Scribe

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """Makes outcomes and their events; it stores nothing."""

    scribe: Scribe
    monotonic: Callable[[], float]
    new_id: NewId

    def ended(
        self,
        call: Call,
        outcome: Outcome,
        judged: Judged | None,
        *,
        result: Json | None = None,
        error: CallError | None = None,
        approval: ApprovalAsked | None = None,
        taint: Taint = NOTHING,
    ) -> CallOutcome:
        """What the caller is told."""
        return CallOutcome(
            call_id=call.request.call_id,
            tool=call.manifest.name,
            outcome=outcome,
            verdict=None if judged is None else judged.verdict,
            result=result,
            error=error,
            approval=approval,
            duration_ms=self.elapsed(call.started),
            taint=taint,
        )

    def elapsed(self, started: float) -> float:
        """Milliseconds since then."""
        return round((self.monotonic() - started) * 1000, 3)

    def denied(self, call: Call, judged: Judged, verdict: Deny) -> Undone:
        """Policy forbids it, by these reasons."""
        exhausted = call.holds.exhausted(call.request.call_id)
        why = "" if exhausted is None else f" {exhausted_words(exhausted)}"
        error = CallError(code="denied", message=f"Policy forbids this call: {', '.join(verdict.reasons)}.{why}")
        return Undone(self.ended(call, "denied", judged, error=error), judged)

    def invalid(self, call: Call, judged: Judged | None, error: CallError) -> Undone:
        """The asker can mend it; nothing was done, so no ticket is kept."""
        return Undone(self.ended(call, "invalid", judged, error=error), judged)

    def stop_unless_called_for(self, call: Call, judged: Judged) -> None:
        """Denied, only previewed, or about something that this principal cannot see: leaves the transaction."""
        if isinstance(judged.verdict, Deny):
            raise self.denied(call, judged, judged.verdict)
        if call.request.dry_run:
            raise Undone(self.ended(call, "dry_run", judged), judged)
        if judged.facts.missing:
            raise self.invalid(call, judged, not_found(judged.facts.missing[0]))

    def failed(self, call: Call, judged: Judged | None, error: CallError, *, ticket: bool) -> Undone:
        """The tool did not do it; its ticket, where it had one, is written again beside the failure."""
        return Undone(self.ended(call, "failed", judged, error=error), judged, ticket=ticket)

    def faulted(self, call: Call, judged: Judged | None, fault: Exception, *, ticket: bool) -> Undone:
        """An exception nobody expected: logged with a reference, and the reference is all that leaves."""
        reference = reference_of(self.new_id())
        log.error(
            "tool.faulted",
            tool=call.manifest.name,
            callId=str(call.request.call_id),
            orgId=str(call.principal.organization_id),
            reference=reference,
            exc_info=fault,
        )
        error = CallError(code="internal", message="The tool failed by a fault of its own.", reference=reference)
        return self.failed(call, judged, error, ticket=ticket)

    def duplicate(self, call: Recorded, judged: Judged | None) -> ActivityEvent:
        """The event of an attempt to make a call again: a call of its own, since that one's record stands."""
        again = replace(call, request=replace(call.request, call_id=CallId(self.new_id())))
        return self.scribe.event(
            "tool.invalid", again, opens=True, judged=judged, outcome="invalid", error=duplicate_call(call.request)
        )

    def cancelled(self, call: Call, progress: Progress) -> Undone:
        """The caller gave up before the call was done."""
        judged = progress.judged
        error = CallError(code="cancelled", message="The call was cancelled before it was done; nothing of it stands.")
        ended = self.ended(call, "cancelled", judged, error=error)
        return Undone(ended, judged, ticket=may_have_ticket(call, judged))

    def events(self, call: Call, undone: Undone) -> list[ActivityEvent]:
        """The events of a call whose transaction is gone: its ticket again, where it had one, and how it ended."""
        if not undone.ticket:
            return [self.last_event(call, undone, opens=True)]
        # The ticket first: its time must not be later than the outcome's.
        ticket = self.scribe.event("tool.allowed", call.recorded, opens=True, judged=undone.judged)
        return [ticket, self.last_event(call, undone, opens=False)]

    def last_event(self, call: Call, undone: Undone, *, opens: bool) -> ActivityEvent:
        """The event that says how it ended."""
        ended = undone.ended
        return self.scribe.event(
            KIND_OF[ended.outcome],
            call.recorded,
            opens=opens,
            judged=undone.judged,
            outcome=ended.outcome,
            error=ended.error,
            duration_ms=ended.duration_ms,
        )

    def unread(self, call: Recorded, error: CallError, *, role: Role | None, duration_ms: float) -> ActivityEvent:
        """The event of an unknown tool, or of arguments that do not parse."""
        return self.scribe.event(
            "tool.invalid", call, opens=True, role=role, outcome="invalid", error=error, duration_ms=duration_ms
        )

    def apart(self, events: Sequence[ActivityEvent]) -> list[ActivityEvent]:
        """The events as those of a call of its own, beside the call that has their id already."""
        again = CallId(self.new_id())
        return [replace(event, event_id=EventId(self.new_id()), call_id=again) for event in events]

    def refused(
        self, call: Recorded, error: CallError, *, reasons: tuple[str, ...], opens: bool, role: Role | None = None
    ) -> ActivityEvent:
        """The event of a call that was denied without asking the policies."""
        event = self.scribe.event("tool.denied", call, opens=opens, role=role, outcome="denied", error=error)
        return replace(event, decision="deny", reasons=reasons)

    def waiting(self, call: Call, judged: Judged, verdict: NeedsApproval) -> tuple[ActivityEvent, Approval]:
        """The event of a call that waits, and the question it leaves; `call` carries the approval's id."""
        event = self.scribe.event("tool.waiting", call.recorded, opens=True, judged=judged, outcome="waiting")
        return event, _approval(call, event, verdict)


def may_have_ticket(call: Call, judged: Judged | None) -> bool:
    """Whether a call that was broken off somewhere had come as far as its ticket."""
    return call.manifest.may_write and judged is not None and isinstance(judged.verdict, Allow)


def _approval(call: Call, event: ActivityEvent, verdict: NeedsApproval) -> Approval:
    """The pending question, bound to the exact call that its event records."""
    request, principal = call.request, call.principal
    return Approval(
        organization_id=principal.organization_id,
        approval_id=cast(ApprovalId, call.approval_id),
        call_id=request.call_id,
        tool=call.manifest.name,
        manifest_digest=call.manifest.digest,
        policy_digest=cast(bytes, event.policy_digest),
        arguments=call.parsed.canonical,
        arguments_digest=cast(bytes, event.arguments_digest),
        reasons=verdict.reasons,
        requested_by=principal.principal_id,
        requested_kind=principal.kind,
        requested_mode=principal.mode,
        requested_door=principal.door,
        requested_scheduled=principal.scheduled,
        agent_ceiling=request.agent_ceiling,
        engagement_id=event.engagement_id,
        conversation_id=request.conversation_id,
        run_id=request.run_id,
        task_run_id=request.task_run_id,
        needs_role=verdict.needs_role,
        four_eyes=verdict.four_eyes,
        state="pending",
        created_at=event.occurred_at,
        expires_at=event.occurred_at + call.manifest.approval.expires_after,
    )
