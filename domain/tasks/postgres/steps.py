"""The steps of a run as the text that its row holds."""

from collections.abc import Sequence
from typing import NotRequired, TypedDict, cast
from uuid import UUID

import orjson

from domain.kernel import CallId, Outcome
from domain.tasks.model import StepStatus, TaskRunStep


class _StepJson(TypedDict):
    name: str
    tool: str
    status: StepStatus
    call_id: str | None
    outcome: Outcome | None
    attempts: NotRequired[int]
    items: NotRequired[int]
    items_done: NotRequired[int]
    items_left: NotRequired[int]
    rest: NotRequired[str]


def steps_text(steps: Sequence[TaskRunStep]) -> str:
    """The steps of a run, as they are stored."""
    return orjson.dumps(
        [
            {
                "name": step.name,
                "tool": step.tool,
                "status": step.status,
                "call_id": step.call_id,
                "outcome": step.outcome,
                **({"attempts": step.attempts} if step.attempts > 1 else {}),
                **({} if step.items is None else {"items": step.items, "items_done": step.items_done}),
                **({"items_left": step.items_left} if step.items_left else {}),
                **({} if step.rest is None else {"rest": step.rest}),
            }
            for step in steps
        ]
    ).decode()


def steps_of(text: str) -> tuple[TaskRunStep, ...]:
    """The steps that such a text holds."""
    return tuple(_step(raw) for raw in cast("list[_StepJson]", orjson.loads(text)))


def _step(raw: _StepJson) -> TaskRunStep:
    return TaskRunStep(
        name=raw["name"],
        tool=raw["tool"],
        status=raw["status"],
        call_id=None if raw["call_id"] is None else CallId(UUID(raw["call_id"])),
        outcome=raw["outcome"],
        attempts=raw.get("attempts", 0 if raw["outcome"] is None else 1),
        items=raw.get("items"),
        items_done=raw.get("items_done", 0),
        items_left=raw.get("items_left", 0),
        rest=raw.get("rest"),
    )
