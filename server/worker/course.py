"""One task run on its way: which steps may begin, what came of those that were made, and how to say so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

import orjson

from domain.kernel import ApprovalId, Outcome
from domain.tasks.model import StepStatus, TaskRun, TaskRunStep
from server.worker.listing import Listing
from server.worker.steps import Ended, run_as_known
from tools.outcomes import Json
from tools.workflows import MissingValue, Step, Workflow, look_up

NOTHING: tuple[object, ...] = (None, False, 0, "", [])
"""What a step's `when` must not be."""


@dataclass(slots=True)
class Course:
    """The steps of a run as far as they have come; pure, so that every turn of it can be tested without a database."""

    run: TaskRun
    workflow: Workflow
    time_zone: str = "UTC"
    """On whose clock the run's day is told."""
    steps: dict[str, TaskRunStep] = field(init=False)
    results: dict[str, Json] = field(default_factory=dict[str, Json])
    ended: dict[str, Ended] = field(default_factory=dict[str, Ended])
    """How each step ended that was made, and did not succeed."""
    said: str = ""
    """Where the run stands, in words."""
    cancelled: bool = False
    """The run was cancelled, as one of its steps was told."""
    changes: int = 0
    left: dict[str, str] = field(default_factory=dict[str, str])
    """Of the steps that did not take their list to its end: what is left, in words."""

    def __post_init__(self) -> None:
        self.steps = {step.name: TaskRunStep(name=step.name, tool=step.tool) for step in self.workflow.steps}

    @property
    def listed(self) -> Sequence[TaskRunStep]:
        """The steps in the order of the workflow."""
        return tuple(self.steps.values())

    @property
    def told(self) -> str:
        """Where the run stands and what it leaves, for a person."""
        return self.with_rest(self.said)

    def with_rest(self, said: str) -> str:
        """These words, and what the run leaves for the next."""
        return " ".join([said, *(f"{name}: {left}." for name, left in self.left.items())])

    @property
    def known(self) -> dict[str, object]:
        """What references may speak of by now."""
        return {**self.results, "input": orjson.loads(self.run.input), "run": run_as_known(self.run, self.time_zone)}

    @property
    def failed(self) -> Iterator[str]:
        """The steps that will not succeed, in the order of the workflow."""
        return (step.name for step in self.listed if step.status in ("failed", "cancelled"))

    @property
    def done(self) -> bool:
        return all(step.status in ("done", "skipped") for step in self.listed)

    def take_ready(self) -> Sequence[Step]:
        """The steps that may begin now, and count as begun: all that they need is done, and nothing has failed."""
        if self.cancelled or any(True for _ in self.failed):
            return ()
        ready = [step for step in self.workflow.steps if self._may_begin(step)]
        for step in ready:
            self._put(replace(self.steps[step.name], status="running"))
        return ready

    def passes_over(self, step: Step) -> bool:
        """Whether the step's condition says that there is nothing to do."""
        if step.when is None:
            return False
        try:
            return look_up(step.when, self.known) in NOTHING
        except MissingValue:
            return True

    def skip(self, step: Step) -> None:
        self._put(replace(self.steps[step.name], status="skipped"))
        self.said = f"{step.name} had nothing to do."

    def begin(self, step: Step, items: int | None = None) -> None:
        self._put(replace(self.steps[step.name], status="running", items=items))
        self.said = f"{step.name} …" if items is None else f"{step.name}: 0 of {items} …"

    def item_done(self, step: Step) -> None:
        """One more call of a step that makes one for each item."""
        known = self.steps[step.name]
        self._put(replace(known, items_done=known.items_done + 1))
        self.said = f"{step.name}: {known.items_done + 1} of {known.items} …"

    def made_again(self, step: Step, times: int) -> None:
        """One more call of a step that is made again and again."""
        self._put(self.steps[step.name])
        self.said = f"{step.name}: {times} calls made …"

    def listed_to(self, step: Step, listing: Listing) -> None:
        """How far a step came with its list; what is left is the next run's where calls are made for its items."""
        each = any(
            other.for_each is not None and other.for_each.split(".")[0] == step.name for other in self.workflow.steps
        )
        known = self.steps[step.name]
        self._put(replace(known, items_left=listing.left, rest=listing.rest if each else None))
        if listing.left:
            self.left[step.name] = f"{listing.said} for the next run" if each else listing.said

    def end(self, step: Step, ended: Ended) -> None:
        """What came of a step's call, or of all its calls."""
        status, known = _status_of(ended), self.steps[step.name]
        self._put(replace(known, status=status, call_id=ended.call_id, outcome=ended.outcome, attempts=ended.attempts))
        self.cancelled = self.cancelled or ended.run_cancelled
        if status == "done":
            self.results[step.name] = ended.result or {}
            self.ended.pop(step.name, None)
        else:
            self.ended[step.name] = ended
        self.said = _words(step.name, status, ended)

    def lapse(self, name: str) -> None:
        """The approval that a step waited for expired."""
        self.ended[name] = replace(self.ended[name], outcome="expired")
        self._put(replace(self.steps[name], status="failed", outcome="expired"))

    @property
    def waits_for(self) -> Sequence[tuple[str, ApprovalId]]:
        """The steps that wait for a person, each with the approvals that it waits for."""
        waiting = [step.name for step in self.listed if step.status == "waiting"]
        return [(name, approval_id) for name in waiting for approval_id in self.ended[name].approval_ids]

    @property
    def again_at(self) -> datetime | None:
        """When the first of the failed calls is to be made again."""
        times = [ended.again_at for ended in self.ended.values() if ended.again_at is not None]
        return min(times, default=None)

    @property
    def unsettled(self) -> bool:
        """Some step is under way elsewhere, or how it ended is not known yet."""
        return any(step.status == "running" for step in self.listed)

    def why_failed(self) -> str:
        """What did not succeed, for a person."""
        name = next(self.failed)
        return f"{name} did not succeed: {_why(self.ended[name])}"

    def _may_begin(self, step: Step) -> bool:
        if step.name in self.ended:
            return False  # It was made, and is not to be made again before its time.
        needed = (self.steps[name].status for name in step.needs)
        return self.steps[step.name].status == "queued" and all(status in ("done", "skipped") for status in needed)

    def _put(self, step: TaskRunStep) -> None:
        self.steps[step.name] = step
        self.changes += 1


def together(each: Sequence[Ended]) -> Ended:
    """What the calls of a step come to that makes one for each item of a list; their results in the list's order."""
    rest = [ended for ended in each if ended.outcome != "done"]
    if not rest:
        result: Json = {"items": [ended.result or {} for ended in each], "count": len(each)}
        return Ended(call_id=None, outcome="done", result=result)
    worst = min(rest, key=_gravity)
    approvals = tuple(approval for ended in rest if ended.outcome == "waiting" for approval in ended.approval_ids)
    again = min((ended.again_at for ended in rest if ended.again_at is not None), default=None)
    return replace(worst, approval_ids=approvals, again_at=again)


def _gravity(ended: Ended) -> int:
    """What is for good comes after what may still change: a step is at its end when all of its calls are."""
    if ended.run_cancelled:
        return 0
    if ended.outcome is None:
        return 1
    return 2 if ended.outcome == "waiting" else 3


def _why(ended: Ended) -> str:
    """Why a step did not succeed."""
    return "its approval expired" if ended.outcome == "expired" else ended.error_code or ended.outcome or "unknown"


def _words(name: str, status: StepStatus, ended: Ended) -> str:
    match status:
        case "done":
            return f"{name} done"
        case "waiting":
            return f"{name} waits for a person's approval."
        case "queued" if ended.error_code is None:
            return f"{name} rests for a while."
        case "queued":
            return f"{name} failed ({ended.error_code}) and is tried again, for the {_ordinal(ended.attempts)} time."
        case "running":
            return f"{name}: how it ended is not known yet."
        case "failed" | "cancelled" | "skipped":
            return f"{name} did not succeed"
        case _:
            assert_never(status)


def _ordinal(attempts: int) -> str:
    return {1: "second", 2: "third"}.get(attempts, f"{attempts + 1}th")


def _status_of(ended: Ended) -> StepStatus:
    if ended.again_at is not None:
        return "queued"
    outcome: Outcome | None = ended.outcome
    match outcome:
        case "done":
            return "done"
        case "waiting":
            return "waiting"
        case None:
            # Allowed by an attempt whose outcome is not known: it is under way elsewhere, and is looked at again.
            return "running"
        case "denied" | "invalid" | "failed" | "cancelled" | "expired" | "rejected" | "dry_run":
            return "failed"
        case _:
            assert_never(outcome)
