"""What approvals need of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.approvals.model import Approval, ApprovalItem, ApprovalQuery, ApprovalState
from domain.kernel import ApprovalId, CallId, PrincipalId, RunId, TaskRunId


class ApprovalRepository(Protocol):
    """The questions that the transaction's principal asked for or may decide."""

    async def add(self, approval: Approval) -> bool:
        """Store the question; False where the task run whose step asks it was cancelled."""
        ...

    async def list(self, query: ApprovalQuery, now: datetime) -> Sequence[ApprovalItem]:
        """Newest first; one more than the page holds where there are more."""
        ...

    async def get(self, approval_id: ApprovalId) -> ApprovalItem | None: ...

    async def settle(
        self, approval_id: ApprovalId, state: ApprovalState, decider: PrincipalId, comment: str | None, now: datetime
    ) -> bool:
        """Move a pending, unexpired approval to `state`; False where it was no longer pending: somebody was first."""
        ...

    async def cancel_of_run(
        self, task_run_id: TaskRunId, by: PrincipalId, reason: str, now: datetime
    ) -> Sequence[Approval]:
        """Cancel what the steps of a task run wait for, also what this principal may not see; the run is locked."""
        ...

    async def cancel_of_conversation(self, run_id: RunId, reason: str, now: datetime) -> Sequence[Approval]:
        """Cancel what a run of a conversation waits for, in its owner's name; what is past its time is expired."""
        ...

    async def expire(self, approval_id: ApprovalId, now: datetime) -> Approval | None:
        """Expire a pending approval past its time, also one that this principal may not see; None: it is none."""
        ...

    async def finish_of_call(self, call_id: CallId) -> Approval | None:
        """Say of an executing approval what the record says of its call; None where none was, or that has not ended."""
        ...

    async def finish(self, approval_id: ApprovalId, state: ApprovalState) -> bool:
        """Move an executing approval to `state`; False where none was executing."""
        ...
