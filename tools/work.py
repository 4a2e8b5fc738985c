"""What a handler is given: the services bound to the call's own transaction, and who asks."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from domain.activity.service import ActivityService
from domain.analytics.service import AnalyticsService
from domain.approvals.model import Approval
from domain.approvals.service import ApprovalService
from domain.autonomy.service import AutonomyService
from domain.budgets.service import BudgetService
from domain.delegations.service import DelegationService
from domain.earned.service import EarnedService
from domain.evaluations.service import EvaluationService
from domain.feedback.service import FeedbackService
from domain.figures.service import FigureService
from domain.identities.service import IdentityService
from domain.intents.model import Conclusion
from domain.intents.service import OpenCallService
from domain.kernel import (
    CallId,
    ConversationId,
    Effect,
    EngagementId,
    Level,
    NewId,
    OrganizationId,
    Principal,
    Role,
    TaskRunId,
    Trust,
)
from domain.ledger.service import LedgerService
from domain.policies.service import PolicyService
from domain.preferences.service import PreferenceService
from domain.privacy.service import PrivacyService
from domain.releases.service import ReleaseService
from domain.schedules.service import ScheduleService
from domain.taint import Taint, joined, less_trusted
from domain.tasks.model import TaskRun
from domain.tasks.service import TaskService
from domain.workspaces.service import WorkspaceService
from knowledge.embeddings.model import TokensUsed
from knowledge.service import KnowledgeService
from knowledge.sources.service import SourceService
from tools.explanations import Explained, Supposed
from tools.facts import Facts
from tools.outcomes import CallOutcome, Tell, Verdict
from tools.outside import Outside
from tools.spending import Spending

Json = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The services of one transaction; none of them commits."""

    activity: ActivityService
    analytics: AnalyticsService
    approvals: ApprovalService
    autonomy: AutonomyService
    budgets: BudgetService
    delegations: DelegationService
    earned: EarnedService
    evaluations: EvaluationService
    feedback: FeedbackService
    figures: FigureService
    identities: IdentityService
    knowledge: KnowledgeService
    ledger: LedgerService
    open_calls: OpenCallService
    policies: PolicyService
    preferences: PreferenceService
    privacy: PrivacyService
    releases: ReleaseService
    schedules: ScheduleService
    sources: SourceService
    tasks: TaskService
    workspaces: WorkspaceService


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work to be done after the commit; ids only, since the queue knows no organizations."""

    kind: Literal[
        "task_run",
        "schedule",
        "document_index",
        "document_embed",
        "document_analyse",
        "document_purge",
        "approval_expire",
        "approval_remind",
        "autonomy_review",
        "call_settle",
        "run",
        "privacy_erase",
    ]
    organization_id: OrganizationId
    subject_id: UUID


class WhatIf(Protocol):
    """Asks policy what would become of a call, without making it."""

    def __call__(self, tool: str, arguments: Json | None, /) -> Awaitable[Verdict | None]:
        """The verdict that the tool would get now; None: no such tool for this principal's eyes."""
        ...


class Explain(Protocol):
    """Asks policy why a call would get its verdict, without making it."""

    def __call__(self, tool: str, arguments: Json | None, supposed: Supposed, /) -> Awaitable[Explained | None]:
        """None: no such tool."""
        ...


class Suppose(Protocol):
    """What autonomy says at a level of an agent's call of this effect, or of starting a task of this kind.

    Role is left aside.
    """

    def __call__(self, level: Level, effect: Effect, kind: str | None = None, /) -> Verdict: ...


class LevelOf(Protocol):
    """The level that would be in force for an agent's call of that tool; None: of any that has no ceiling."""

    def __call__(self, tool: str | None, /) -> Awaitable[Level]: ...


class ExecuteApproved(Protocol):
    """Makes the call an approval stands for, inside the decision's own transaction: what fails is undone alone."""

    def __call__(self, approval: Approval, prepared: object, /) -> Awaitable[CallOutcome]: ...


class RejectWaiting(Protocol):
    """Records that the call an approval stood for was rejected, inside the decision's own transaction."""

    def __call__(self, approval: Approval, /) -> Awaitable[CallOutcome]: ...


class ExpireWaiting(Protocol):
    """Records that nobody answered in time for the call an approval stood for, inside the call's own transaction."""

    def __call__(self, approval: Approval, /) -> Awaitable[CallOutcome]: ...


class CancelWaiting(Protocol):
    """Records that the call an approval stood for was cancelled, inside the cancelling call's own transaction."""

    def __call__(self, approval: Approval, /) -> Awaitable[CallOutcome]: ...


class Conclude(Protocol):
    """Records how a call ended outside, by a person's word, inside the transaction of the call that says so."""

    def __call__(self, call_id: CallId, said: Conclusion, /) -> Awaitable[CallOutcome]: ...


@dataclass(slots=True)
class Told:
    """What the result of a call tells, as its handler says it."""

    parts: list[Taint] | None = None
    """None: the handler says nothing of it."""

    def add(self, *taints: Taint) -> None:
        """The result tells of these, and of nothing else unless that is added too."""
        self.parts = [*(self.parts or ()), *taints]

    def taint(self, trust: Trust, effect: Effect) -> Taint:
        """Of the whole result; `trust`: of a tool's whose handler says nothing; then what it reads is the firm's."""
        return Taint(trust=trust, firm=effect == "read") if self.parts is None else joined(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """One call's surroundings: everything a handler may know or do besides its arguments."""

    principal: Principal
    facts: Facts
    role: Role
    level: Level
    """The autonomy in force for this call."""
    work: Work
    call_id: CallId
    task_run_id: TaskRunId | None
    engagement_id: EngagementId | None
    conversation_id: ConversationId | None
    now: datetime
    new_id: NewId
    prepared: object
    """What the tool's `prepare` gave; None without one."""
    agent: str | None = None
    """The persona that chose the call."""
    what_if: WhatIf
    explain: Explain
    suppose: Suppose
    level_of: LevelOf
    execute_approved: ExecuteApproved
    reject_waiting: RejectWaiting
    cancel_waiting: CancelWaiting
    expire_waiting: ExpireWaiting
    conclude: Conclude
    told: Told = field(default_factory=Told)
    """Where the handler says whose words its result holds, and for whom they were meant."""
    jobs: list[Job] = field(default_factory=list[Job])
    """Filled by the handler, enqueued after the commit; the row it wrote is the outbox a sweep falls back on."""

    @property
    def trust(self) -> Trust:
        """Of what the call makes: a client's own words, or those of the least trusted thing that entered its turn."""
        own: Trust = "client" if self.role is Role.CLIENT else "internal"
        turn = self.facts.turn
        return own if turn is None else less_trusted(own, turn.trust)


class Asking(Protocol):
    """Begins with asking a model for texts: holds of budgets what it may take, and gives where its use is added."""

    def __call__(self, model: str, texts: Sequence[str], /) -> Awaitable[TokensUsed]:
        """Raises  BudgetGone (tools.spending): a budget has too little left; the gate denies the call it leaves."""
        ...


A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareContext:
    """What a `prepare` may use: it runs after a first verdict, with no transaction open.

    `read` runs a short read-only transaction of the principal's own and closes it again.
    """

    principal: Principal
    call_id: CallId
    spending: Spending
    """Where a model that is asked is reckoned up."""
    asking: Asking
    read: Callable[[Callable[[Work], Awaitable[object]]], Awaitable[object]]
    prepare_approved: Callable[[Approval], Awaitable[object]]
    """Prepares the call that an approval stands for, as its requester."""
    settle: Callable[[CallId], Awaitable[CallOutcome | None]]
    """Asks the outside what became of a call; None: nothing is left to ask."""
    follow: Callable[[TaskRunId], AsyncGenerator[TaskRun, None]]
    """Where a task run stands, as the principal sees it, and again whenever that has changed (tools.ports.TaskRuns)."""
    tell: Tell
    """Tells whoever made the call how far it has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler(Generic[A]):
    """The code behind a manifest: its arguments' type, the work, and what must be fetched from outside first."""

    arguments: type[A]
    work: Callable[[A, CallContext], Awaitable[Json]]
    prepare: Callable[[A, PrepareContext], Awaitable[object]] | None = None
    outside: Outside[A] | None = None
    """Of a tool that acts outside: `work` then only makes the result of what the outside answered (`prepared`)."""
