"""What a run was when its carrier left it, read back from its steps and its log: from there the loop goes on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from uuid import UUID

from agent.awaiting import Answers, answers_to
from agent.budget import Spent
from agent.conversations.checkpoints import Checkpoint
from agent.conversations.model import Step
from agent.conversations.runs import Unfinished
from agent.events import Json
from agent.json_values import items, mapping, parsed, text
from agent.usage import spent_of
from domain.kernel import ApprovalId, CallId, Outcome, Role
from tools.outcomes import Allow, ApprovalAsked, CallError, CallOutcome, Deny, NeedsApproval, Verdict

TAKEN_OVER = "taken_over"
"""The reason of a reset: what another process had half said is said anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Where a run goes on."""

    last_sequence: int
    steps: tuple[Step, ...]
    """Those that are kept."""
    later: Mapping[CallId, Json]
    """What has become of calls of those steps that were open."""
    spent: Spent
    seconds: float
    """Of the run's time, that are used up."""
    half_said: tuple[str, ...]
    """Messages that were begun and not ended."""
    heard: Checkpoint | None
    """The turn of the model whose step is not kept yet; None: the model is to be asked anew."""
    words: str = ""
    """Of that turn."""
    ended: Mapping[CallId, CallOutcome] = field(default_factory=dict[CallId, CallOutcome])
    """Calls of that turn whose end was told."""
    told: frozenset[tuple[CallId, str]] = frozenset()
    """Of each call of that turn, the types of the events that were told."""
    cancel_requested: bool = False
    awaited: tuple[ApprovalId, ...] = ()
    """The questions that it waited for when it was put down."""
    answers: Answers = field(default_factory=Answers)
    """What has become of them."""
    owes_waiting: bool = False
    """That it waits was written down, and not told."""

    @property
    def begun(self) -> bool:
        """True when anything of the run was told before."""
        return self.last_sequence > 0

    @property
    def answered(self) -> bool:
        """True when the answer was told whole, and only its end was not written down."""
        return self.heard is not None and not self.heard.calls


def resumed_of(left: Unfinished) -> Resumed:
    """Where to go on with a run that was left so."""
    events = [mapping(parsed(frame.data)) for frame in left.frames]
    steps = _told_steps(left, events)
    kept = {step.message_id for step in steps}
    last = left.checkpoint
    heard = None if last is None or last.message_id in kept else last
    made = {} if heard is None else _calls_told(events)
    return Resumed(
        last_sequence=left.last_sequence,
        steps=steps,
        later=left.later,
        spent=_spent(left, steps, events),
        seconds=0.0 if last is None else last.spent.seconds,
        half_said=_half_said(events),
        heard=heard,
        words="" if heard is None else _words_of(events, heard.message_id),
        ended={
            call_id: outcome for call_id, told in made.items() if (outcome := outcome_told(call_id, told)) is not None
        },
        told=frozenset((call_id, kind) for call_id, told in made.items() for kind in told),
        cancel_requested=left.cancel_requested,
        awaited=left.awaited,
        answers=answers_to(steps, left.later, events) if heard is None else Answers(),
        owes_waiting=bool(left.awaited) and not any(map(_told_to_wait(left.awaited), events)),
    )


def _told_steps(left: Unfinished, events: Sequence[Json]) -> tuple[Step, ...]:
    """The kept steps without a last one of which some call's end was lost on its way into the log: it is told anew.

    Of a step that waits, and of one that another turn has followed, all was told.
    """
    last, mark = left.steps[-1] if left.steps else None, left.checkpoint
    if last is None or mark is None or mark.message_id != last.message_id:
        return left.steps
    if any(call.outcome == "waiting" for call in last.calls):
        return left.steps
    told = {text(event.get("call_id")) for event in events if event.get("type") == "tool.completed"}
    return left.steps if all(str(call.call_id) in told for call in last.calls) else left.steps[:-1]


def _told_to_wait(awaited: Sequence[ApprovalId]) -> Callable[[Json], bool]:
    asked = list(map(str, awaited))
    return lambda event: event.get("type") == "run.waiting" and event.get("approvals") == asked


def _spent(left: Unfinished, steps: Sequence[Step], events: Sequence[Json]) -> Spent:
    """What the run had spent. What a process used for words that it was lost with, nobody told."""
    made = [call for step in steps for call in step.calls]
    calls: list[tuple[str, Outcome]] = [
        (call.tool, cast(Outcome, left.later.get(call.call_id, {}).get("outcome", call.outcome))) for call in made
    ]
    lost = len(_ids(events, "message.started") - _ids(events, "message.completed"))
    if left.checkpoint is None:
        return Spent(calls=calls, untold=lost)
    so_far = left.checkpoint.spent
    spent = spent_of(so_far.usage, left.run.model, calls)
    spent.untold += lost
    spent.repairs, spent.estimated_tokens = so_far.repairs, so_far.estimated_tokens
    return spent


def _ids(events: Sequence[Json], kind: str) -> frozenset[str]:
    """The messages of which the events of that type tell."""
    return frozenset(text(event.get("message_id")) for event in events if event.get("type") == kind)


def _half_said(events: Sequence[Json]) -> tuple[str, ...]:
    begun: dict[str, None] = {}
    for event in events:
        match event.get("type"):
            case "message.started":
                begun[text(event.get("message_id"))] = None
            case "message.completed" | "message.reset":
                begun.pop(text(event.get("message_id")), None)
            case _:
                pass
    return tuple(begun)


def _words_of(events: Sequence[Json], message_id: UUID) -> str:
    completed = (event for event in events if event.get("type") == "message.completed")
    return next((text(event.get("text")) for event in completed if event.get("message_id") == str(message_id)), "")


def _calls_told(events: Sequence[Json]) -> dict[CallId, dict[str, Json]]:
    """Each call's events that were told, by their type."""
    told: dict[CallId, dict[str, Json]] = {}
    for event in events:
        kind, call_id = text(event.get("type")), text(event.get("call_id"))
        if call_id:
            told.setdefault(CallId(UUID(call_id)), {})[kind] = event
    return told


def outcome_told(call_id: CallId, told: Mapping[str, Json]) -> CallOutcome | None:
    """How a call ended, as it was told; None: its end was not."""
    completed = told.get("tool.completed")
    if completed is None:
        return None
    asked = told.get("approval.requested")
    approval = None if asked is None else _approval(asked)
    result, error = completed.get("result"), completed.get("error")
    return CallOutcome(
        call_id=call_id,
        tool=text(told["tool.called"].get("tool")) if "tool.called" in told else "",
        outcome=cast(Outcome, completed.get("outcome")),
        verdict=_verdict(told.get("tool.decided"), approval),
        result=None if result is None else mapping(result),
        error=None if error is None else _error(mapping(error)),
        approval=approval,
    )


def _verdict(decided: Json | None, approval: ApprovalAsked | None) -> Verdict | None:
    if decided is None:
        return None
    reasons = tuple(map(text, items(decided.get("reasons"))))
    match decided.get("decision"):
        case "allow":
            return Allow(reasons=reasons)
        case "needs_approval" if approval is not None:
            return NeedsApproval(reasons=reasons, needs_role=approval.needs_role, four_eyes=approval.four_eyes)
        case _:
            return Deny(reasons=reasons)


def _approval(asked: Json) -> ApprovalAsked:
    return ApprovalAsked(
        approval_id=ApprovalId(UUID(text(asked.get("approval_id")))),
        needs_role=Role(text(asked.get("needs_role"))),
        four_eyes=asked.get("four_eyes") is True,
        expires_at=datetime.fromisoformat(text(asked.get("expires_at"))),
    )


def _error(error: Json) -> CallError:
    reference = error.get("reference")
    return CallError(
        code=text(error.get("code")),
        message=text(error.get("message")),
        reference=None if reference is None else text(reference),
        details=tuple(map(mapping, items(error.get("details")))),
    )
