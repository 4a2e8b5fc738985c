"""What approvals need of the database."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.approvals.comparison import LikeCall
from domain.approvals.model import Approval, ApprovalItem, ApprovalQuery, ApprovalState, Decider, RunEnd
from domain.approvals.subjects import NamedSubject, SubjectWords
from domain.kernel import ApprovalId, CallId, PrincipalId, RunId, TaskRunId


class ApprovalRepository(Protocol):
    """The questions that the transaction's principal asked for or may decide."""

    async def add(self, approval: Approval) -> RunEnd | None:
        """Store the question; where the run that asks it is over, nothing is stored, and how it ended is given."""
        ...

    async def run_over(self, run_id: RunId | None, task_run_id: TaskRunId | None) -> RunEnd | None:
        """How that run has ended without what it asked for; None: it goes on, or has come to its end."""
        ...

    async def asked_in_vain(self, task_run_id: TaskRunId) -> bool:
        """Whether a task run that is over left questions, also ones that this principal may not see."""
        ...

    async def list(self, query: ApprovalQuery, now: datetime) -> Sequence[ApprovalItem]:
        """Newest first; one more than the page holds where there are more."""
        ...

    async def get(self, approval_id: ApprovalId) -> ApprovalItem | None: ...

    async def last_like(self, approval: Approval) -> LikeCall | None:
        """The last call of the same tool that had been made when this was asked for: the requester's, else anybody's.

        Of those that the principal may read in the record, and whose arguments are not erased.
        """
        ...

    async def digests(self, named: Sequence[NamedSubject], salt: bytes, *, hold: bool) -> Sequence[str | None]:
        """What each stands at, whether or not the principal sees it; None: there is no such thing.

        `hold`: none of them changes until the transaction ends.
        """
        ...

    async def words(self, named: NamedSubject) -> SubjectWords | None:
        """A subject as the principal sees it; None: they see no such thing."""
        ...

    async def settle(
        self, approval_id: ApprovalId, state: ApprovalState, decider: PrincipalId, comment: str | None, now: datetime
    ) -> bool:
        """Move a pending, unexpired approval to `state`; False where it was no longer pending: somebody was first.

        False too where the run that asked it is over, or where the principal may decide it neither by a role of its own
        nor in another's stead; in whose, is kept with the decision.
        """
        ...

    async def cancel_of_run(
        self, task_run_id: TaskRunId, by: PrincipalId | None, reason: str, now: datetime
    ) -> Sequence[Approval]:
        """Cancel what the steps of a task run wait for, also what this principal may not see; the run is locked.

        `by`: whose decision it is; None: nobody's, since the run has failed.
        """
        ...

    async def cancel_of_conversation(self, run_id: RunId, reason: str, now: datetime) -> Sequence[Approval]:
        """Cancel what a run of a conversation waits for; what is past its time is expired.

        In its owner's name, unless it has failed: then nobody has decided it.
        """
        ...

    async def expire(self, approval_id: ApprovalId, now: datetime) -> Approval | None:
        """Expire a pending approval past its time, also one that this principal may not see; None: it is none."""
        ...

    async def remind(self, approval_id: ApprovalId, now: datetime) -> Approval | None:
        """Write down that a pending approval is reminded of, also one that this principal may not see; None: it was."""
        ...

    async def deciders(self, approval_id: ApprovalId) -> Sequence[Decider]:
        """Who may decide a pending approval, nearest the role that is needed first; at most 50."""
        ...

    async def finish_of_call(self, call_id: CallId) -> Approval | None:
        """Say of an executing approval what the record says of its call; None where none was, or that has not ended."""
        ...

    async def begin(self, approval_id: ApprovalId) -> bool:
        """Move an approved approval to `executing`; False where none was approved."""
        ...

    async def finish(self, approval_id: ApprovalId, *, executed: bool) -> bool:
        """Move an executing approval to `executed`, or an executing or approved one to `failed`; False: neither."""
        ...
