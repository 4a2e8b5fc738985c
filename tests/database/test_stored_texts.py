"""What a citation points at is read as whoever asks may see it; runs whose citations failed are told again the same."""

from uuid import uuid4

import pytest

from agent.events import Citation
from agent.grounding import StoredPart
from agent.json_values import items, mapping, parsed
from agent.personas import load_personas
from agent.replay.service import Replays
from domain.kernel import Principal
from domain.resources import resource_folder
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.stored_texts import PostgresStoredTexts
from tests.support.conversing import EVA, process_on
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import gate_on, principal_of
from tests.support.scripted_gate import ScriptedGate, done
from tests.support.scripted_model import ScriptedModel, asks, call, says

DELETED = "UPDATE knowledge_documents SET deleted_at = now() WHERE document_id = $1"
PARTNER = principal_of(who="partner", mode="person", door="rest")
CLIENT = principal_of(who="client", mode="agent", door="chat")


def cited(document: object, start: int = 0, end: int = 4) -> Citation:
    return Citation(
        marker=1, document_id=str(document), chunk_id="c", title="T", uri="u", start=start, end=end, quote="text"
    )


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms; each of their documents holds the word text."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


async def parts(pools: DatabasePools, principal: Principal, *citations: Citation) -> list[StoredPart | None]:
    async with gate_on(pools) as stands_on:
        return await PostgresStoredTexts(stands_on.transactions).parts(principal, citations)


async def test_a_range_is_what_stands_there_or_nothing(pools: DatabasePools) -> None:
    thing = FIRM_A.id("thing")
    found = await parts(
        pools, EVA, cited(thing), cited(thing, 1, 3), cited(thing, 0, 5), cited(thing, -1, 2), cited(thing, 2, 2)
    )
    assert found == [StoredPart(text=text) for text in ("text", "ex", None, None, None)]
    assert await parts(pools, EVA) == []


async def test_what_is_not_there_deleted_of_another_firm_or_no_id_is_no_document(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await owner_connection.execute(DELETED, FIRM_A.id("thing"))
    gone = (cited(uuid4()), cited(FIRM_A.id("thing")), cited(FIRM_B.id("thing")), cited("no id"))
    assert await parts(pools, EVA, *gone) == [None] * 4


async def test_a_client_is_told_nothing_of_what_it_may_not_see(pools: DatabasePools) -> None:
    mine, others, firms = (cited(FIRM_A.id(name)) for name in ("client_thing", "other_client_thing", "thing"))
    assert await parts(pools, CLIENT, mine, others, firms) == [StoredPart(text="text"), None, None]


async def test_faults_are_told_kept_counted_and_told_again_the_same(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    passages = [
        {"chunk_id": str(place), "document_id": str(document), "title": "T", "text": text, "start": 0, "end": len(text)}
        for place, (document, text) in enumerate([(FIRM_A.id("thing"), "text"), (FIRM_A.id("thing"), "text of old")])
    ]
    search, answer = asks(call("knowledge_search", {"query": "text"})), says("“text” [1], and more [2].")

    def gate(_: object) -> ScriptedGate:
        return ScriptedGate(knowledge_search=done({"mode": "lexical", "items": passages}))

    async with process_on(pools, ScriptedModel(search, answer), gate=gate) as process:
        begun = await process.say("What?")
        frames = await process.frames(begun.run_id)
        await owner_connection.execute(DELETED, FIRM_A.id("thing"))
        replays = Replays(process.sessions, load_personas(resource_folder("manifests")), lambda budget: budget, 200)
        replayed = await replays.replay(EVA, begun.run_id)
        again = await process.runs.answer(EVA, begun.run_id)
        report = await process.stands_on.call("analytics_report", {"report": "knowledge"}, PARTNER)
    (message,) = [mapping(parsed(frame.data)) for frame in frames if frame.type == "message.completed"]
    assert [mapping(each).get("fault") for each in items(message["citations"])] == [None, "no_range"]
    assert [mapping(each).get("fault") for each in again.citations] == [None, "no_range"]
    assert replayed.divergence is None, replayed.divergence
    headline = {mapping(each)["label"]: mapping(each)["value"] for each in items(mapping(report.result)["headline"])}
    assert headline["Citations that failed their check"] == 1
