"""Documents of another analysis are analysed again in the background, and found all the while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest

from knowledge.languages import Language
from knowledge.model import SearchQuery
from knowledge.reanalysis import StoredPassages, analysed
from knowledge.terms import ANALYSIS_VERSION
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.queue import PostgresJobs
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import GateOnTest, gate_on, principal_of
from tests.support.knowledge import founded
from tools.outcomes import Json

HAND = principal_of(mode="person", door="rest")
AGENT = principal_of()
HUB = principal_of(who="service", door="worker")
LEASES = b"# Leases\n\nThe leases are renewed by the partner and filed under EL-4.2."
VERTRAG = "# Verträge\n\nDie Verträge sind von der Firma zu prüfen und werden dem Kunden gesandt.".encode()

STATE = "SELECT language, analysis_version, term_count, version FROM knowledge_documents WHERE document_id = $1"
POSTINGS = """
SELECT t.term, p.frequency, c.length FROM knowledge_postings p
JOIN knowledge_terms t USING (organization_id, term_id) JOIN knowledge_chunks c USING (organization_id, chunk_id)
WHERE c.document_id = $1 ORDER BY t.term
"""
# As an analysis before there were versions left it.
MAKE_OLD = """
WITH old AS (
    INSERT INTO knowledge_terms (organization_id, term) VALUES ($2, 'leas'), ($2, 'renew'), ($2, 'el-4.2')
    ON CONFLICT (organization_id, term) DO UPDATE SET term = excluded.term RETURNING term_id
), gone AS (
    DELETE FROM knowledge_postings p USING knowledge_chunks c
    WHERE c.document_id = $1 AND c.organization_id = p.organization_id AND c.chunk_id = p.chunk_id
      AND p.term_id NOT IN (SELECT term_id FROM old)
)
INSERT INTO knowledge_postings (organization_id, term_id, chunk_id, frequency, length, audience, trust)
SELECT $2, o.term_id, c.chunk_id, 1, 3, c.audience, c.trust FROM old o, knowledge_chunks c WHERE c.document_id = $1
ON CONFLICT DO NOTHING
"""
FORGET = "UPDATE knowledge_documents SET analysis_version = 0, language = NULL, term_count = 3 WHERE document_id = $1"


@pytest.fixture
async def gate(pools: DatabasePools, owner_connection: Connection) -> AsyncIterator[GateOnTest]:
    await seed_firms(owner_connection)
    async with gate_on(pools) as opened:
        yield opened


async def indexed(gate: GateOnTest, content: bytes, **said: str) -> str:
    async with gate.staging.holding(HAND, content) as digest:
        asked: Json = {"title": "P", "file_name": "a.md", "content_sha256": digest, "size_bytes": len(content), **said}
        outcome = await gate.call("document_upload", asked, HAND)
    document_id = str(cast(Json, cast(Json, outcome.result)["document"])["document_id"])
    assert (await gate.call("document_index", {"document_id": document_id}, HUB)).outcome == "done"
    return document_id


async def found(gate: GateOnTest, query: str) -> int:
    outcome = await gate.call("knowledge_search", {"query": query}, AGENT)
    assert outcome.outcome == "done", outcome
    return len(cast("list[Json]", cast(Json, outcome.result)["items"]))


async def test_a_document_is_found_before_and_after_it_is_analysed_again(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    document_id = await indexed(gate, LEASES)
    today = await superuser_connection.fetch(POSTINGS, UUID(document_id))
    state = await superuser_connection.fetchrow(STATE, UUID(document_id))
    assert state is not None
    assert (state["language"], state["analysis_version"]) == ("en", ANALYSIS_VERSION)
    await owner_connection.execute(MAKE_OLD, UUID(document_id), FIRM_A.organization_id)
    await owner_connection.execute(FORGET, UUID(document_id))
    assert [await found(gate, query) for query in ("leasing", "EL-4.2", "partner")] == [1, 1, 0]

    outcome = await gate.call("document_analyse", {"document_id": document_id}, HUB)
    assert outcome.outcome == "done", outcome
    assert [await found(gate, query) for query in ("leasing", "EL-4.2", "partner")] == [1, 1, 1]
    assert await superuser_connection.fetch(POSTINGS, UUID(document_id)) == today
    assert await superuser_connection.fetchrow(STATE, UUID(document_id)) == state


async def test_a_document_of_which_something_is_noted_is_analysed_like_any_other(
    gate: GateOnTest, owner_connection: Connection
) -> None:
    document_id = await indexed(gate, LEASES)
    await owner_connection.execute(
        "UPDATE knowledge_documents SET note = 'Page 2 is a scan.' WHERE document_id = $1", UUID(document_id)
    )
    assert (await gate.call("document_analyse", {"document_id": document_id}, HUB)).outcome == "done"


async def test_the_sweep_finds_what_another_analysis_indexed_once(
    gate: GateOnTest, pools: DatabasePools, owner_connection: Connection
) -> None:
    old, new = await indexed(gate, LEASES), await indexed(gate, VERTRAG)
    await owner_connection.execute(
        "UPDATE knowledge_documents SET analysis_version = 1 WHERE document_id = $1", UUID(old)
    )
    jobs = PostgresJobs(pools.service)
    swept = await jobs.sweep(timedelta(0), analysis_version=ANALYSIS_VERSION)
    ids = [str(job.subject_id) for job in swept if job.kind == "document_analyse"]
    assert old in ids
    assert new not in ids
    again = await jobs.sweep(timedelta(0), analysis_version=ANALYSIS_VERSION)
    assert old not in [str(job.subject_id) for job in again]


async def test_terms_of_passages_that_are_gone_by_now_change_nothing(
    gate: GateOnTest, pools: DatabasePools, app_connection: Connection, owner_connection: Connection
) -> None:
    firm = await founded(owner_connection, "cedar")
    document = await firm.add(app_connection, "The leases are renewed.")
    async with firm.acting(app_connection) as knowledge:
        reckoned = analysed(await knowledge.passages(document.document_id))
    other = analysed(StoredPassages(title="P", language=None, passages=()))
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.reanalyse(document.document_id, other)
    async with firm.acting(app_connection) as knowledge:
        assert len((await knowledge.search(SearchQuery(text="leasing"))).items) == 1
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.reanalyse(document.document_id, reckoned)
    async with firm.acting(app_connection) as knowledge:
        assert len((await knowledge.search(SearchQuery(text="leasing"))).items) == 1


async def test_nobody_has_another_organizations_document_analysed(gate: GateOnTest) -> None:
    document_id = await indexed(gate, LEASES)
    stranger = principal_of(FIRM_B, who="service", door="worker")
    outcome = await gate.call("document_analyse", {"document_id": document_id}, stranger)
    assert outcome.outcome == "invalid"
    assert outcome.error is not None
    assert outcome.error.code == "document_not_found"


@pytest.mark.parametrize(
    ("content", "language", "queries"),
    [(LEASES, "en", ["lease", "Renewal leasing"]), (VERTRAG, "de", ["Vertrag", "VERTRAEGE", "Prüfung der Verträge"])],
)
async def test_a_document_is_found_by_other_forms_of_its_words_in_its_own_language(
    gate: GateOnTest, superuser_connection: Connection, content: bytes, language: Language, queries: list[str]
) -> None:
    document_id = await indexed(gate, content)
    state = await superuser_connection.fetchrow(STATE, UUID(document_id))
    assert state is not None
    assert state["language"] == language
    for query in queries:
        assert await found(gate, query) == 1
    assert await found(gate, "Rechnung") == 0


async def test_a_language_that_is_said_holds_whatever_the_words_tell(
    gate: GateOnTest, owner_connection: Connection, superuser_connection: Connection
) -> None:
    document_id = await indexed(gate, "Verträge, Rechnungen".encode(), language="de")
    state = await superuser_connection.fetchrow(STATE, UUID(document_id))
    assert state is not None
    assert state["language"] == "de"
    assert await found(gate, "Rechnung") == 1
    await owner_connection.execute(FORGET, UUID(document_id))
    assert (await gate.call("document_analyse", {"document_id": document_id}, HUB)).outcome == "done"
    assert (await superuser_connection.fetchrow(STATE, UUID(document_id))) == state
