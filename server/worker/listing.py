"""A step that asks for page after page of a list: what it takes, and what it leaves for the next run of the task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from domain.tasks.model import StepStatus, TaskRunStep
from tools.outcomes import Json

MOST_PAGES = 50
"""Beyond what it takes, a step counts what is left; so many pages are asked for in all."""
MADE: frozenset[StepStatus] = frozenset({"done", "failed", "waiting"})
"""Of a step that makes a call for each item: all of them are made, whatever came of them."""


@dataclass(slots=True, kw_only=True)
class Listing:
    """The pages of one list so far."""

    most: int
    """Items that are taken; the first page is taken whole."""
    cursor: str | None = None
    """Where the next page begins; None before the first: at the newest."""
    pages: int = 0
    items: list[object] = field(default_factory=list[object])
    left: int = 0
    """Items found beyond those that are taken."""
    rest: str | None = None
    """The cursor of the first that is left."""

    def add(self, page: Json) -> bool:
        """Whether another page is to be asked for."""
        found = cast("list[object]", page["items"])
        if self.items and (self.left or len(self.items) + len(found) > self.most):
            self.rest = self.rest or self.cursor
            self.left += len(found)
        else:
            self.items += found
        self.cursor = cast("str | None", page["next_cursor"])
        self.pages += 1
        return self.cursor is not None and self.pages < MOST_PAGES

    @property
    def result(self) -> Json:
        """What the step gives."""
        return {"items": self.items, "count": len(self.items), "left": self.left}

    @property
    def said(self) -> str:
        """How much is left, in words."""
        return f"{'at least ' if self.cursor is not None else ''}{self.left} more are left"


def left_by(steps: Sequence[TaskRunStep]) -> Mapping[str, str]:
    """The cursors with which the next run begins, by step.

    None where the run did not come to make the calls for what it had taken: then that is still to be done.
    """
    each = [step for step in steps if step.items is not None]
    if not each or any(step.status not in MADE for step in each):
        return {}
    return {step.name: step.rest for step in steps if step.rest is not None}
