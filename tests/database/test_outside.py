"""Calls whose effect is outside: intended before, settled by asking, and done once whatever stops in between."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast
from uuid import uuid4

import pytest

from domain.idempotency.model import IdempotencyKey
from domain.kernel import CallId, Effect, new_id, utc_now
from server.database.connection import Connection
from server.database.identities import PostgresIdentities
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from server.ledger import PostgresLedger
from server.worker.again import Again
from server.worker.settling import SettleWorker
from tests.support.firms import FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.outside import TOOL, PostOffice, hang, letter_tool, serving
from tools.outcomes import CallOutcome, CutOff, Json
from tools.work import CallContext, Job

HAND = principal_of(mode="person", door="rest")
PARTNER = principal_of(who="partner", mode="person", door="rest")
KEY = IdempotencyKey(route="POST /v1/tools/letter_send/call", key="letter-1")
KINDS = "SELECT kind FROM activity_events WHERE call_id = $1 ORDER BY occurred_at, kind"


@dataclass(slots=True, kw_only=True)
class Desk:
    """A gate with a tool that sends letters at an office."""

    gate: GateOnTest
    office: PostOffice
    inspector: Connection
    settling: SettleWorker

    async def send(self, to: str = "Lena", call_id: CallId | None = None, **more: Any) -> CallOutcome:
        return await self.gate.call(TOOL, {"to": to}, HAND, call_id=call_id, **more)

    async def kinds(self, call_id: CallId) -> list[str]:
        return [row["kind"] for row in await self.inspector.fetch(KINDS, call_id)]

    async def intents(self) -> int:
        return await self.inspector.fetchval(
            "SELECT count(*) FROM call_intents WHERE tool = $1 AND arguments <> '{}'", TOOL
        )


Opened = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
async def desk_of(pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection) -> Opened:
    await seed_firms(owner_connection)

    @asynccontextmanager
    async def opened(
        effect: Effect = "prepare", fault: Any = None, timeout: timedelta = timedelta(seconds=10), work: Any = None
    ) -> AsyncGenerator[Desk]:
        office = PostOffice()
        async with serving(office) as url:
            manifest, handler = letter_tool(url, effect, timeout)
            handler = handler if work is None else replace(handler, work=work)
            given = {} if fault is None else {"fault": fault}
            async with gate_on(pools, {TOOL: handler}, more=[manifest], **given) as gate:
                settling = SettleWorker(gate=gate.gate, identities=PostgresIdentities(pools.app), new_id=new_id)
                yield Desk(gate=gate, office=office, inspector=superuser_connection, settling=settling)

    return opened


async def test_a_call_that_acts_outside_is_intended_before_and_recorded_after(desk_of: Opened) -> None:
    seen: list[tuple[str, int]] = []

    async def look(stage: str) -> None:
        if stage in ("received", "sent"):
            seen.append((stage, await desk.intents()))

    async with desk_of() as desk:
        desk.office.turn = look
        sent = await desk.send()
        assert (sent.outcome, sent.result) == ("done", {"to": "Lena", "number": 1})
        assert seen == [("received", 1), ("sent", 1)]
        assert await desk.intents() == 0
        assert await desk.kinds(sent.call_id) == ["tool.allowed", "tool.completed"]


async def test_what_is_to_be_done_after_a_call_that_acted_outside_is_enqueued_with_its_end(desk_of: Opened) -> None:
    async def follow(letter: Any, context: CallContext) -> Json:
        context.jobs.append(
            Job(kind="document_index", organization_id=HAND.organization_id, subject_id=context.call_id)
        )
        return {"to": letter.to, "number": 1 if letter.to == "Lena" else "none"}

    async with desk_of(work=follow) as desk:
        sent = await desk.send()
        assert sent.outcome == "done"
        assert [(job.kind, job.subject_id) for job in desk.gate.queue.jobs] == [("document_index", sent.call_id)]
        unfit = await desk.send("Ines")
        assert (unfit.outcome, unfit.error and unfit.error.code) == ("failed", "result_invalid")
        assert len(desk.gate.queue.jobs) == 1


async def test_what_the_outside_refuses_has_failed_and_nothing_was_done(desk_of: Opened) -> None:
    async with desk_of() as desk:
        refused = await desk.send("nobody")
        assert (refused.outcome, refused.error and refused.error.code) == ("failed", "nobody_there")
        assert (desk.office.sent, await desk.intents()) == ({}, 0)
        assert await desk.kinds(refused.call_id) == ["tool.allowed", "tool.failed"]


async def test_a_call_that_is_denied_or_only_previewed_never_reaches_the_outside(desk_of: Opened) -> None:
    async with desk_of() as desk:
        assert (await desk.send(dry_run=True)).outcome == "dry_run"
        denied = await desk.gate.call(TOOL, {"to": "Lena"}, principal_of(who="readonly", mode="person", door="rest"))
        assert denied.outcome == "denied"
        assert (desk.office.brought, await desk.intents()) == (0, 0)


async def test_an_outside_that_gives_no_answer_leaves_the_outcome_open_until_it_is_asked(desk_of: Opened) -> None:
    async with desk_of(timeout=timedelta(seconds=0.5)) as desk:
        reached = asyncio.Event()

        async def sent_and_silent(stage: str) -> None:
            if stage == "sent":
                reached.set()
                await asyncio.Event().wait()

        desk.office.turn = sent_and_silent
        unknown = await desk.send()
        assert (unknown.outcome, unknown.error and unknown.error.code) == ("failed", "outcome_unknown")
        assert await desk.kinds(unknown.call_id) == ["tool.allowed"]
        (job,) = desk.gate.queue.jobs
        assert job == Job(kind="call_settle", organization_id=HAND.organization_id, subject_id=unknown.call_id)

        assert await desk.settling.work(job) is None
        assert await desk.kinds(unknown.call_id) == ["tool.allowed", "tool.completed"]
        assert (desk.office.brought, desk.office.asked, len(desk.office.sent)) == (1, 1, 1)
        shown = await desk.gate.call("call_get", {"call_id": str(unknown.call_id)}, HAND)
        assert shown.result is not None
        assert (shown.result["outcome"], shown.result["result"]) == ("done", {"to": "Lena", "number": 1})


async def test_what_never_reached_the_outside_is_done_under_the_same_key(desk_of: Opened) -> None:
    async with desk_of(timeout=timedelta(seconds=0.5)) as desk:
        desk.office.turn = hang
        unknown = await desk.send()
        assert unknown.error is not None
        desk.office.turn = PostOffice().turn
        settled = await desk.gate.gate.settle(HAND, unknown.call_id)
        assert settled is not None
        assert (settled.outcome, settled.result) == ("done", {"to": "Lena", "number": 1})
        assert list(desk.office.sent) == [str(unknown.call_id)]


async def test_a_request_that_comes_again_is_told_what_the_outside_refused(desk_of: Opened) -> None:
    async with desk_of() as desk:
        first, again = [await desk.send("nobody", idempotency=KEY) for _ in range(2)]
        assert (again.outcome, again.error, again.replayed) == ("failed", first.error, True)
        assert desk.office.brought == 1


async def test_a_request_that_comes_again_is_told_how_it_ended_once_that_is_known(desk_of: Opened) -> None:
    async with desk_of() as desk:
        desk.office.closed = True
        unknown = await desk.send(idempotency=KEY)
        early = await desk.send(idempotency=KEY)
        assert (early.outcome, early.error and early.error.code) == ("invalid", "idempotency_in_progress")
        desk.office.closed = False
        assert await desk.settling.work(desk.gate.queue.jobs.pop()) is None
        again = await desk.send(idempotency=KEY)
        assert (again.call_id, again.outcome, again.replayed) == (unknown.call_id, "done", True)
        assert again.result == {"to": "Lena", "number": 1}
        assert len(desk.office.sent) == 1


@pytest.mark.parametrize("reached", [False, True])
async def test_what_is_forbidden_by_now_is_not_done_late_and_what_was_done_is_recorded(
    desk_of: Opened, owner_connection: Connection, reached: bool
) -> None:
    async with desk_of(timeout=timedelta(seconds=0.5)) as desk:

        async def silent(stage: str) -> None:
            if stage == ("sent" if reached else "received"):
                await asyncio.Event().wait()

        desk.office.turn = silent
        unknown = await desk.send()
        desk.office.turn = PostOffice().turn
        await owner_connection.execute("UPDATE memberships SET role = 'READONLY' WHERE user_id = $1", HAND.principal_id)
        await desk.inspector.execute("UPDATE call_intents SET begun_at = begun_at - interval '5 minutes'")
        settled = await desk.gate.gate.settle(HAND, unknown.call_id)
        assert settled is not None
        error = settled.error and settled.error.code
        assert (settled.outcome, error) == (("done", None) if reached else ("failed", "no_longer_allowed"))
        assert (len(desk.office.sent), desk.office.brought, await desk.intents()) == (int(reached), 1, 0)
        assert await desk.kinds(unknown.call_id) == ["tool.allowed", f"tool.{'completed' if reached else 'failed'}"]


async def test_an_outside_that_is_away_is_asked_again_and_nothing_is_guessed(desk_of: Opened) -> None:
    async with desk_of() as desk:
        desk.office.closed = True
        unknown = await desk.send()
        job = desk.gate.queue.jobs.pop()
        assert await desk.settling.work(job) == Again()
        assert await desk.kinds(unknown.call_id) == ["tool.allowed"]
        desk.office.closed = False
        assert await desk.settling.work(job) is None
        assert await desk.kinds(unknown.call_id) == ["tool.allowed", "tool.completed"]


@pytest.mark.parametrize("stage", ["intended", "acted"])
async def test_a_caller_that_gives_up_in_the_midst_leaves_an_intent_that_the_sweep_finds(
    desk_of: Opened, pools: DatabasePools, stage: str
) -> None:
    reached = asyncio.Event()

    async def fault(at: str) -> None:
        if at == stage and not reached.is_set():
            reached.set()
            await asyncio.Event().wait()

    async with desk_of(fault=fault) as desk:
        call_id = CallId(uuid4())
        sending = asyncio.create_task(desk.send(call_id=call_id))
        async with asyncio.timeout(20):
            await reached.wait()
        sending.cancel()
        with pytest.raises(CutOff) as cut:
            await sending
        assert cut.value.ended.error is not None
        assert cut.value.ended.error.code == "outcome_unknown"
        jobs = PostgresJobs(pools.service)
        expected = Job(kind="call_settle", organization_id=HAND.organization_id, subject_id=call_id)
        assert expected not in await jobs.sweep(timedelta(0))
        await desk.inspector.execute("UPDATE call_intents SET begun_at = begun_at - interval '5 minutes'")
        assert expected in await jobs.sweep(timedelta(0))
        assert await desk.settling.work(expected) is None
        assert (len(desk.office.sent), await desk.intents()) == (1, 0)
        assert await desk.kinds(call_id) == ["tool.allowed", "tool.completed"]


async def test_of_several_that_settle_a_call_at_once_one_says_how_it_ended(desk_of: Opened) -> None:
    async with desk_of(timeout=timedelta(seconds=0.5)) as desk:
        desk.office.turn = hang
        unknown = await desk.send()
        desk.office.turn = PostOffice().turn
        settled = await asyncio.gather(*(desk.gate.gate.settle(HAND, unknown.call_id) for _ in range(4)))
        assert {each.outcome for each in settled if each is not None} == {"done"}
        assert await desk.kinds(unknown.call_id) == ["tool.allowed", "tool.completed"]
        assert len(desk.office.sent) == 1
        assert await desk.gate.gate.settle(HAND, unknown.call_id) is None


async def test_nobody_settles_another_organizations_call(desk_of: Opened) -> None:
    async with desk_of() as desk:
        desk.office.closed = True
        unknown = await desk.send()
        for stranger in (principal_of(FIRM_B), principal_of(FIRM_B, "service"), principal_of(who="client")):
            assert await desk.gate.gate.settle(stranger, unknown.call_id) is None
        assert desk.office.asked == 0


async def test_an_approved_call_acts_once_the_approval_is_committed_and_the_approval_says_what_came_of_it(
    desk_of: Opened,
) -> None:
    async with desk_of("irreversible") as desk:
        waiting = await desk.send()
        assert waiting.approval is not None
        answer = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
        decided = await desk.gate.call("approval_decide", answer, PARTNER)
        assert decided.result is not None
        item, call = cast(Json, decided.result["approval"]), cast(Json, decided.result["call"])
        assert (item["state"], call["outcome"], desk.office.brought) == ("executing", "waiting", 0)
        (job,) = desk.gate.queue.jobs
        assert await desk.settling.work(job) is None
        assert await desk.kinds(waiting.call_id) == ["tool.waiting", "tool.allowed", "tool.completed"]
        shown = await desk.gate.call("call_get", {"call_id": str(waiting.call_id)}, HAND)
        assert shown.result is not None
        assert (shown.result["outcome"], cast(Json, shown.result["approval"])["state"]) == ("done", "executed")
        assert len(desk.office.sent) == 1
        again = await desk.gate.call("approval_decide", answer, PARTNER)
        assert again.error is not None
        assert again.error.code == "already_decided"


async def test_an_approval_whose_call_was_settled_by_somebody_else_is_finished_by_the_sweep(
    desk_of: Opened, pools: DatabasePools
) -> None:
    async with desk_of("irreversible") as desk:
        waiting = await desk.send("nobody")
        assert waiting.approval is not None
        answer = {"approval_id": str(waiting.approval.approval_id), "decision": "approve"}
        await desk.gate.call("approval_decide", answer, PARTNER)
        settled = await desk.gate.gate.settle(HAND, waiting.call_id)
        assert settled is not None
        assert settled.outcome == "failed"
        (job,) = [
            job
            for job in await PostgresJobs(pools.service).sweep(timedelta(0))
            if job.kind == "call_settle" and job.subject_id == waiting.call_id
        ]
        assert await desk.settling.work(job) is None
        shown = await desk.gate.call("call_get", {"call_id": str(waiting.call_id)}, HAND)
        assert shown.result is not None
        assert cast(Json, shown.result["approval"])["state"] == "failed"


async def test_who_takes_a_run_over_asks_the_outside_what_became_of_its_call_and_does_not_repeat_it(
    desk_of: Opened,
) -> None:
    async with desk_of(timeout=timedelta(seconds=0.5)) as desk:

        async def sent_and_silent(stage: str) -> None:
            if stage == "sent":
                await asyncio.Event().wait()

        desk.office.turn = sent_and_silent
        left = await desk.send()
        ledger = PostgresLedger(desk.gate.transactions, desk.gate.gate.settle, utc_now)
        made = await ledger.made(left.call_id, HAND)
        assert made is not None
        assert (made.outcome, made.result) == ("done", {"to": "Lena", "number": 1})
        assert (desk.office.brought, len(desk.office.sent)) == (1, 1)
        assert await ledger.made(CallId(uuid4()), HAND) is None


async def test_where_the_outside_cannot_be_asked_a_run_is_told_that_nobody_knows(desk_of: Opened) -> None:
    async with desk_of(timeout=timedelta(seconds=0.5)) as desk:
        desk.office.turn = hang
        left = await desk.send()
        desk.office.closed = True
        made = await PostgresLedger(desk.gate.transactions, desk.gate.gate.settle, utc_now).made(left.call_id, HAND)
        assert made is not None
        assert (made.outcome, made.error and made.error.code) == ("failed", "outcome_unknown")
        assert desk.office.sent == {}
