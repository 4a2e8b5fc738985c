"""Search is exact BM25 over what the principal may see, and its scores say nothing of what it may not."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from domain.kernel import Role
from domain.paging import InvalidLimit
from knowledge.model import DocumentId, Passage, SearchFilters, SearchQuery
from knowledge.postgres import SEARCH, search_values
from knowledge.prepare import passage_terms
from knowledge.searching import NoEmbeddings
from knowledge.terms import detected_language, query_terms
from server.database.connection import Connection
from tests.support.knowledge import Firm, founded

VOCABULARY = ["letter", "renewal", "partner", "audit", "EL-4.2", "IFRS 16.22(b)", "tax", "sign", "year-end", "client"]


def brute_force(query: str, passages: Sequence[str], title: str = "T") -> list[float]:
    """BM25 of weighted fields as the textbook writes it, over all passages, zero where nothing matches."""
    frequencies = [Counter(passage_terms(title, None, passage, detected_language(passage))) for passage in passages]
    lengths = [sum(counted.values()) for counted in frequencies]
    mean_length = sum(lengths) / len(lengths)
    scores = [0.0] * len(passages)
    for term in query_terms(query):
        found = [sum(counted[form] for form in term.variants) for counted in frequencies]
        matching = sum(frequency > 0 for frequency in found)
        idf = math.log(1 + (len(passages) - matching + 0.5) / (matching + 0.5))
        for index, frequency in enumerate(found):
            length = 1.2 * (1 - 0.75 + 0.75 * lengths[index] / mean_length)
            scores[index] += term.asked * idf * frequency * (1.2 + 1) / (frequency + length)
    return scores


async def search(
    connection: Connection, firm: Firm, query: SearchQuery, role: Role = Role.EMPLOYEE
) -> tuple[Passage, ...]:
    async with firm.acting(connection, role) as knowledge:
        return (await knowledge.search(query)).items


def sentences(source: random.Random) -> str:
    return " ".join(source.choices(VOCABULARY, weights=range(1, 11), k=source.randint(1, 40)))


@pytest.mark.parametrize("seed", range(4))
async def test_scores_and_order_are_those_of_brute_force(
    owner_connection: Connection, app_connection: Connection, seed: int
) -> None:
    source = random.Random(seed)
    firm = await founded(owner_connection)
    texts = [sentences(source) for _ in range(40)]
    for text in texts:
        await firm.add(app_connection, text, title="T")
    for query in (" ".join(source.choices(VOCABULARY, k=5)) for _ in range(5)):
        async with firm.acting(app_connection) as knowledge:
            found = await knowledge.index.search(query_terms(query), 100, SearchFilters())
        expected = dict(zip(texts, brute_force(query, texts), strict=True))
        assert {passage.text for passage in found} == {text for text, score in expected.items() if score}
        for passage in found:
            assert passage.score == pytest.approx(expected[passage.text], abs=1e-6)
        assert [passage.score for passage in found] == sorted((passage.score for passage in found), reverse=True)


async def test_a_passage_carries_what_a_pinpoint_citation_needs(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    text = "# Letters\n\nIntro 😀.\n\n## Renewal\n\nThe letter is renewed every year by the partner.\n"
    document = await firm.add(app_connection, text, title="Letter policy")
    (best, *_) = await search(app_connection, firm, SearchQuery(text="When is the letter renewed?"))
    assert (best.document_id, best.title, best.section) == (document.document_id, "Letter policy", "Letters > Renewal")
    assert text[best.start : best.end] == best.text
    assert best.text.startswith("## Renewal")
    assert best.uri == f"/v1/knowledge/documents/{document.document_id}/content"
    assert (best.page, best.trust, best.audience) == (None, "internal", "firm")


async def test_codes_are_found_whole_before_their_parts(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    await firm.add(app_connection, "EL-4.2 says when.")
    await firm.add(app_connection, "EL-2.4 says who; 4 of 2.")
    found = await search(app_connection, firm, SearchQuery(text="el-4.2"))
    assert [passage.text for passage in found] == ["EL-4.2 says when.", "EL-2.4 says who; 4 of 2."]


async def test_a_client_sees_only_client_passages_of_its_own_engagements(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    await firm.add(app_connection, "letter of the firm")
    await firm.add(app_connection, "letter firm, mandate", engagement_id=firm.engagement)
    await firm.add(app_connection, "letter other client", audience="client", engagement_id=firm.other_engagement)
    await firm.add(app_connection, "letter own", audience="client", engagement_id=firm.engagement)
    found = await search(app_connection, firm, SearchQuery(text="letter"), Role.CLIENT)
    assert [passage.text for passage in found] == ["letter own"]
    assert len(await search(app_connection, firm, SearchQuery(text="letter"))) == 4


async def test_scores_do_not_change_with_documents_that_the_principal_cannot_see(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    stranger = await founded(owner_connection, "borealis")
    for text in ("letter one", "invoice two two"):
        await firm.add(app_connection, text, audience="client", engagement_id=firm.engagement)
    before = await search(app_connection, firm, SearchQuery(text="letter"), Role.CLIENT)
    for _ in range(5):
        await firm.add(app_connection, "letter " * 50)
        await stranger.add(app_connection, "letter " * 50)
    assert await search(app_connection, firm, SearchQuery(text="letter"), Role.CLIENT) == before


async def test_another_organization_finds_nothing_and_no_filter_opens_a_wall(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm, stranger = await founded(owner_connection), await founded(owner_connection, "borealis")
    document = await firm.add(app_connection, "letter", engagement_id=firm.engagement)
    for filters in (
        SearchFilters(),
        SearchFilters(document_id=document.document_id),
        SearchFilters(engagement_ids=(firm.engagement,)),
        SearchFilters(title="Policy"),
    ):
        assert await search(app_connection, stranger, SearchQuery(text="letter", filters=filters)) == ()


async def test_filters_choose_documents_and_leave_scores_as_they_are(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    await firm.add(app_connection, "letter one", title="Fees 100%")
    other = await firm.add(app_connection, "letter two", engagement_id=firm.engagement, title="Terms")
    whole = {p.text: p.score for p in await search(app_connection, firm, SearchQuery(text="letter"))}
    for filters, texts in (
        (SearchFilters(document_id=other.document_id), ["letter two"]),
        (SearchFilters(engagement_ids=(firm.engagement,)), ["letter two"]),
        (SearchFilters(title="fees 100%"), ["letter one"]),
        (SearchFilters(title="%"), ["letter one"]),
        (SearchFilters(media_types=("text/markdown",)), list(whole)),
        (SearchFilters(media_types=("application/pdf",)), []),
        (SearchFilters(document_id=DocumentId(firm.engagement)), []),
    ):
        found = await search(app_connection, firm, SearchQuery(text="letter", filters=filters))
        assert {p.text: p.score for p in found} == {text: whole[text] for text in texts}


async def test_modes_and_limits(owner_connection: Connection, app_connection: Connection) -> None:
    firm = await founded(owner_connection)
    for number in range(3):
        await firm.add(app_connection, f"letter {number}")
    async with firm.acting(app_connection) as knowledge:
        hybrid = await knowledge.search(SearchQuery(text="letter", mode="hybrid", limit=2))
        assert (hybrid.mode, len(hybrid.items)) == ("lexical", 2)
        assert hybrid == await knowledge.search(SearchQuery(text="letter", mode="lexical", limit=2))
        assert (await knowledge.search(SearchQuery(text="who is it?"))).items == ()
        assert (await knowledge.search(SearchQuery(text="unheard"))).items == ()
        with pytest.raises(NoEmbeddings):
            await knowledge.search(SearchQuery(text="letter", mode="vector"))
        for limit in (0, 101):
            with pytest.raises(InvalidLimit):
                await knowledge.search(SearchQuery(text="letter", limit=limit))


async def test_an_organization_without_documents_is_searched_without_a_fault(
    owner_connection: Connection, app_connection: Connection
) -> None:
    firm = await founded(owner_connection)
    assert await search(app_connection, firm, SearchQuery(text="letter")) == ()


async def test_postings_are_read_by_their_covering_index_alone(
    owner_connection: Connection, app_connection: Connection, superuser_connection: Connection
) -> None:
    firm, stranger = await founded(owner_connection), await founded(owner_connection, "borealis")
    source = random.Random(7)
    for owner in (firm, stranger):
        for _ in range(3):
            paragraphs = (f"## S{number}\n\n{sentences(source)} w{source.randint(0, 500)}x" for number in range(150))
            await owner.add(app_connection, "\n\n".join(paragraphs))
    await superuser_connection.execute("VACUUM (ANALYZE) knowledge_postings, knowledge_chunks, knowledge_terms")
    asked = query_terms("letter w7x")
    async with firm.acting(app_connection):
        rows = await app_connection.fetch(f"EXPLAIN {SEARCH}", *search_values(asked, 10, SearchFilters()))
    plan = "\n".join(row[0] for row in rows)
    assert "Index Only Scan using knowledge_postings_search" in plan
    assert "hashed SubPlan" not in plan
    assert "Seq Scan on knowledge_postings" not in plan
