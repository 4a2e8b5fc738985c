"""Phrases, filters, folding, joining and explanations in the database, each as far as the asker may see."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from domain.kernel import Role
from knowledge.model import Passage, SearchQuery
from knowledge.questions import InvalidFilter
from server.database.connection import Connection
from tests.support.knowledge import Firm, founded

LONG = " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(200))

PHRASE = f'"{" ".join(LONG.split()[:4])}"'


@pytest.fixture
async def firm(owner_connection: Connection) -> Firm:
    return await founded(owner_connection)


async def found(
    connection: Connection, firm: Firm, text: str, role: Role = Role.EMPLOYEE, *, explain: bool = False
) -> tuple[Passage, ...]:
    async with firm.acting(connection, role) as knowledge:
        return (await knowledge.search(SearchQuery(text=text, explain=explain))).items


async def texts(connection: Connection, firm: Firm, text: str, role: Role = Role.EMPLOYEE) -> list[str]:
    return sorted(passage.text for passage in await found(connection, firm, text, role))


async def test_a_phrase_is_found_where_its_words_stand_next_to_one_another(
    firm: Firm, app_connection: Connection
) -> None:
    await firm.add(app_connection, "The engagement\nletter is due.")
    await firm.add(app_connection, "A letter of engagement.")
    await firm.add(app_connection, "Letters: ENGAGEMENT-LETTER, see IFRS 16.22(b).")
    await firm.add(app_connection, "The engagement letters are due.")
    await firm.add(app_connection, "Rate it.", title="The engagement letter")
    await firm.add(app_connection, "Letter it, please.", title="Engagement")
    assert await texts(app_connection, firm, '"engagement letter"') == [
        "Letters: ENGAGEMENT-LETTER, see IFRS 16.22(b).",
        "Rate it.",
        "The engagement\nletter is due.",
    ]
    assert len(await found(app_connection, firm, '"IFRS 16.22(b)" letter')) == 1
    assert len(await found(app_connection, firm, '"engagement letter" "is due"')) == 1
    async with firm.acting(app_connection) as knowledge:
        assert not (await knowledge.search(SearchQuery(text='"engagement letter"'))).without_phrases


async def test_where_nothing_holds_a_phrase_its_words_are_looked_for_and_that_is_said(
    firm: Firm, app_connection: Connection
) -> None:
    await firm.add(app_connection, "A letter of engagement.")
    await firm.add(app_connection, "The accounts are due.")
    async with firm.acting(app_connection) as knowledge:
        result = await knowledge.search(SearchQuery(text='What is a "letter engagement"?'))
        assert ([passage.text for passage in result.items], result.without_phrases) == (
            ["A letter of engagement."],
            True,
        )
        nothing = await knowledge.search(SearchQuery(text='"trial balance" type:md'))
        assert (nothing.items, nothing.without_phrases) == ((), False)


async def test_accents_and_case_make_no_phrase_another(firm: Firm, app_connection: Connection) -> None:
    await firm.add(app_connection, "Größere Prüfung der Straße und der Société Générale")
    for phrase in ('"GRÖSSERE prufung"', '"société generale"', '"strasse und der societe"'):
        assert len(await found(app_connection, firm, phrase)) == 1


async def test_filters_in_the_question_choose_documents(firm: Firm, app_connection: Connection) -> None:
    early, late = datetime(2025, 1, 31, 23, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    await firm.add(app_connection, "letter early", created_at=early)
    await firm.add(app_connection, "letter late", created_at=late, engagement_id=firm.engagement)
    for text, expected in (
        ("letter before:2025-02", ["letter early"]),
        ("letter after:2025-02", ["letter late"]),
        ("letter after:2025-01-31 before:2025-02-01", ["letter early"]),
        ("letter type:md", ["letter early", "letter late"]),
        ("letter type:pdf", []),
        (f"letter engagement:{firm.engagement}", ["letter late"]),
        ("letter engagement:audit", ["letter late"]),
        ('letter type:md "letter early"', ["letter early"]),
    ):
        assert await texts(app_connection, firm, text) == expected, text


async def test_an_engagement_that_one_may_not_see_is_refused_as_one_that_there_is_not(
    firm: Firm, app_connection: Connection, owner_connection: Connection
) -> None:
    stranger = await founded(owner_connection, "borealis")
    for name in (str(stranger.engagement), "nowhere"):
        with pytest.raises(InvalidFilter, match="there is none that you may see"):
            await found(app_connection, firm, f"letter engagement:{name}")
    with pytest.raises(InvalidFilter, match="there is none that you may see"):
        await found(app_connection, firm, f"letter engagement:{firm.other_engagement}", Role.CLIENT)


async def test_a_client_finds_no_phrase_twin_or_neighbour_of_the_firms_own(
    firm: Firm, app_connection: Connection
) -> None:
    await firm.add(app_connection, LONG, title="Internal")
    await firm.add(app_connection, LONG, title="Own", audience="client", engagement_id=firm.engagement)
    (own,) = await found(app_connection, firm, PHRASE, Role.CLIENT)
    assert (own.title, own.also_in) == ("Own", ())
    assert {each.title for each in await found(app_connection, firm, PHRASE)} == {"Internal", "Own"}
    await firm.add(app_connection, LONG, title="Copy")
    shown = {
        (each.title, *(other.title for other in each.also_in)) for each in await found(app_connection, firm, PHRASE)
    }
    assert {frozenset(titles) for titles in shown} == {frozenset({"Internal", "Copy"}), frozenset({"Own"})}


async def test_neighbours_are_one_passage_whose_range_is_the_documents_text(
    firm: Firm, app_connection: Connection
) -> None:
    words = ["".join(("word", chr(97 + n % 26), chr(97 + n // 26))) for n in range(180)]
    paragraphs = "\n\n\n".join(f"The retention rule. {' '.join(words[n : n + 60])}." for n in (0, 60, 120))
    text = f"# Rule\n\n{paragraphs}\n"
    document = await firm.add(app_connection, text, title="Rule")
    (passage,) = await found(app_connection, firm, "retention rule")
    assert len(passage.chunk_ids) > 1
    assert passage.chunk_id in passage.chunk_ids
    async with firm.acting(app_connection) as knowledge:
        assert await knowledge.documents.text(document.document_id, passage.start, passage.end) == passage.text
    assert passage.text == text[passage.start : passage.end]


async def test_an_explanation_adds_up_to_the_score(firm: Firm, app_connection: Connection) -> None:
    await firm.add(app_connection, "The letters are signed under EL-4.2.", title="Signing")
    await firm.add(app_connection, "Another matter.", title="Other")
    (passage,) = await found(app_connection, firm, "signed letter EL-4.2", explain=True)
    assert passage.ranks.lexical == 1
    assert passage.ranks.lexical_score is not None
    assert math.isclose(sum(term.score for term in passage.matched), passage.ranks.lexical_score)
    forms = {term.written: (term.term, term.frequency) for term in passage.matched}
    assert forms["signed"] == ("sign", 3)  # once in the text, twice for the title
    assert forms["letter"] == ("letter", 1)
    assert "el-4.2" in forms
    assert (await found(app_connection, firm, "signed letter"))[0].matched == ()
