"""Search in one's own conversations on the real database: what is found, what is shown of it, and whose it is."""

from dataclasses import replace

import pytest

from agent.run_opening import NewMessage
from domain.kernel import ConversationId, Principal, PrincipalId
from domain.paging import page_request
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, Process, process_on
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_model import ScriptedModel, says


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms are there; their seeded runs are out of the way."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


async def said(process: Process, message: str) -> ConversationId:
    begun = await process.say(message)
    await process.frames(begun.run_id)
    return begun.conversation_id


async def found(process: Process, words: str, principal: Principal = EVA) -> list[tuple[str, list[str]]]:
    """The titles that were found, each with its snippets."""
    page = await process.conversations.search(principal, words, page_request())
    return [(each.conversation.title, [match.snippet for match in each.matches]) for each in page.items]


async def test_titles_and_messages_are_found_by_beginnings_of_words_newest_first(pools: DatabasePools) -> None:
    model = ScriptedModel(brain=lambda _: says("Renewals are due \u0000 in May, " + "so they are, " * 40 + "always."))
    async with process_on(pools, model) as process:
        first = await said(process, "What of Müller's engagement letter?\nIt is from 2024.")
        second = await said(process, "And the letters of Quince & Co?")
        assert [title for title, _ in await found(process, "letter")] == [
            "And the letters of Quince & Co?",
            "What of Müller's engagement letter?",
        ]
        ((title, snippets),) = await found(process, "  MÜLL 202 ")
        assert title == "What of Müller's engagement letter?"
        assert snippets == ["What of Müller's engagement letter? It is from 2024."]
        await process.conversations.rename(EVA, second, "Berries")
        assert await found(process, "berri") == [("Berries", [])]
        assert await found(process, "letter zeppelin") == []
        for nothing in ("", "'", "&|!():*\\", "  - "):
            assert await found(process, nothing) == []
        assert await found(process, "'letter':* | x") == []
        await process.conversations.delete(EVA, first)
        assert await found(process, "müller") == []


async def test_dates_numbers_and_names_of_files_and_people_are_found_as_they_are_written(pools: DatabasePools) -> None:
    written = "INV-2024-001 of 2024-01-31 over 1,200.50 for o'brien@acme.example in letter.pdf, Hohe Straße 3.5 C:\\new"
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        await said(process, f"See: {written}!")
        for words in (*written.split(), "inv-2024", "STRA", "O'Brien@ACME.example"):
            ((_, (snippet,)),) = await found(process, words)
            assert words.casefold() in snippet.casefold()
        assert await found(process, "2024-01-30") == []


async def test_what_is_typed_to_its_half_is_found_as_the_whole_is(pools: DatabasePools) -> None:
    written = (
        "INV-2024-001 2024-01-31 o'brien@acme.example lena.v-m@x1.acme.example letter.pdf AB12-34X PN7-A4-99/2 3.5"
    )
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        await said(process, f"See: {written}!")
        missed = [
            word[:length]
            for word in written.split()
            for length in range(1, len(word) + 1)
            if not await found(process, f"see {word[:length]}")
        ]
    assert missed == []


async def test_an_answer_is_found_and_a_message_that_was_answered_twice_once(pools: DatabasePools) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Ripe medlars."))) as process:
        begun = await process.runs.start(EVA, NewMessage(message="Which quinces?"))
        await process.frames(begun.run_id)
        again = await process.runs.start(EVA, NewMessage(message="", regenerates=begun.run_id))
        await process.frames(again.run_id)
        ((_, snippets),) = await found(process, "quinces")
        assert snippets == ["Which quinces?"]
        ((_, snippets),) = await found(process, "ripe medlar")
        assert snippets == ["Ripe medlars."] * 2


OTHERS = [principal_of(FIRM_B), replace(EVA, principal_id=PrincipalId(FIRM_A.id("partner")))]


@pytest.mark.parametrize("who", OTHERS, ids=["another firm's", "a partner"])
async def test_nobody_finds_what_others_said(pools: DatabasePools, who: Principal) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        await said(process, "Where are the zeppelins?")
        assert len(await found(process, "zeppelins")) == 1
        assert await found(process, "zeppelins", who) == []
