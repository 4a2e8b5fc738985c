"""What the gate needs of the world below it: transactions, the recorder, the queue; server/database provides them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from domain.activity.model import ActivityEvent
from domain.approvals.model import Approval
from domain.idempotency.ports import Keys
from domain.intents.ports import Intents
from domain.kernel import Principal, TaskRunId
from domain.tasks.model import TaskRun
from tools.facts import Facts
from tools.manifest import Subject
from tools.work import Job, Work


class Unavailable(Exception):
    """The database cannot be reached or did not answer in time; doors answer 503 with Retry-After."""


class DuplicateCall(Exception):
    """This call has its ticket already: another process, or an earlier attempt, makes or made it."""


class CallTransaction(Protocol):
    """One call's transaction, its context already set."""

    @property
    def facts(self) -> Facts: ...

    @property
    def work(self) -> Work: ...

    @property
    def keys(self) -> Keys:
        """The principal's idempotency keys: what is kept under them stands or falls with the call."""
        ...

    @property
    def intents(self) -> Intents:
        """What calls are about to do outside."""
        ...

    async def record(self, *events: ActivityEvent) -> None:
        """Write events in this transaction: a ticket before the work, the outcome after it.

        Raises  DuplicateCall: the call has its ticket already.
        """
        ...

    async def ask(self, approval: Approval) -> None:
        """Write the pending approval of a waiting call; its event stands in this transaction already."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """What fails inside is undone alone; the exception goes on."""
        ...

    def become(
        self, principal: Principal, tool: str, subjects: Mapping[Subject, str], control: str | None
    ) -> AbstractAsyncContextManager[Facts]:
        """Stand in another principal's context until the block ends; gives that principal's facts."""
        ...


class Transactions(Protocol):
    """Opens the transaction of a call; leaving the block normally commits, an exception rolls back."""

    def begin(
        self,
        principal: Principal,
        tool: str,
        subjects: Mapping[Subject, str],
        control: str | None,
        *,
        read_only: bool,
    ) -> AbstractAsyncContextManager[CallTransaction]:
        """Raises  Unavailable: no database."""
        ...

    def is_away(self, fault: Exception) -> bool:
        """Whether a fault means that the database is away or too busy, and not that the tool is faulty."""
        ...


class Recorder(Protocol):
    """The group writer: returns when the events are committed."""

    async def record(self, events: Sequence[ActivityEvent]) -> None:
        """Raises  Unavailable: no database.
        DuplicateCall: a call was opened already.
        """
        ...


class TaskRuns(Protocol):
    """Follows runs that workers carry, with no connection held in between."""

    def states(self, principal: Principal, task_run_id: TaskRunId, *, goes_on: bool) -> AsyncGenerator[TaskRun, None]:
        """Where the run stands, as this principal sees it, and again whenever that has changed, to its end.

        Or until the process is to stop; `goes_on`: not then, since another will go on with what asks.
        Raises  TaskRunNotFound: no such run that this principal may see. Unavailable: no database.
        """
        ...


class JobQueue(Protocol):
    """Takes jobs after a commit; a job that cannot be enqueued is found by the sweep."""

    async def enqueue(self, jobs: Sequence[Job]) -> None: ...
