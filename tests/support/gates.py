"""A gate on a test's own database, with the project's real manifests, policies and workflows."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from agent.personas import load_personas
from domain.earned.model import EarnedRules
from domain.idempotency.model import IdempotencyKey
from domain.kernel import CallId, Door, Mode, OrganizationId, Principal, PrincipalId, new_id, utc_now
from domain.resources import resource_folder
from knowledge.chunk import DEFAULT_BUDGET
from knowledge.embeddings.ports import Embedder
from knowledge.embeddings.queries import QueryVectors
from knowledge.isolate import IsolatedPreparer
from knowledge.keeping import keeping_in
from knowledge.model import StoredFile
from knowledge.ports import Storage
from knowledge.prepare import PreparedDocument, preparation
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.recorder import GroupRecorder
from server.database.unit_of_work import PostgresTransactions
from server.following import TaskRunFeed
from server.hub import reservations_on
from server.incidents import PostgresIncidents
from server.rules import fetched, introductions
from tests.support.firms import FIRM_A, Firm
from tools.gate import Fault, Gate, no_fault
from tools.handlers import (
    HANDLERS,
    SourceKinds,
    agent_handlers,
    document_handlers,
    page_handlers,
    policy_handlers,
    searching_with,
    source_handlers,
)
from tools.manifest import Manifest
from tools.manifest_files import load_manifests
from tools.outcomes import CallOutcome, CallRequest
from tools.policy import Policies, Rulebook
from tools.registry import Registry
from tools.spending import PriceOf, no_price
from tools.staging import Staging
from tools.work import Handler, Job
from tools.workflows import Workflows, load_workflows


@dataclass(slots=True)
class KeptJobs:
    """A queue that keeps what it is given: tests of the gate look at what was enqueued, not at who works it off."""

    jobs: list[Job] = field(default_factory=list[Job])

    async def enqueue(self, jobs: Sequence[Job]) -> None:
        self.jobs.extend(jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOnTest:
    """The gate with what it stands on."""

    gate: Gate
    registry: Registry
    policies: Policies
    workflows: Workflows
    transactions: PostgresTransactions
    recorder: GroupRecorder
    queue: KeptJobs
    task_runs: TaskRunFeed
    staging: Staging

    async def call(
        self,
        tool: str,
        arguments: object,
        principal: Principal,
        *,
        dry_run: bool = False,
        call_id: CallId | None = None,
        idempotency: IdempotencyKey | None = None,
    ) -> CallOutcome:
        """One call with an id of its own."""
        request = CallRequest(
            call_id=call_id or CallId(uuid4()),
            tool=tool,
            arguments=arguments,
            dry_run=dry_run,
            idempotency=idempotency,
        )
        return await self.gate.call(request, principal)


def principal_of(firm: Firm = FIRM_A, who: str = "employee", *, mode: Mode = "agent", door: Door = "chat") -> Principal:
    """One of the seeded firm's people, or its service account, at a door."""
    return Principal(
        organization_id=OrganizationId(firm.organization_id),
        principal_id=PrincipalId(firm.id(who)),
        kind="service_account" if who == "service" else "person",
        mode=mode,
        door=door,
    )


def rules_of_the_project(
    preparer: IsolatedPreparer,
    replaced: dict[str, Handler[Any]] | None = None,
    timeout: timedelta | None = None,
    embedder: Embedder | None = None,
    more: Sequence[Manifest] = (),
    policies: Policies | None = None,
    budget: int = DEFAULT_BUDGET,
    sources: SourceKinds | None = None,
    storage: Storage | None = None,
) -> tuple[Registry, Policies, Workflows, Staging]:
    """Everything under manifests/, with some handlers replaced and `more` tools, whose handlers are among those.

    `policies`: in the place of those that ship.
    """
    folder = resource_folder("manifests")
    staging = Staging()

    async def prepare_file(stored: StoredFile) -> PreparedDocument:
        return await preparer.prepare(
            stored.content,
            title=stored.title,
            media_type=stored.media_type,
            unpack=not stored.is_part,
            language=stored.language,
        )

    keep = keeping_in(storage)
    documents = document_handlers(staging, prepare_file, embedder, preparation(budget), keep=keep)
    agents = agent_handlers(introductions(load_personas(folder)))
    policies = policies or Policies.load(folder / "policies")
    again = policy_handlers(Rulebook(policies))
    search = {} if embedder is None else {"knowledge_search": searching_with(QueryVectors(embedder), None)}
    held = load_manifests(folder)
    if timeout is not None:
        held = tuple(replace(manifest, timeout=timeout) for manifest in held)
    registry = Registry(
        (*held, *more),
        {
            **HANDLERS,
            **documents,
            **page_handlers(fetched, keep),
            **source_handlers(sources or {}, keep=keep),
            **agents,
            **again,
            **search,
            **(replaced or {}),
        },
    )
    manifests = {tool.manifest.name: tool.manifest for tool in registry.all()}
    return registry, policies, load_workflows(folder / "workflows", manifests), staging


def failing(name: str, work: Any) -> dict[str, Handler[Any]]:
    """The handler of a tool with other work in its place."""
    return {name: replace(HANDLERS[name], work=work)}


@asynccontextmanager
async def gate_on(
    pools: DatabasePools,
    replaced: dict[str, Handler[Any]] | None = None,
    fault: Fault = no_fault,
    timeout: timedelta | None = None,
    embedder: Embedder | None = None,
    more: Sequence[Manifest] = (),
    price_of: PriceOf = no_price,
    earned: Callable[[], EarnedRules] = EarnedRules,
    policies: Policies | None = None,
    budget: int = DEFAULT_BUDGET,
    storage: Storage | None = None,
    sources: SourceKinds | None = None,
) -> AsyncGenerator[GateOnTest]:
    """The gate for the length of the block; `policies`: in the place of those that ship; `storage`: of files."""
    preparer = IsolatedPreparer(budget=budget)
    registry, policies, workflows, staging = rules_of_the_project(
        preparer, replaced, timeout, embedder, more, policies, budget, sources, storage
    )
    transactions = PostgresTransactions(pools.app, workflows, earned=earned, storage=storage)
    recorder = GroupRecorder(pools.recorder, time.monotonic)
    queue, task_runs = KeptJobs(), TaskRunFeed(transactions)
    gate = Gate(
        registry=registry,
        policies=policies,
        workflows=workflows,
        transactions=transactions,
        recorder=recorder,
        queue=queue,
        task_runs=task_runs,
        incidents=PostgresIncidents(transactions, PostgresIdentities(pools.app)),
        clock=utc_now,
        monotonic=time.monotonic,
        new_id=new_id,
        fault=fault,
        price_of=price_of,
        reservations=reservations_on(pools),
    )
    async with preparer, recorder.running():
        yield GateOnTest(
            gate=gate,
            registry=registry,
            policies=policies,
            workflows=workflows,
            transactions=transactions,
            recorder=recorder,
            queue=queue,
            task_runs=task_runs,
            staging=staging,
        )
