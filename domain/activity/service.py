"""Reads the record back: each call as one item folded from its events. The gate writes it, through `write`."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.activity.model import ActivityCall, ActivityEvent, ActivityItem, ActivityQuery, RecordedVerdict, Span
from domain.activity.ports import ActivityRepository
from domain.kernel import CallId, NotFound, TaskRunId
from domain.paging import Page, Position, page_of
from domain.taint import Taint

CALLS_A_PAGE = 100
"""Deciding them again is work between two statements of one transaction, which the database ends where it stands still
for long; and meanwhile nothing else runs in this process."""


class CallNotFound(NotFound):
    """No such call that this principal may see."""

    code: ClassVar[str] = "call_not_found"

    def __init__(self, call_id: CallId) -> None:
        super().__init__("There is no such call.")
        self.call_id = call_id


@dataclass(frozen=True, slots=True)
class ActivityService:
    """The calls that a principal may see: one's own; MANAGER upward and EQR the organization's."""

    activity: ActivityRepository

    async def list(self, query: ActivityQuery) -> Page[ActivityItem]:
        """A page of calls, newest first, without their results."""
        return page_of(await self.activity.list(query), query.page, _place)

    async def call(self, call_id: CallId) -> ActivityCall:
        """One call with its result and its events, oldest first.

        Raises  CallNotFound.
        """
        found = await self.activity.call(call_id)
        if found is None:
            raise CallNotFound(call_id)
        return found

    async def of_task_run(self, task_run_id: TaskRunId) -> Sequence[ActivityItem]:
        """The calls of a task run's steps with their results, oldest first, as far as this principal may see them."""
        return await self.activity.of_task_run(task_run_id)

    async def task_run_of(self, call_id: CallId) -> TaskRunId | None:
        """The task run that a call is a step of, whoever made it; None: it is none of any."""
        return await self.activity.task_run_of(call_id)

    async def request_of(self, call_id: CallId) -> str | None:
        """How its door named the request that led to a call; None: not at all, or no such call that one may see."""
        return await self.activity.request_of(call_id)

    async def verdicts(self, period: Span) -> AsyncGenerator[Sequence[RecordedVerdict]]:
        """What was decided of the calls of a period, oldest first, a page at a time: none is held once it is given."""
        after: Position | None = None
        while page := await self.activity.verdicts(period, after, CALLS_A_PAGE):
            yield page
            last = next(verdict for verdict in reversed(page) if verdict.opens)
            after = Position(time=last.time, id=last.event_id)

    async def last_calls(self, count: int, until: datetime) -> Span:
        """The period in which the newest calls before a moment were made; a few more of one moment may be in it."""
        return Span(since=await self.activity.nth_newest(count), until=until)

    async def taint_of(self, call_id: CallId) -> Taint:
        """What whoever reads of a call is told: its result and arguments, with what its turn was told."""
        return await self.activity.taint_of(call_id)

    async def write(self, events: Sequence[ActivityEvent]) -> None:
        """Add events to the record, in this transaction."""
        await self.activity.write(events)


def _place(item: ActivityItem) -> Position:
    return Position(time=item.time, id=item.event_id)
