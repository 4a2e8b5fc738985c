"""What a run waits for: the questions that its calls left to people, and what has become of each since."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

from agent.conversations.model import MadeCall, Step
from agent.events import ApprovalDecided, Json, ToolCompleted
from agent.json_values import mapping, parsed, text
from domain.kernel import ApprovalId, CallId, Outcome

_ANSWERS: Mapping[str, Literal["approve", "reject"]] = {
    "approved": "approve",
    "executing": "approve",
    "executed": "approve",
    "failed": "approve",
    "rejected": "reject",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What there is to tell of the questions that a run waits for."""

    untold: tuple[ApprovalDecided | ToolCompleted, ...] = ()
    """Of those that are settled, in the order of their calls."""
    still: tuple[ApprovalId, ...] = ()
    """Those that nobody has answered yet."""


def asked_in(step: Step) -> tuple[ApprovalId, ...]:
    """The questions that a step's calls have left to people."""
    return tuple(_question_of(call) for call in step.calls if call.outcome == "waiting")


def answers_to(steps: Sequence[Step], later: Mapping[CallId, Json], told: Sequence[Json]) -> Answers:
    """What has become of the questions of the last step, without what `told`, events of the run's log, says of them."""
    waiting = [call for call in steps[-1].calls if call.outcome == "waiting"] if steps else []
    ended = {text(event.get("call_id")) for event in told if event.get("type") == "tool.completed"}
    decided = {text(event.get("approval_id")) for event in told if event.get("type") == "approval.decided"}
    settled = [(call, now) for call in waiting if not _is_open(now := later.get(call.call_id, {}))]
    untold = (event for call, now in settled if str(call.call_id) not in ended for event in _told(call, now, decided))
    return Answers(
        untold=tuple(untold),
        still=tuple(_question_of(call) for call in waiting if _is_open(later.get(call.call_id, {}))),
    )


def _told(call: MadeCall, now: Json, decided: set[str]) -> Iterator[ApprovalDecided | ToolCompleted]:
    approval = mapping(now.get("approval"))
    answer = _ANSWERS.get(text(approval.get("state")))
    if answer is not None and text(approval.get("id")) not in decided:
        by = text(approval.get("decided_by"))
        yield ApprovalDecided(approval_id=_question_of(call), decision=answer, by=by)
    yield ToolCompleted(
        call_id=call.call_id,
        outcome=cast(Outcome, now["outcome"]),
        result=mapping(now["result"]) if "result" in now else None,
        error=mapping(now["error"]) if "error" in now else None,
    )


def _is_open(now: Json) -> bool:
    return now.get("outcome", "waiting") == "waiting"


def _question_of(call: MadeCall) -> ApprovalId:
    return ApprovalId(UUID(text(mapping(mapping(parsed(call.text)).get("approval")).get("id"))))
