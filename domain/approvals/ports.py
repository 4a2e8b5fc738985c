"""What approvals need of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.approvals.model import Approval, ApprovalItem, ApprovalQuery, ApprovalState
from domain.kernel import ApprovalId, PrincipalId, TaskRunId


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

    async def finish(self, approval_id: ApprovalId, state: ApprovalState) -> bool:
        """Move an executing approval to `state`; False where none was executing."""
        ...
