"""Durable questions to people: exactly one answer wins, and an expired or used one is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from domain.approvals.comparison import Comparison, compared
from domain.approvals.model import Approval, ApprovalAnswer, ApprovalItem, ApprovalQuery, ApprovalState, Decider, RunEnd
from domain.approvals.ports import ApprovalRepository
from domain.approvals.subjects import (
    BoundSubject,
    BoundSubjects,
    NamedSubject,
    ShownSubject,
    ShownSubjects,
    rows_named,
)
from domain.kernel import ApprovalId, CallId, DomainError, NotFound, PrincipalId, RunId, TaskRunId
from domain.paging import Page, Position, page_of

SUBJECTS_SHOWN = 10
"""Of those that a call names; each of them is a question to the database."""


class ApprovalNotFound(NotFound):
    """No such approval that this principal asked for or may decide."""

    code: ClassVar[str] = "approval_not_found"

    def __init__(self, approval_id: ApprovalId) -> None:
        super().__init__(f"approval_id: no approval {approval_id}")
        self.approval_id = approval_id


class AlreadyDecided(DomainError):
    """Somebody's answer, or the execution, came first."""

    code: ClassVar[str] = "already_decided"

    def __init__(self, state: ApprovalState) -> None:
        super().__init__(f"this approval is {state} already; it can be decided only once")
        self.state = state


class ApprovalExpired(DomainError):
    """The question stood open too long; the call has to be asked for again."""

    code: ClassVar[str] = "approval_expired"

    def __init__(self, expired_at: datetime) -> None:
        super().__init__(f"this approval expired at {expired_at.isoformat()}; ask for the call again")
        self.expired_at = expired_at


class NoLongerDeputy(DomainError):
    """The decider stood in for somebody, and that was over before the decision was written down."""

    code: ClassVar[str] = "no_longer_deputy"

    def __init__(self) -> None:
        super().__init__("you no longer stand in for anybody who may decide this approval")


class NothingToExpire(DomainError):
    """No such approval is pending past its time: somebody was first, or its time is not over."""

    code: ClassVar[str] = "nothing_to_expire"

    def __init__(self) -> None:
        super().__init__("approval_id: no such approval is pending past its time")


class NothingToRemind(DomainError):
    """No such approval is pending that nobody was reminded of: somebody was first, or its time is over."""

    code: ClassVar[str] = "nothing_to_remind"

    def __init__(self) -> None:
        super().__init__("approval_id: no such approval is pending that nobody was reminded of")


class TaskRunCancelled(DomainError):
    """Nobody needs to be asked any more."""

    code: ClassVar[str] = "task_run_cancelled"

    def __init__(self) -> None:
        super().__init__("the task run that this call is a step of was cancelled")


class RunEnded(DomainError):
    """The run that asks, or asked, has failed or was cancelled: no answer would be of use to it."""

    code: ClassVar[str] = "run_ended"

    def __init__(self, end: RunEnd) -> None:
        how = "has failed" if end == "failed" else "was cancelled"
        super().__init__(f"the run that asked for this call {how}; there is nothing to decide any more")
        self.end = end


@dataclass(frozen=True, slots=True)
class ApprovalService:
    """Who may decide is policy's to say, before this is called; here is what a decision does."""

    approvals: ApprovalRepository

    async def ask(self, approval: Approval) -> None:
        """Write the question of a waiting call, whose event stands in this transaction already.

        Raises  TaskRunCancelled: it is a step of a task run that was cancelled meanwhile.
                RunEnded: the run that asks has ended otherwise.
        """
        over = await self.approvals.add(approval)
        if over == "cancelled" and approval.task_run_id is not None:
            raise TaskRunCancelled
        if over is not None:
            raise RunEnded(over)

    async def cancel_of_run(
        self, task_run_id: TaskRunId, *, by: PrincipalId | None, reason: str, now: datetime
    ) -> Sequence[Approval]:
        """Cancel the questions that a task run's steps left, and give them, each to be recorded as cancelled.

        `by`: whose decision it is; None: nobody's, since the run is over.
        """
        return await self.approvals.cancel_of_run(task_run_id, by, reason, now)

    async def run_over(self, run_id: RunId | None, task_run_id: TaskRunId | None) -> RunEnd | None:
        """How a run has ended without what it asked for; None: it goes on, or has come to its end."""
        return await self.approvals.run_over(run_id, task_run_id)

    async def asked_in_vain(self, task_run_id: TaskRunId) -> bool:
        """Whether a task run that is over left questions to people."""
        return await self.approvals.asked_in_vain(task_run_id)

    async def cancel_of_conversation(self, run_id: RunId, reason: str, now: datetime) -> Sequence[Approval]:
        """End the questions that a run of a conversation left, and give them, each to be recorded as it is:

        cancelled, or expired where its time was over.
        """
        return await self.approvals.cancel_of_conversation(run_id, reason, now)

    async def expire(self, approval_id: ApprovalId, now: datetime) -> Approval:
        """Write down that nobody answered in time.

        Raises  NothingToExpire.
        """
        expired = await self.approvals.expire(approval_id, now)
        if expired is None:
            raise NothingToExpire
        return expired

    async def remind(self, approval_id: ApprovalId, now: datetime) -> tuple[Approval, Sequence[Decider]]:
        """Write down, once, that those who may decide are reminded, and give them.

        Raises  NothingToRemind.
        """
        reminded = await self.approvals.remind(approval_id, now)
        if reminded is None:
            raise NothingToRemind
        return reminded, await self.deciders(approval_id)

    async def deciders(self, approval_id: ApprovalId) -> Sequence[Decider]:
        """Who may decide a pending approval, nearest its role first; nobody, of one that is not pending."""
        return await self.approvals.deciders(approval_id)

    async def list(self, query: ApprovalQuery, now: datetime) -> Page[ApprovalItem]:
        """A page of approvals, newest first; a pending one past its time counts and shows as expired."""
        found = await self.approvals.list(query, now)
        return page_of(found, query.page, _place).of(lambda item: _as_of(item, now))

    async def get(self, approval_id: ApprovalId, now: datetime) -> ApprovalItem:
        """One approval, as it stands at `now`.

        Raises  ApprovalNotFound.
        """
        return _as_of(await self.find(approval_id), now)

    async def comparison(self, approval: Approval) -> Comparison:
        """What the call says, laid out, beside the last like call as it stood when this one was asked for."""
        return compared(approval.arguments, await self.approvals.last_like(approval))

    async def bind(self, named: Sequence[NamedSubject], salt: bytes) -> BoundSubjects:
        """What a call names, as it stands now."""
        digests = await self.approvals.digests(named, salt, hold=False) if named else ()
        return BoundSubjects(
            salt=salt,
            subjects=tuple(
                BoundSubject(subject=each.subject, argument=each.argument, digest=digest)
                for each, digest in zip(named, digests, strict=True)
            ),
        )

    async def changed(self, bound: BoundSubjects, named: Sequence[NamedSubject]) -> BoundSubject | None:
        """The first thing that was bound and is not any more what it was; None: all of it is.

        `named`: the same things, as the call names them now. They are held until the transaction ends.
        """
        digests = await self.approvals.digests(named, bound.salt, hold=True) if named else ()
        now = {(each.subject, each.argument): digest for each, digest in zip(named, digests, strict=True)}
        return next((each for each in bound.subjects if now.get((each.subject, each.argument)) != each.digest), None)

    async def subjects(self, approval: Approval) -> ShownSubjects:
        """What the call names, as the principal sees it, and whether it is still what was asked about."""
        if approval.subjects is None:
            return ShownSubjects(is_bound=False)
        bound, rows = approval.subjects, rows_named(approval.subjects, approval.arguments)
        digests = await self.approvals.digests([name for _, name in rows], bound.salt, hold=False) if rows else ()
        # What is no such thing, and was none, is a word among the arguments.
        there = [
            (name, was.digest == digest)
            for (was, name), digest in zip(rows, digests, strict=True)
            if (was.digest, digest) != (None, None)
        ]
        shown = [
            ShownSubject(
                subject=name.subject,
                argument=name.argument,
                state="unchanged" if same else "changed",
                seen=await self.approvals.words(name),
            )
            for name, same in there[:SUBJECTS_SHOWN]
        ]
        return ShownSubjects(is_bound=True, subjects=tuple(shown), left_out=len(there) - len(shown))

    async def decide(
        self,
        approval_id: ApprovalId,
        answer: ApprovalAnswer,
        comment: str | None,
        *,
        decider: PrincipalId,
        now: datetime,
    ) -> Approval:
        """Take the answer: a rejected approval ends so; an approved one is to be begun, or finished as refused.

        Nobody outside this transaction sees `approved`: deciding and executing commit together or not at all. Nor
        `executing`, unless the call acts outside.
        Raises  ApprovalNotFound, AlreadyDecided, ApprovalExpired.
                RunEnded: the run that asked is over, and its question about to be withdrawn.
                NoLongerDeputy: the decider's delegation was revoked meanwhile.
        """
        state: ApprovalState = "approved" if answer == "approve" else "rejected"
        if not await self.approvals.settle(approval_id, state, decider, comment, now):
            item = await self.find(approval_id)
            over = await self.approvals.run_over(item.approval.run_id, item.approval.task_run_id)
            raise _refusal(item, over, now)
        return (await self.find(approval_id)).approval

    async def begin(self, approval_id: ApprovalId) -> None:
        """The approved call is about to be made: policy has allowed it again.

        Raises  AlreadyDecided: it was not approved, or is made already.
        """
        if not await self.approvals.begin(approval_id):
            raise AlreadyDecided((await self.find(approval_id)).approval.state)

    async def finish(self, approval_id: ApprovalId, *, executed: bool) -> ApprovalItem:
        """Say what became of the approved call: `executed` when its work was done, else `failed`.

        Raises  AlreadyDecided: nothing was executing, nor approved and refused.
        """
        finished = await self.approvals.finish(approval_id, executed=executed)
        item = await self.find(approval_id)
        if not finished:
            raise AlreadyDecided(item.approval.state)
        return item

    async def finish_of_call(self, call_id: CallId) -> Approval | None:
        """Say what became of an approved call that acted outside, by the record; None: nothing of it was executing."""
        return await self.approvals.finish_of_call(call_id)

    async def find(self, approval_id: ApprovalId) -> ApprovalItem:
        """One approval as it is stored: one past its time may still say that it is pending.

        Raises  ApprovalNotFound.
        """
        item = await self.approvals.get(approval_id)
        if item is None:
            raise ApprovalNotFound(approval_id)
        return item


def _refusal(item: ApprovalItem, over: RunEnd | None, now: datetime) -> DomainError:
    shown = _as_of(item, now).approval
    if shown.state == "pending" and over is not None:
        return RunEnded(over)
    if shown.state == "pending":
        return NoLongerDeputy()
    return ApprovalExpired(shown.expires_at) if shown.state == "expired" else AlreadyDecided(shown.state)


def _as_of(item: ApprovalItem, now: datetime) -> ApprovalItem:
    if item.approval.state == "pending" and item.approval.expires_at <= now:
        return replace(item, approval=replace(item.approval, state="expired"))
    return item


def _place(item: ApprovalItem) -> Position:
    return Position(time=item.approval.created_at, id=item.approval.approval_id)
