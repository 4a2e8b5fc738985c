"""Runs on a test's own database: the real stores, log, keeper and gate, and a model that says what the test wrote."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agent.budget import CostOf, no_price
from agent.calling import Caller
from agent.conversations.leases import RunKey
from agent.conversations.ports import RunKeeper, RunLog, Sessions, Wakeups
from agent.conversations.postgres.keeper import PostgresRunKeeper
from agent.conversations.service import ConversationService
from agent.events import RunFrame
from agent.model import Model
from agent.orchestrator import Orchestrator
from agent.personas import Personas, load_personas
from agent.run_opening import NewMessage
from agent.run_options import RunOptions
from agent.runs import RunHandle, Runs
from agent.settling import Ledger
from agent.titles import Titles
from domain.kernel import Clock, ConversationId, Principal, RunId, new_id, utc_now
from domain.resources import resource_folder
from server.database.connection import Connection
from server.database.conversations import PostgresSessions
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.stored_texts import PostgresStoredTexts
from server.ledger import PostgresLedger
from server.offers import PolicyOffers
from server.worker.approvals import ApprovalWorker
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.scripted_model import Pace
from tools.gate import Fault, no_fault
from tools.manifest import Manifest
from tools.outcomes import CallOutcome, CallRequest
from tools.policy import Policies
from tools.work import Handler

EVA = principal_of()
"""The first firm's employee, chatting."""
POLL = timedelta(milliseconds=10)
ONE_BEAT = RunOptions(poll=POLL, grace=timedelta(0), heartbeat=timedelta(hours=2), stale_after=timedelta(hours=1))
"""A process whose heart beats once, at its start, and that leaves its runs no grace."""


def itself(gate: Caller) -> Caller:
    """The gate as it is."""
    return gate


class HeldAfter:
    """A gate behind which each call stands still at a pace, done and recorded."""

    def __init__(self, gate: Caller, pace: Pace) -> None:
        self._gate = gate
        self._pace = pace

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        outcome = await self._gate.call(request, principal)
        await self._pace()
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What one server process has of runs; a test that needs two opens two on the same database."""

    runs: Runs
    conversations: ConversationService
    sessions: PostgresSessions
    stands_on: GateOnTest
    expiry: ApprovalWorker

    async def say(
        self,
        message: str,
        principal: Principal = EVA,
        conversation_id: ConversationId | None = None,
        agent: str | None = None,
    ) -> RunHandle:
        """A message to that agent; without one, to whoever the conversation is with."""
        said = NewMessage(message=message, conversation_id=conversation_id, agent=agent)
        return await self.runs.start(principal, said)

    async def go_on(self, run_id: RunId, principal: Principal = EVA) -> bool:
        """Go on with a run of theirs that another process has left."""
        return await self.runs.go_on(RunKey(organization_id=principal.organization_id, run_id=run_id))

    async def frames(self, run_id: RunId, principal: Principal = EVA, after: int = 0) -> list[RunFrame]:
        """A run's frames from `after` to the terminal one."""
        return [frame async for frame in self.runs.follow(principal, run_id, after)]


@asynccontextmanager
async def process_on(
    pools: DatabasePools,
    model: Model,
    *,
    gate: Callable[[Caller], Caller] = itself,
    options: RunOptions = ONE_BEAT,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Clock = utc_now,
    personas: Personas | None = None,
    models: Mapping[str, Model] | None = None,
    wakeups: Wakeups | None = None,
    around: Callable[[Sessions], Sessions] = lambda sessions: sessions,
    titled: bool = False,
    fault: Fault = no_fault,
    ledger_around: Callable[[Ledger], Ledger] = lambda ledger: ledger,
    cost_of: CostOf = no_price,
    log_around: Callable[[RunLog], RunLog] = lambda run_log: run_log,
    keeper_around: Callable[[RunKeeper], RunKeeper] = lambda keeper: keeper,
    policies: Policies | None = None,
    more: tuple[Manifest, Handler[Any]] | None = None,
) -> AsyncGenerator[Process]:
    """A process for the length of the block; `gate` may put something in the real one's place or around it.

    `around`, `log_around`, `keeper_around`: the same for what runs read and write of the database.
    `fault`: happens between the steps of a call. `ledger_around`: as `gate`, for the record of what was made.
    `policies`: in the place of those that ship. `titled`: the model names conversations.
    `cost_of`: what its calls cost. `more`: a tool besides.

    Its heart beats once, at the start; further beats are the test's to make.
    """
    handlers = {} if more is None else {more[0].name: more[1]}
    manifests = [] if more is None else [more[0]]
    async with gate_on(pools, handlers, fault=fault, policies=policies, more=manifests) as stands_on:
        sessions = PostgresSessions(stands_on.transactions)
        expiry = ApprovalWorker(gate=stands_on.gate, identities=PostgresIdentities(pools.app), new_id=new_id)
        orchestrator = Orchestrator(
            model=model,
            models=models,
            gate=gate(stands_on.gate),
            refuse=stands_on.gate.refuse,
            ledger=ledger_around(PostgresLedger(stands_on.transactions, stands_on.gate.settle, clock)),
            stored=PostgresStoredTexts(stands_on.transactions),
            offers=PolicyOffers(
                registry=stands_on.registry, policies=stands_on.policies, transactions=stands_on.transactions
            ),
            personas=personas or load_personas(resource_folder("manifests")),
            clock=clock,
            new_id=new_id,
            cost_of=cost_of,
        )
        runs = Runs(
            orchestrator=orchestrator,
            sessions=around(sessions),
            run_log=log_around(stands_on.recorder),
            keeper=keeper_around(PostgresRunKeeper(pools.service.acquire)),
            queue=stands_on.queue,
            questions=expiry,
            clock=clock,
            new_id=new_id,
            options=options,
            pause=pause,
            wakeups=wakeups,
            titles=Titles(orchestrator, sessions, lambda: titled, new_id, cost_of=cost_of),
        )
        conversations = ConversationService(sessions, clock)
        async with runs:
            yield Process(runs=runs, conversations=conversations, sessions=sessions, stands_on=stands_on, expiry=expiry)


async def orphan(inspector: Connection, run_id: RunId) -> None:
    """As though the run's process had died a while ago."""
    await inspector.execute("UPDATE runs SET heartbeat_at = now() - interval '2 hours' WHERE run_id = $1", run_id)


async def until(kind: str, frames: AsyncGenerator[RunFrame, None]) -> list[RunFrame]:
    """The frames up to the first of that type; then the reader leaves."""
    seen: list[RunFrame] = []
    async with aclosing(frames):
        async for frame in frames:
            seen.append(frame)
            if frame.type == kind:
                break
    return seen
