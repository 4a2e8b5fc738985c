"""Runs with a call that nobody can find out about: told what a person says of it, and told again byte for byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import timedelta

import orjson
import pytest

from agent.conversations.model import GOING
from agent.model import ModelRequest, ToolResultMessage
from agent.personas import Personas, load_personas
from agent.replay.service import Replays
from domain.kernel import CallId, RunId
from domain.resources import resource_folder
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, Process, process_on
from tests.support.firms import seed_firms
from tests.support.gates import principal_of
from tests.support.outside import TOOL, PostOffice, letter_tool, serving
from tests.support.scripted_model import ScriptedModel, asks, call, says

PARTNER = principal_of(who="partner", mode="person", door="rest")
ASSISTANT = load_personas(resource_folder("manifests")).get("assistant")
PERSONAS = Personas({"assistant": replace(ASSISTANT, tools=(*ASSISTANT.tools, TOOL))})
SEND = call(TOOL, {"to": "Lena"})
CALL = "SELECT call_id FROM activity_events WHERE tool = $1 AND opens ORDER BY occurred_at DESC LIMIT 1"
QUESTION = "SELECT approval_id FROM approvals WHERE call_id = $1"
AGE = "UPDATE call_intents SET begun_at = begun_at - interval '5 minutes'"


@dataclass(slots=True, kw_only=True)
class Site:
    """An office that answers nobody, and the database as its owner and a superuser see it."""

    pools: DatabasePools
    url: str
    owner: Connection
    inspector: Connection

    def process(self, model: ScriptedModel, *, asked: bool) -> AbstractAsyncContextManager[Process]:
        """One whose assistant may send letters; `asked`: a person is asked first."""
        tool = letter_tool(self.url, "irreversible" if asked else "prepare", timedelta(seconds=5))
        return process_on(self.pools, model, more=tool, personas=PERSONAS)

    async def call_id(self) -> CallId:
        return CallId(await self.inspector.fetchval(CALL, TOOL))

    async def conclude(self, process: Process, *, happened: bool) -> None:
        await self.owner.execute(AGE)
        said = {"call_id": str(await self.call_id()), "happened": happened, "statement": "Letter 4711."}
        outcome = await process.stands_on.call("call_conclude", said, PARTNER)
        assert outcome.outcome == "done", outcome


@pytest.fixture
async def site(
    pools: DatabasePools, owner_connection: Connection, superuser_connection: Connection
) -> AsyncIterator[Site]:
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    async with serving(PostOffice(closed=True)) as url:
        yield Site(pools=pools, url=url, owner=owner_connection, inspector=superuser_connection)


async def told_again(process: Process, run_id: RunId) -> bool:
    """Whether the run is told again the same, byte for byte."""
    found = await Replays(process.sessions, PERSONAS, lambda budget: budget, 200).replay(EVA, run_id)
    assert found.divergence is None, found.divergence
    return found.same > 2


def results(request: ModelRequest) -> list[dict[str, object]]:
    return [orjson.loads(each.text) for each in request.messages if isinstance(each, ToolResultMessage)]


@pytest.mark.parametrize("happened", [True, False])
async def test_the_next_turn_is_told_what_a_person_said_of_a_call_of_the_last(site: Site, happened: bool) -> None:
    model = ScriptedModel(asks(SEND), says("I do not know."), says("I cannot tell yet."), says("Now I know."))
    async with site.process(model, asked=False) as process:
        begun = await process.say("Write to Lena.")
        frames = await process.frames(begun.run_id)
        assert "outcome_unknown" in "".join(frame.data for frame in frames)
        await process.frames((await process.say("And?", conversation_id=begun.conversation_id)).run_id)
        await site.conclude(process, happened=happened)
        asked = await process.say("And now?", conversation_id=begun.conversation_id)
        await process.frames(asked.run_id)
        unknown, (known,) = results(model.requests[2]), results(model.requests[3])
        assert [each["outcome"] for each in unknown] == ["failed"]
        assert "outcome_unknown" in str(unknown)
        assert (known["outcome"], known["result"]) == (
            "done" if happened else "failed",
            {"stated": "Letter 4711.", "stated_in": str(await stated_in(site))},
        )
        assert ("stated_not_made" in str(known)) is not happened
        assert await process.frames(begun.run_id) == frames
        assert await told_again(process, begun.run_id)
        assert await told_again(process, asked.run_id)


async def stated_in(site: Site) -> CallId:
    return CallId(await site.inspector.fetchval(CALL, "call_conclude"))


@pytest.mark.parametrize("happened", [True, False])
async def test_a_run_that_waits_for_an_approved_call_goes_on_with_what_a_person_said(
    site: Site, happened: bool
) -> None:
    model = ScriptedModel(asks(SEND), says("Told."))
    async with site.process(model, asked=True) as process:
        begun = await process.say("Write to Lena.")
        await process.frames(begun.run_id)
        approval_id = await site.inspector.fetchval(QUESTION, await site.call_id())
        answer = {"approval_id": str(approval_id), "decision": "approve"}
        assert (await process.stands_on.call("approval_decide", answer, PARTNER)).outcome == "done"
        process.stands_on.queue.jobs.clear()
        await site.conclude(process, happened=happened)
        assert begun.run_id in [job.subject_id for job in process.stands_on.queue.jobs if job.kind == "run"]
        async with asyncio.timeout(60):
            while (await process.runs.find(EVA, begun.run_id)).status in GOING:
                await process.go_on(begun.run_id)
            frames = await process.frames(begun.run_id)
        (told,) = [orjson.loads(frame.data) for frame in frames if frame.type == "tool.completed"]
        assert (told["outcome"], told["result"]["stated"]) == ("done" if happened else "failed", "Letter 4711.")
        (given,) = results(model.requests[1])
        assert (given["outcome"], "stated_not_made" in str(given)) == (told["outcome"], not happened)
        assert frames[-1].type == "run.completed"
        assert await told_again(process, begun.run_id)
