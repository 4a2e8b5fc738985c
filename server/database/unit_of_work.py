"""Transactions: the only place that sets a context, begins and commits; step 4 of the path of a call."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import asyncpg
import orjson
from asyncpg.transaction import Transaction

from domain.activity.model import ActivityEvent
from domain.activity.ports import Taints
from domain.activity.postgres import PostgresActivity, PostgresTaints
from domain.activity.service import ActivityService
from domain.analytics.model import Price
from domain.analytics.postgres import PostgresAnalytics
from domain.analytics.service import AnalyticsService
from domain.approvals.model import Approval
from domain.approvals.postgres import PostgresApprovals
from domain.approvals.service import ApprovalService
from domain.autonomy.postgres import PostgresAutonomy
from domain.autonomy.service import AutonomyService
from domain.budgets.postgres import PostgresBudgets
from domain.budgets.service import BudgetService
from domain.delegations.postgres import PostgresDelegations
from domain.delegations.service import DelegationService
from domain.earned.model import EarnedRules
from domain.earned.postgres import PostgresEarned
from domain.earned.service import EarnedService
from domain.evaluations.postgres import PostgresEvaluations
from domain.evaluations.service import EvaluationService
from domain.feedback.postgres import PostgresFeedback
from domain.feedback.service import FeedbackService
from domain.figures.postgres import PostgresFigures
from domain.figures.service import FigureService
from domain.idempotency.ports import Keys
from domain.idempotency.postgres import PostgresKeys
from domain.identities.postgres import PostgresIdentityLinks
from domain.identities.service import IdentityService
from domain.intents.ports import Intents
from domain.intents.postgres import PostgresIntents
from domain.intents.service import OpenCallService
from domain.kernel import OrganizationId, Principal, PrincipalId, Role
from domain.ledger.postgres import PostgresLedgerReader
from domain.ledger.service import LedgerService
from domain.policies.model import UnreadPolicies
from domain.policies.postgres import PostgresPolicies
from domain.policies.service import PolicyService
from domain.preferences.postgres import PostgresPreferences
from domain.preferences.service import PreferenceService
from domain.privacy.postgres import PostgresPrivacy
from domain.privacy.service import PrivacyService
from domain.releases.postgres import PostgresReleases
from domain.releases.service import ReleaseService
from domain.schedules.ports import ScheduleProgress
from domain.schedules.postgres import PostgresScheduleProgress, PostgresSchedules
from domain.schedules.service import ScheduleService
from domain.tasks.ports import TaskRunProgress
from domain.tasks.postgres.progress import PostgresTaskRunProgress
from domain.tasks.postgres.tasks import PostgresTasks
from domain.tasks.service import TaskService
from domain.workspaces.postgres import PostgresWorkspaces
from domain.workspaces.service import WorkspaceService
from knowledge.model import SearchWeights
from knowledge.ports import Storage
from knowledge.postgres import knowledge_service
from knowledge.sources.postgres import PostgresSources
from knowledge.sources.service import SourceService
from server.database.connection import PooledConnection
from server.database.own_policies import KeptPolicies
from server.database.pool import Pool, discard
from tools.facts import Facts, parse_facts
from tools.manifest import Subject
from tools.ports import DuplicateCall
from tools.work import Work
from tools.workflows import Workflows

Prices = Callable[[], Mapping[str, Price]]
Weights = Callable[[], SearchWeights]

BEGIN_CALL = "SELECT glow.begin_call($1, $2, glow.entering($3), $4::jsonb, $5)::text"
BEGIN_SESSION = "SELECT glow.begin_session($1, $2)"
OF_NO_TOOL = ", glow.entering('')"
"""What a tool that prepares documents for all their readers may see is seen no more."""
PLAN_ANEW = ", set_config('plan_cache_mode', 'force_custom_plan', true)"
"""Of a transaction that only reads, in the same round trip: what follows is planned for its own arguments.

Under row level security one prepared statement serves all organizations, and a plan kept from a small one would read a
large one whole. What writes looks up by key, and is spared the planning.
"""
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    # The server has said that it ends the connection, and the driver refuses to send on it.
    asyncpg.InternalClientError,
    ConnectionError,
    TimeoutError,
)
"""Lost, going down, out of time, space or luck: not the fault of whoever asked, and the same call may succeed later."""
GONE = ("connection is closed", "released back to the pool")
"""What the driver says of a statement that comes after the one in which the connection was lost."""
ONE_CALL = frozenset({"activity_events_one_ticket", "activity_events_one_opening"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A principal's own view of the database, for lists and gets that are no calls."""

    role: Role | None
    """None: no membership in the organization."""
    connection: PooledConnection
    work: Work
    progress: TaskRunProgress
    """Plumbing: how far the worker has come with task runs, written without a ticket."""
    schedule_progress: ScheduleProgress
    """Plumbing: how the due times of schedules went."""
    keys: Keys
    """Plumbing: the principal's idempotency keys."""
    taints: Taints
    """Plumbing: what has entered the turns of the principal's agents."""


class PostgresTransactions:
    """Opens the transactions of calls and of sessions as glow_app; satisfies tools.ports.Transactions."""

    def __init__(
        self,
        pool: Pool,
        workflows: Workflows,
        prices: Prices = dict,
        weights: Weights = SearchWeights,
        earned: Callable[[], EarnedRules] = EarnedRules,
        storage: Storage | None = None,
    ) -> None:
        """`prices`, `weights`, `earned`: what models cost, what a search's orders count, and by which rules autonomy is
        earned, asked for with each transaction. `storage`: where files are kept; None: in the database."""
        self._pool = pool
        self._workflows = workflows
        self._prices = prices
        self._weights = weights
        self._policies = KeptPolicies()
        self._earned = earned
        self._storage = storage

    @asynccontextmanager
    async def begin(
        self,
        principal: Principal,
        tool: str,
        subjects: Mapping[Subject, str],
        control: str | None,
        *,
        read_only: bool,
    ) -> AsyncGenerator["PostgresCall"]:
        """The transaction of one call, its context set and its facts fetched in one round trip."""
        async with self._transaction(read_only=read_only) as connection:
            begin = CallBeginning(connection, self._policies)
            facts = await begin(principal, tool, subjects, control, read_only=read_only)
            yield PostgresCall(connection, principal, facts, self.work_on(connection), begin)

    def is_away(self, fault: Exception) -> bool:
        """Whether a fault of the driver's means that the database is lost, going down or too busy."""
        return is_lost(fault)

    @asynccontextmanager
    async def session(
        self, organization_id: OrganizationId, principal_id: PrincipalId | None, *, read_only: bool = True
    ) -> AsyncGenerator[Session]:
        """A transaction in a principal's context that makes no call; None: in the organization's, without a role."""
        async with self._transaction(read_only=read_only) as connection:
            began = BEGIN_SESSION + PLAN_ANEW if read_only else BEGIN_SESSION
            role = await connection.fetchval(began, organization_id, principal_id)
            yield Session(
                role=None if role is None else Role(role),
                connection=connection,
                work=self.work_on(connection),
                progress=PostgresTaskRunProgress(connection),
                schedule_progress=PostgresScheduleProgress(connection),
                keys=PostgresKeys(connection),
                taints=PostgresTaints(connection),
            )

    def work_on(self, connection: PooledConnection) -> Work:
        """The services of one transaction."""
        tasks = TaskService(PostgresTasks(connection), self._workflows.kinds)
        autonomy = AutonomyService(PostgresAutonomy(connection))
        knowledge = knowledge_service(connection, self._weights(), self._storage)
        sources = PostgresSources(connection)
        return Work(
            activity=ActivityService(PostgresActivity(connection)),
            analytics=AnalyticsService(PostgresAnalytics(connection), self._prices()),
            approvals=ApprovalService(PostgresApprovals(connection)),
            autonomy=autonomy,
            budgets=BudgetService(PostgresBudgets(connection)),
            delegations=DelegationService(PostgresDelegations(connection)),
            earned=EarnedService(PostgresEarned(connection), autonomy, self._earned()),
            evaluations=EvaluationService(PostgresEvaluations(connection)),
            feedback=FeedbackService(PostgresFeedback(connection)),
            figures=FigureService(PostgresFigures(connection)),
            identities=IdentityService(PostgresIdentityLinks(connection)),
            knowledge=knowledge,
            ledger=LedgerService(PostgresLedgerReader(connection)),
            open_calls=OpenCallService(PostgresIntents(connection)),
            policies=PolicyService(PostgresPolicies(connection)),
            preferences=PreferenceService(PostgresPreferences(connection)),
            privacy=PrivacyService(PostgresPrivacy(connection)),
            releases=ReleaseService(PostgresReleases(connection)),
            schedules=ScheduleService(PostgresSchedules(connection), tasks),
            sources=SourceService(sources=sources, syncs=sources, knowledge=knowledge),
            tasks=tasks,
            workspaces=WorkspaceService(PostgresWorkspaces(connection)),
        )

    @asynccontextmanager
    async def _transaction(self, *, read_only: bool) -> AsyncGenerator[PooledConnection]:
        async with self._pool.acquire() as connection:
            transaction = connection.transaction(readonly=read_only)
            await transaction.start()
            try:
                yield connection
            except BaseException:
                await _rolled_back(connection, transaction)
                raise
            await _committed(transaction)


class PostgresCall:
    """One call's transaction; satisfies tools.ports.CallTransaction."""

    def __init__(
        self, connection: PooledConnection, principal: Principal, facts: Facts, work: Work, begin: "CallBeginning"
    ) -> None:
        self._connection = connection
        self._begin = begin
        self._principal = principal
        self._facts = facts
        self._work = work

    @property
    def facts(self) -> Facts:
        """What policy needs, as this principal sees it."""
        return self._facts

    @property
    def work(self) -> Work:
        """The services bound to this transaction."""
        return self._work

    @property
    def keys(self) -> Keys:
        """The principal's idempotency keys, in this transaction."""
        return PostgresKeys(self._connection)

    @property
    def intents(self) -> Intents:
        """What calls are about to do outside, in this transaction."""
        return PostgresIntents(self._connection)

    async def record(self, *events: ActivityEvent) -> None:
        """Write events in this transaction; DuplicateCall where the call has its ticket already."""
        try:
            await self._work.activity.write(events)
        except asyncpg.UniqueViolationError as violation:
            if violation.constraint_name in ONE_CALL:
                raise DuplicateCall(str(events[0].call_id)) from violation
            raise

    async def ask(self, approval: Approval) -> None:
        """Write a waiting call's question; its event stands in this transaction already."""
        await self._work.approvals.ask(approval)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """What fails inside is undone alone."""
        async with self._connection.transaction():
            yield

    @asynccontextmanager
    async def become(
        self, principal: Principal, tool: str, subjects: Mapping[Subject, str], control: str | None
    ) -> AsyncGenerator[Facts]:
        """Another principal's context until the block ends; after an exception the transaction is lost anyway."""
        yield await self._begin(principal, tool, subjects, control)
        organization_id, principal_id = self._principal.organization_id, self._principal.principal_id
        await self._connection.fetchval(BEGIN_SESSION + OF_NO_TOOL, organization_id, principal_id)


@dataclass(frozen=True, slots=True)
class CallBeginning:
    """Sets the context of a call and fetches its facts."""

    connection: PooledConnection
    policies: KeptPolicies

    async def __call__(
        self,
        principal: Principal,
        tool: str,
        subjects: Mapping[Subject, str],
        control: str | None,
        *,
        read_only: bool = False,
    ) -> Facts:
        """The facts in one round trip; in a second one where this process meets the organization's policies first."""
        text = await self.connection.fetchval(
            BEGIN_CALL + PLAN_ANEW if read_only else BEGIN_CALL,
            principal.organization_id,
            principal.principal_id,
            tool,
            orjson.dumps(subjects).decode(),
            control or "",
        )
        facts = parse_facts(text, frozenset(subjects))
        if not isinstance(facts.policies, UnreadPolicies):
            return facts
        return replace(facts, policies=await self.policies.read(self.connection, facts.policies))


def is_lost(fault: Exception) -> bool:
    """Whether a fault of the driver's means that the database is lost, going down or too busy."""
    return isinstance(fault, AWAY) or (
        isinstance(fault, asyncpg.InterfaceError) and any(words in str(fault) for words in GONE)
    )


async def _committed(transaction: Transaction) -> None:
    """Commit, and see it through: a caller that is cancelled meanwhile must not leave the outcome open."""
    commit = asyncio.ensure_future(transaction.commit())
    try:
        await asyncio.shield(commit)
    except asyncio.CancelledError:
        await asyncio.wait([commit])
        # A commit that failed is told instead: nothing stands, or nobody knows.
        commit.result()
        raise


async def _rolled_back(connection: PooledConnection, transaction: Transaction) -> None:
    """Roll back; on a connection that is lost the server does it."""
    try:
        await asyncio.shield(transaction.rollback())
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
        # The exception that led here is the one to tell; the pool drops the connection.
        discard(connection)
