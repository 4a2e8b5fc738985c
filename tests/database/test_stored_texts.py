"""What a citation points at is read as whoever asks may see it; runs whose citations failed are told again the same."""

from uuid import UUID, uuid4

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
from tests.support.conversing import EVA, orphan, process_on, until
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.scripted_gate import ScriptedGate, done
from tests.support.scripted_model import HoldAt, ScriptedModel, asks, call, says

DELETED = "UPDATE knowledge_documents SET deleted_at = now(), purge_at = now() WHERE document_id = $1"
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
    assert [part and part.text for part in found] == ["text", "ex", None, None, None]
    assert await parts(pools, EVA) == []


async def test_what_is_not_there_deleted_of_another_firm_or_no_id_is_no_document(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await owner_connection.execute(DELETED, FIRM_A.id("thing"))
    gone = (cited(uuid4()), cited(FIRM_A.id("thing")), cited(FIRM_B.id("thing")), cited("no id"))
    assert await parts(pools, EVA, *gone) == [None] * 4


async def test_a_client_is_told_nothing_of_what_it_may_not_see(pools: DatabasePools) -> None:
    mine, others, firms = (cited(FIRM_A.id(name)) for name in ("client_thing", "other_client_thing", "thing"))
    assert [part and part.text for part in await parts(pools, CLIENT, mine, others, firms)] == ["text", None, None]


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


CLAUSES = "# Fleet policy\n\n" + "\n\n".join(
    f"## Clause {n}\n\nThe automobile number {n} is insured for a year, and paid for in the month after. "
    + "So it is. " * 60
    for n in range(9)
)
CHUNK = """
SELECT document_id FROM knowledge_chunks WHERE chunk_id = $1 AND start_offset <= $2 AND $2 < end_offset
"""
QUOTED = "The automobile number 7 is insured for a year"


async def uploaded(gate: GateOnTest, content: bytes) -> str:
    """The document's id, once it is indexed."""
    hand = principal_of(mode="person", door="rest")
    async with gate.staging.holding(hand, content) as digest:
        asked = {"title": "Fleet", "file_name": "fleet.md", "content_sha256": digest, "size_bytes": len(content)}
        outcome = await gate.call("document_upload", asked, hand)
    document_id = str(mapping(mapping(outcome.result)["document"])["document_id"])
    done_by = principal_of(who="service", door="worker")
    assert (await gate.call("document_index", {"document_id": document_id}, done_by)).outcome == "done"
    return document_id


async def test_what_was_read_is_cited_held_to_the_document_and_told_again_the_same_after_a_crash(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel()) as process:
        document_id = await uploaded(process.stands_on, CLAUSES.encode())
    search = asks(call("knowledge_search", {"query": "automobile number 1 insured", "limit": 1}))
    read = asks(call("knowledge_read", {"document_id": document_id}))
    answer = says(f"It is: “{QUOTED}” [2]. And so [1].")
    later = says(f"As I said: “{QUOTED}” [2]. But it says “insured for two years” [2].")
    hold = HoldAt(7)
    async with process_on(pools, ScriptedModel(search, read, says("Half said", " and lost"), pace=hold)) as lost:
        begun = await lost.say("Which are insured?")
        await until("message.delta", lost.runs.follow(EVA, begun.run_id, 0))
        await orphan(superuser_connection, begun.run_id)
        async with process_on(pools, ScriptedModel(answer, later)) as process:
            assert await process.go_on(begun.run_id)
            frames = await process.frames(begun.run_id)
            again = await process.say("Sure?", conversation_id=begun.conversation_id)
            summary = await process.runs.answer(EVA, again.run_id)
            replays = Replays(process.sessions, load_personas(resource_folder("manifests")), lambda budget: budget, 200)
            replayed = [await replays.replay(EVA, run_id) for run_id in (begun.run_id, again.run_id)]

    told = [mapping(parsed(frame.data)) for frame in frames if frame.type == "message.completed"][-1]
    quoted, found = map(mapping, items(told["citations"]))
    start = CLAUSES.index(QUOTED)
    assert (quoted["start"], quoted["end"], quoted["quote"]) == (start, start + len(QUOTED), QUOTED)
    assert (quoted["document_id"], quoted["title"], quoted["section"]) == (
        document_id,
        "Fleet",
        "Fleet policy > Clause 7",
    )
    held_in = await superuser_connection.fetchval(CHUNK, UUID(str(quoted["chunk_id"])), start)
    assert held_in == UUID(document_id)
    assert [quoted.get("fault"), found.get("fault")] == [None, None]
    assert [mapping(each).get("fault") for each in summary.citations] == ["other_words"]
    assert [each.divergence for each in replayed] == [None, None]
