"""What activity needs of the database: its events, read back as calls."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.activity.model import (
    ActivityCall,
    ActivityEvent,
    ActivityItem,
    ActivityQuery,
    RecordedVerdict,
    Span,
)
from domain.kernel import CallId, ConversationId, Door, TaskRunId
from domain.paging import Position
from domain.taint import Taint


class ActivityRepository(Protocol):
    """The record, as far as the transaction's principal may read it."""

    async def list(self, query: ActivityQuery) -> Sequence[ActivityItem]:
        """Calls, newest first; one more than the page holds where there are more."""
        ...

    async def call(self, call_id: CallId) -> ActivityCall | None: ...

    async def of_task_run(self, task_run_id: TaskRunId) -> Sequence[ActivityItem]:
        """The calls of a task run's steps with their results, oldest first."""
        ...

    async def task_run_of(self, call_id: CallId) -> TaskRunId | None:
        """The task run that a call is a step of, also of a call that this principal may not see."""
        ...

    async def request_of(self, call_id: CallId) -> str | None:
        """How its door named the request that led to a call; None: not at all, or no such call that one may see."""
        ...

    async def verdicts(self, period: Span, after: Position | None, limit: int) -> Sequence[RecordedVerdict]:
        """What was decided of the next `limit` calls, oldest first, each call's verdicts together and in their order.

        `after`: the place of the last call of the page before, by the time and id of the event that opened it.
        """
        ...

    async def nth_newest(self, count: int) -> datetime | None:
        """When the call was made that this many calls, with itself, have come after; None: there are fewer."""
        ...

    async def taint_of(self, call_id: CallId) -> Taint:
        """What whoever reads of a call is told: its result and arguments, with what its turn was told."""
        ...

    async def write(self, events: Sequence[ActivityEvent]) -> None: ...


class Taints(Protocol):
    """What has entered the turns of the transaction's principal; its calls' results keep theirs with their events."""

    async def of_turn(self, door: Door, conversation_id: ConversationId | None = None) -> Taint:
        """Of a conversation everything since it began; without one, what its agents were told at that door in a day."""
        ...

    async def note(self, taint: Taint, door: Door, conversation_id: ConversationId | None = None) -> None:
        """Keep what was told there by something that is no call."""
        ...
