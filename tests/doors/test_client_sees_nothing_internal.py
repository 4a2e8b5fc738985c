"""A client finds nothing of the firm's internal documents by any query, filter, citation, id, count or error.

Each probe is made twice, at each door: once with a word or an id of internal documents, once with one of nothing that
ever was. But for that word or id both answers must be the same, so that there is nothing to be learned from them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from domain.resources import resource_folder
from server.demo.firm import load_firm
from server.hub import HubOptions
from tests.support.database import Database
from tests.support.doors import Doors, in_a_task, opened_doors
from tests.support.fake_embeddings import FakeEmbedder
from tests.support.mcp_wire import modern, modern_headers
from tests.support.office import packed

Json = dict[str, Any]

SECRET, NEVER = "brelvandine", "thoskavdine"
"""A word that internal documents are full of, and one that stands nowhere; alike in length and ending."""
ACME = next(each for each in load_firm(resource_folder("demo")).organizations if each.slug == "acme-audit")
OWN_ENGAGEMENT = str(ACME.id("engagement", "ostrivane-audit-2026"))
OTHER_ENGAGEMENT = str(ACME.id("engagement", "maribeck-vat-2026"))
VISIBLE = "The request list names the papers that the client hands in: ledgers, contracts, bank letters."
INTERNAL = (
    f"# {SECRET} matters\n\nThe {SECRET} reserve is doubtful. Papers, ledgers, contracts of {SECRET} are suspect.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A firm with papers for itself and for clients, and the ids of everything that its client may not know of."""

    doors: Doors
    client: httpx.AsyncClient
    mcp: httpx.AsyncClient
    mcp_token: str
    own: str
    """The one document that the client may see."""
    internal: Sequence[str]
    """Documents: of the whole firm, of the client's engagement, of another client, an archive and what lay in it."""
    chunk: str
    call: str
    """A search that an employee made, whose result holds internal passages."""
    run: str
    conversation: str


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with in_a_task(opened_doors(database, HubOptions(embedder=FakeEmbedder()))) as doors:
        yield await _peopled(doors)


async def _peopled(doors: Doors) -> World:
    manager, client = await doors.client("manager@acme"), await doors.client("client@acme")
    shown = {"audience": "client", "engagement_id": OWN_ENGAGEMENT}
    own = await _stored(manager, "request-list.md", VISIBLE.encode(), **shown)
    of_firm = await _stored(manager, f"{SECRET}.md", INTERNAL.encode(), uri=f"policies/{SECRET}.md")
    of_engagement = await _stored(manager, "workpaper.md", INTERNAL.encode(), engagement_id=OWN_ENGAGEMENT)
    of_another = await _stored(
        manager, "their-list.md", INTERNAL.encode(), audience="client", engagement_id=OTHER_ENGAGEMENT
    )
    archive = await _stored(manager, "archive.zip", packed({f"{SECRET}.txt": INTERNAL.encode()}))
    inside = (await manager.get("/v1/knowledge/documents", params={"parent_id": archive})).json()["items"]
    searched = await manager.post("/v1/knowledge/search", json={"query": SECRET})
    asked = (await manager.post("/v1/chat", json={"message": f"What is said of the {SECRET} reserve?"})).json()
    assert searched.json()["items"], "who may see them finds them"
    assert asked["citations"]
    return World(
        doors=doors,
        client=client,
        mcp=await doors.client("client@acme", "mcp"),
        mcp_token=await doors.token("client@acme", "mcp"),
        own=own,
        internal=[of_firm, of_engagement, of_another, archive, *(each["document_id"] for each in inside)],
        chunk=searched.json()["items"][0]["chunk_id"],
        call=searched.headers["x-call-id"],
        run=asked["run_id"],
        conversation=asked["conversation_id"],
    )


async def _stored(who: httpx.AsyncClient, name: str, content: bytes, **fields: str) -> str:
    answer = await who.post(
        "/v1/knowledge/documents", params={"wait": "true"}, data=fields, files={"file": (name, content)}
    )
    assert answer.status_code == 201, answer.text
    (document,) = answer.json()["items"]
    assert document["status"] == "ready", document
    return str(document["document_id"])


# Telling two answers apart ------------------------------------------------------------------------------------------

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)")
_VARIES = {"x-request-id", "traceparent", "tracestate", "date", "x-call-id", "location", "content-length"}


def said(answer: httpx.Response, *given: str) -> Json:
    """An answer without what is new in each, and with one name for the word or id that was asked about."""
    text = answer.text.replace('\\"', '"')  # over MCP the result stands once more, as text
    for word in (SECRET, NEVER, *given):
        text = text.replace(word, "ASKED")
    text = re.sub(r'"(duration_ms|latency_ms)":\s*[\d.]+', r'"\1":0', _TIME.sub("TIME", _UUID.sub("ID", text)))
    # How near the question lies to the client's own passage is the question's doing.
    similarities = r'"(similarity|score)":-?[\d.e-]+' if '"mode":"vector"' in text else r'"(similarity)":-?[\d.e-]+'
    text = re.sub(similarities, r'"\1":0', text)
    headers = {name: value for name, value in answer.headers.items() if name not in _VARIES}
    return {"status": answer.status_code, "text": text, "headers": headers}


def holds_nothing_internal(world: World, answer: httpx.Response, *given: str) -> None:
    text = answer.text
    for word in given:
        text = text.replace(word, "")
    assert "reserve is doubtful" not in text
    for hidden in (*world.internal, world.chunk):
        assert hidden not in text, text


async def search(world: World, **arguments: object) -> httpx.Response:
    return await world.client.post("/v1/knowledge/search", json=arguments)


# Queries and filters ------------------------------------------------------------------------------------------------

QUERIES: Mapping[str, Json] = {
    "a word": {"query": "WORD"},
    "a word among others": {"query": "papers of WORD and ledgers"},
    "a phrase": {"query": '"WORD reserve"'},
    "a phrase and a word": {"query": 'papers "WORD matters"'},
    "by meaning": {"query": "WORD", "mode": "vector"},
    "by words": {"query": "WORD", "mode": "lexical"},
    "everything there is": {"query": "WORD papers", "limit": 100},
    "with its reasons": {"query": "papers WORD", "explain": True, "limit": 100},
    "a title": {"query": "papers", "filters": {"title": "WORD"}},
    "a kind": {"query": "WORD type:md"},
    "a time": {"query": "WORD after:2020"},
    "another client's engagement": {"query": "papers WORD", "filters": {"engagement_id": OTHER_ENGAGEMENT}},
    "an engagement by name": {"query": "papers engagement:WORD"},
    "another client's engagement by name": {"query": "WORD engagement:Maribeck"},
    "a filter that makes no sense": {"query": "WORD type:WORD"},
    "wildcards": {"query": "WORD* %WORD% .*WORD"},
    "a part of it": {"query": "WORD"[:3] + " WOR"},
}


@pytest.mark.parametrize("name", QUERIES)
async def test_a_question_for_what_is_internal_is_answered_as_one_for_what_never_was(world: World, name: str) -> None:
    for door in ("rest", "tool", "mcp"):
        answers: list[Json] = []
        for word in (SECRET, NEVER):
            arguments = json.loads(json.dumps(QUERIES[name]).replace("WORD", word))
            answer = await _called(world, door, "knowledge_search", arguments)
            holds_nothing_internal(world, answer)
            answers.append(said(answer))
        assert answers[0] == answers[1], door


async def _called(world: World, door: str, tool: str, arguments: Json) -> httpx.Response:
    if door == "rest":
        return await world.client.post("/v1/knowledge/search", json=arguments)
    if door == "tool":
        return await world.client.post(f"/v1/tools/{tool}/call", json={"arguments": arguments})
    body = modern("tools/call", {"name": tool, "arguments": arguments})
    return await world.mcp.post("/mcp", json=body, headers=modern_headers(world.mcp_token, "tools/call", tool))


async def test_an_engagement_that_is_anothers_is_as_unknown_as_none(world: World) -> None:
    answers = [
        said(await search(world, query=f"papers engagement:{engagement}"), engagement)
        for engagement in (OTHER_ENGAGEMENT, str(uuid4()), "Maribeck")
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["status"] == 422


async def test_statistics_are_of_what_the_client_may_see_alone(world: World) -> None:
    """How rare a word is, how long and how many passages are: more internal papers change no figure of a score."""
    questions: list[Json] = [
        {"query": "papers ledgers contracts", "explain": True, "limit": 100, "mode": mode}
        for mode in ("lexical", "hybrid", "vector")
    ]
    before = [(await search(world, **question)).json() for question in questions]
    manager = await world.doors.client("manager@acme")
    for number in range(12):
        await _stored(manager, f"more-{number}.md", f"{INTERNAL}\n\npapers ledgers {number} contracts papers".encode())
    after = [(await search(world, **question)).json() for question in questions]
    assert before[0]["items"][0]["explain"]["terms"][0]["weight"] > 0
    assert after == before


# Ids ----------------------------------------------------------------------------------------------------------------


async def test_an_internal_document_is_as_unknown_as_one_that_never_was(world: World) -> None:
    paths = ("/v1/knowledge/documents/ID", "/v1/knowledge/documents/ID/content", "/v1/knowledge/documents/ID/events")
    for hidden in world.internal:
        unknown = str(uuid4())
        for path in paths:
            answers = [await world.client.get(path.replace("ID", each)) for each in (hidden, unknown)]
            assert said(answers[0], hidden) == said(answers[1], unknown)
            assert answers[0].status_code == 404
        for act in ("link", "restore"):
            told = [await world.client.post(f"/v1/knowledge/documents/{each}/{act}") for each in (hidden, unknown)]
            assert said(told[0], hidden) == said(told[1], unknown), act
        trusted = [
            await world.client.put(f"/v1/knowledge/documents/{each}/trust", json={"trust": "internal"})
            for each in (hidden, unknown)
        ]
        assert said(trusted[0], hidden) == said(trusted[1], unknown)
        deleted = [await world.client.delete(f"/v1/knowledge/documents/{each}") for each in (hidden, unknown)]
        assert said(deleted[0], hidden) == said(deleted[1], unknown)
        inside = [await world.client.get(f"/v1/knowledge/documents?parent_id={each}") for each in (hidden, unknown)]
        assert said(inside[0], hidden) == said(inside[1], unknown)
        for arguments in ({"query": "papers", "filters": {"document_id": "ID"}}, {"query": "papers engagement:ID"}):
            asked = [json.loads(json.dumps(arguments).replace("ID", each)) for each in (hidden, unknown)]
            found = [await search(world, **each) for each in asked]
            assert said(found[0], hidden) == said(found[1], unknown)


CALLS: Mapping[str, Json] = {
    "knowledge_read": {"document_id": "ID"},
    "knowledge_read_page": {"document_id": "ID", "page": 1},
    "knowledge_read_range": {"document_id": "ID", "start": 0, "end": 10},
    "document_list": {"parent_id": "ID"},
    "document_content": {"document_id": "ID"},
    "document_delete": {"document_id": "ID"},
    "document_index": {"document_id": "ID"},
    "document_embed": {"document_id": "ID"},
    "document_extract": {"document_id": "ID"},
    "document_analyse": {"document_id": "ID"},
    "document_link": {"document_id": "ID"},
    "document_restore": {"document_id": "ID"},
    "document_trust_set": {"document_id": "ID", "trust": "internal"},
    "document_purge": {"document_id": "ID"},
    "figure_list": {"document_id": "ID"},
}


@pytest.mark.parametrize("door", ["tool", "mcp"])
async def test_no_tool_tells_an_internal_id_from_none(world: World, door: str) -> None:
    for name, arguments in CALLS.items():
        tool = next(each for each in ("knowledge_read", name) if name.startswith(each))
        for hidden in (*world.internal, world.chunk):
            unknown = str(uuid4())
            answers = [
                await _called(world, door, tool, json.loads(json.dumps(arguments).replace("ID", each)))
                for each in (hidden, unknown)
            ]
            assert said(answers[0], hidden) == said(answers[1], unknown), name
            holds_nothing_internal(world, answers[0], hidden)


async def test_calls_runs_and_conversations_of_others_are_as_unknown_as_none(world: World) -> None:
    for hidden, paths in (
        (world.call, ("/v1/activity/ID", "/v1/activity/ID/proof")),
        (world.run, ("/v1/runs/ID", "/v1/runs/ID/events")),
        (world.conversation, ("/v1/conversations/ID", "/v1/conversations/ID/messages")),
    ):
        unknown = str(uuid4())
        for path in paths:
            answers = [await world.client.get(path.replace("ID", each)) for each in (hidden, unknown)]
            assert said(answers[0], hidden) == said(answers[1], unknown), path
            holds_nothing_internal(world, answers[0], hidden)
    for door in ("tool", "mcp"):
        unknown = str(uuid4())
        told = [await _called(world, door, "call_get", {"call_id": each}) for each in (world.call, unknown)]
        assert said(told[0], world.call) == said(told[1], unknown)


# Neighbours, citations and answers ----------------------------------------------------------------------------------


async def test_neighbours_and_twins_of_what_a_client_sees_bring_nothing_internal_along(world: World) -> None:
    """The same words in an internal paper are folded into none of the client's passages, nor joined to one."""
    manager = await world.doors.client("manager@acme")
    twin = await _stored(manager, "twin.md", VISIBLE.encode())
    (item,) = (await search(world, query="request list papers ledgers contracts", limit=100)).json()["items"]
    assert (item["document_id"], "also_in" in item) == (world.own, False)
    whole = await search(world, query="request list papers ledgers contracts", limit=100)
    assert twin not in whole.text


async def test_an_answer_in_chat_cites_and_says_nothing_internal(world: World) -> None:
    answers: list[Json] = []
    for word in (SECRET, NEVER):
        answer = await world.client.post("/v1/chat", json={"message": f"What is said of the {word} reserve?"})
        told = answer.json()
        assert told["status"] == "completed"
        assert {each["document_id"] for each in told["citations"]} <= {world.own}
        holds_nothing_internal(world, answer)
        events = await world.client.get(f"/v1/runs/{told['run_id']}/events")
        holds_nothing_internal(world, events)
        usage = (await world.client.get(f"/v1/runs/{told['run_id']}")).json()["usage"]
        answers.append({"answer": said(answer), "events": said(events), "usage": usage})
    assert answers[0] == answers[1]


async def test_reading_an_internal_document_in_chat_is_answered_as_for_none(world: World) -> None:
    answers: list[Json] = []
    for each in (world.internal[0], str(uuid4())):
        answer = await world.client.post("/v1/chat", json={"message": f"Read document {each}"})
        holds_nothing_internal(world, answer, each)
        answers.append(said(answer, each))
    assert answers[0] == answers[1]


# Counts, lists and reports ------------------------------------------------------------------------------------------

LISTS = (
    "/v1/knowledge/documents?limit=100",
    "/v1/knowledge/documents?status=ready",
    "/v1/knowledge/deleted-documents",
    f"/v1/knowledge/documents?engagement_id={OTHER_ENGAGEMENT}",
    f"/v1/knowledge/documents?engagement_id={OWN_ENGAGEMENT}",
    "/v1/activity?limit=100",
    "/v1/activity/export",
    "/v1/tasks?limit=100",
    "/v1/approvals",
    "/v1/conversations",
    "/v1/feedback",
    "/v1/budgets",
    "/v1/me",
    "/v1/autonomy/status",
    *(f"/v1/analytics/{report}" for report in ("tool_use", "activity", "tasks", "approvals", "knowledge", "cost")),
)


async def test_no_list_count_or_report_changes_with_what_is_internal(world: World) -> None:
    before = {path: said(await world.client.get(path)) for path in LISTS}
    documents = (await world.client.get(LISTS[0])).json()
    assert [each["document_id"] for each in documents["items"]] == [world.own]
    manager = await world.doors.client("manager@acme")
    for number in range(3):
        await _stored(manager, f"{SECRET}-{number}.md", f"{INTERNAL} {number}".encode(), engagement_id=OWN_ENGAGEMENT)
        await manager.post("/v1/knowledge/search", json={"query": SECRET})
    assert (await manager.delete(f"/v1/knowledge/documents/{world.internal[0]}")).status_code == 204
    own_calls = "/v1/activity?limit=100"
    for path in LISTS:
        answer = await world.client.get(path)
        holds_nothing_internal(world, answer)
        assert SECRET not in answer.text
        if path != own_calls:  # the client's own calls, those of this test among them
            assert said(answer) == before[path], path


async def test_evaluations_are_closed_to_a_client(world: World) -> None:
    recorded = await world.client.post("/v1/tools/evaluation_record/call", json={"arguments": {}})
    assert recorded.status_code in {403, 422}
    assert SECRET not in recorded.text


# What a client hands in ---------------------------------------------------------------------------------------------


async def test_handing_in_what_the_firm_has_tells_nothing_of_it(world: World) -> None:
    """By its content, its name, and both: taken in as though there were nothing like it, and nothing is replaced."""
    fields = {"audience": "client", "engagement_id": OWN_ENGAGEMENT}
    answers: list[Json] = []
    for word in (SECRET, NEVER):
        answer = await world.client.post(
            "/v1/knowledge/documents",
            data={**fields, "uri": f"policies/{word}.md"},
            files={"file": (f"{word}.md", INTERNAL.replace(SECRET, word).encode())},
        )
        assert answer.status_code == 202, answer.text
        document = answer.json()["items"][0]
        assert "unchanged" not in document
        digest = document.pop("content_sha256")
        answers.append({**said(answer, digest)})
    assert answers[0] == answers[1]
    manager = await world.doors.client("manager@acme")
    kept = (await manager.get(f"/v1/knowledge/documents/{world.internal[0]}")).json()
    assert (kept["version"], "replaced_by" in kept) == (1, False)
