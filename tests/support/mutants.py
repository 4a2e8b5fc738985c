"""Doors that have lost what this project is about, built from other collaborators: the suites must notice them."""

import importlib.util
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from asyncpg import PostgresError

from agent.conversations.postgres.keeper import PostgresRunKeeper
from agent.orchestrator import Orchestrator
from agent.runs import Runs
from domain.kernel import Level, Principal, Role, new_id
from server.cli import calling
from server.database.conversations import PostgresSessions
from server.database.stored_texts import PostgresStoredTexts
from server.hub import Hub
from server.incidents import PostgresIncidents
from server.ledger import PostgresLedger
from server.worker.approvals import ApprovalWorker
from tools.gate import Gate
from tools.outcomes import Allow, CallOutcome, CallRequest, Json, Verdict
from tools.policy import Policies, Situation
from tools.registry import Invalid
from tools.spending import no_price
from tools.work import CallContext

BuildGate = Callable[[Hub], Gate]


class Careless(Policies):
    """Policies that allow everything: what is left of a door when its policy call is taken out."""

    def __init__(self, intact: Policies) -> None:
        self.rules = intact.rules
        self.digest = intact.digest

    def decide(self, situation: Situation) -> Verdict:
        """The one word they know."""
        return Allow(reasons=("careless",))


class Ungated(Gate):
    """Calls the handler as it stands, without policy and without a record: a door whose gate call was taken out."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        """A read, made by nobody's leave; a write, which the database refuses without a ticket, has failed."""
        tool = self._hub.rules.registry.find(request.tool)
        assert tool is not None
        parsed = tool.parse(request.arguments)
        assert not isinstance(parsed, Invalid)
        ended = CallOutcome(
            call_id=request.call_id, tool=request.tool, outcome="done", verdict=Allow(reasons=("ungated",))
        )
        try:
            return replace(ended, result=await self._read(tool.handler.work, parsed.model, request, principal))
        except PostgresError:
            return replace(ended, outcome="failed")

    async def _read(self, work: Any, arguments: object, request: CallRequest, principal: Principal) -> Json:
        begun = self._hub.transactions.begin(principal, "", {}, None, read_only=True)
        async with begun as transaction:
            context = CallContext(
                principal=principal,
                facts=transaction.facts,
                role=transaction.facts.role or Role.READONLY,
                level=Level.L3,
                work=transaction.work,
                call_id=request.call_id,
                task_run_id=None,
                engagement_id=None,
                conversation_id=None,
                now=self._hub.clock(),
                new_id=new_id,
                prepared=None,
                what_if=_never,
                explain=_never,
                suppose=lambda _level, _effect, _kind=None: Allow(reasons=("ungated",)),
                level_of=_at_most,
                execute_approved=_never,
                reject_waiting=_never,
                cancel_waiting=_never,
                expire_waiting=_never,
                conclude=_never,
            )
            return await work(arguments, context)


async def _at_most(_tool: str | None) -> Level:
    return Level.L3


async def _never(*_: object) -> Any:
    raise AssertionError("a plain read asks for none of this")


def careless(hub: Hub) -> Gate:
    """The gate with policies that allow everything."""
    return gate_with(hub, Careless(hub.rules.policies))


def gate_with(hub: Hub, policies: Policies) -> Gate:
    """The gate with other policies."""
    return Gate(
        registry=hub.rules.registry,
        policies=policies,
        workflows=hub.rules.workflows,
        transactions=hub.transactions,
        recorder=hub.recorder,
        queue=hub.jobs,
        task_runs=hub.task_runs,
        incidents=PostgresIncidents(hub.transactions, hub.identities),
        clock=hub.clock,
        monotonic=time.monotonic,
        new_id=new_id,
        price_of=no_price,
        reservations=hub.reservations,
    )


MUTANTS: dict[str, BuildGate] = {"without its gate": Ungated, "without its policy": careless}


@asynccontextmanager
async def mutated(hub: Hub, build: BuildGate) -> AsyncGenerator[Hub]:
    """The same hub, every door of which calls another gate; also the agent's loop."""
    gate = build(hub)
    orchestrator = Orchestrator(
        model=hub.model,
        gate=gate,
        refuse=gate.refuse,
        ledger=PostgresLedger(hub.transactions, hub.gate.settle, hub.clock),
        stored=PostgresStoredTexts(hub.transactions),
        offers=hub.offers,
        personas=hub.rules.personas,
        clock=hub.clock,
        new_id=new_id,
    )
    runs = Runs(
        orchestrator=orchestrator,
        sessions=PostgresSessions(hub.transactions),
        run_log=hub.recorder,
        keeper=PostgresRunKeeper(hub.pools.service.acquire),
        queue=hub.jobs,
        questions=ApprovalWorker(gate=gate, identities=hub.identities, new_id=new_id),
        clock=hub.clock,
        new_id=new_id,
    )
    async with runs:
        yield replace(hub, gate=gate, runs=runs)


def mutated_command(build: BuildGate) -> Callable[[Sequence[str]], int]:
    """`glow tools call` with another gate: the module behind it, loaded a second time and given a changed hub."""
    spec = importlib.util.spec_from_file_location("mutated_calling", calling.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    open_hub = module.__dict__["acting_hub"]

    @asynccontextmanager
    async def acting_hub() -> AsyncGenerator[Hub]:
        async with open_hub() as hub, mutated(hub, build) as changed:
            yield changed

    module.__dict__["acting_hub"] = acting_hub

    def command(words: Sequence[str]) -> int:
        given = dict(zip(words[3::2], words[4::2], strict=False))
        done = module.call(words[2], words[-1], given["--organization"], given["--user"], dry_run=False, as_json=True)
        return 0 if done else 1

    return command
