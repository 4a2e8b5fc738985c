"""An answer's citations are held to the documents before it is told whole; what rests on none says so."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.citations import CitationBook, fault_words
from agent.events import Citation, CitationFault, MessageCompleted, RunUsage
from agent.frames import citation_json
from agent.grounding import (
    NOT_FOUND,
    UNSUPPORTED,
    StoredPart,
    held_to,
    owes_not_found,
    says_not_found,
)
from agent.json_values import mapping
from domain.kernel import Outcome
from tests.support.scripted_gate import ScriptedGate, done
from tests.support.scripted_model import ScriptedModel, asks, call, says
from tests.support.turns import ListJournal, Told, setup_of, tell

TEXT = "The **letter** is renewed each year.\n\nIt costs EUR 1,500.50, and | is signed | by the partner."
OTHER = "Gifts above EUR 100 are declined."
SEARCH = asks(call("knowledge_search", {"query": "letter"}))


def passage(chunk: str, text: str) -> dict[str, object]:
    return {
        "chunk_id": chunk,
        "document_id": f"d-{chunk}",
        "title": "Letters",
        "uri": "letters.md",
        "text": text,
        "start": 100,
        "end": 100 + len(text),
    }


FOUND: dict[str, object] = {"mode": "lexical", "items": [passage("1", TEXT), passage("2", OTHER)]}


def book() -> CitationBook:
    marked = CitationBook()
    marked.mark("knowledge_search", FOUND)
    return marked


def faults(answer: str) -> dict[int, CitationFault | None]:
    return {citation.marker: citation.fault for citation in book().cited(answer)}


@pytest.mark.parametrize(
    "answer",
    [
        "It is renewed [1].",
        "“The letter is renewed each year.” [1]",
        '"is renewed each year" [1].',
        "„is RENEWED each year.“ [1]",
        "«by the partner», [1]",
        "“The letter is renewed … signed by the partner” [1]",
        "“It costs EUR 1,500.50, and · is signed” [1]",
        "“Gifts above EUR 100” [1][2]",
        "You asked about “pension funds and cooks”. The letter is renewed each year [1].",
    ],
)
def test_what_stands_in_the_passage_is_good(answer: str) -> None:
    assert set(faults(answer).values()) == {None}


@pytest.mark.parametrize(
    "answer",
    [
        "“The letter is renewed every second year.” [1]",
        "“It costs EUR 1,500.05” [1]",
        "“signed by the partner … renewed each year” [1]",
        "“Gifts above EUR 100” [1]",
        "It is renewed [1]. It even says “renewed by nobody” [1].",
        'He says "the partner pays" (1). "the partner pays", [1]',
    ],
)
def test_a_quotation_that_does_not_stand_in_the_passage_is_marked(answer: str) -> None:
    assert faults(answer)[1] == "other_words"


def test_of_passages_cited_together_one_must_hold_the_quotation() -> None:
    assert faults("“Gifts above EUR 10” [1, 2]") == {1: "other_words", 2: "other_words"}
    assert faults("“Gifts above EUR 100” [1, 2]") == {1: None, 2: None}


def test_words_quoted_one_to_one_are_pointed_at() -> None:
    (citation,) = book().cited("“by the partner.” [1]")
    assert TEXT[citation.start - 100 : citation.end - 100] == citation.quote == "by the partner."


def widened(words: str, start: int = 100) -> dict[str, object]:
    """The first passage again, with more around it."""
    return {**passage("1", words), "start": start, "end": start + len(words)}


@pytest.mark.parametrize(
    ("found", "start"),
    [
        (widened(f"{TEXT} The fee is paid in March."), 100),
        (widened(f"The fee is paid in March. {TEXT}", 74), 74),
        (widened(f"{TEXT[40:]} The fee is paid in March.", 140), 100),
    ],
)
def test_a_passage_found_again_with_more_around_it_is_held_to_all_of_it(found: dict[str, object], start: int) -> None:
    again = book()
    again.mark("knowledge_search", {"items": [found]})
    (citation,) = again.cited("“The fee is paid in March.” [1]")
    assert (citation.fault, citation.quote) == (None, "The fee is paid in March.")
    (citation,) = again.cited("“The letter is renewed each year.” [1]")
    assert citation.fault is None
    (citation,) = again.cited("It is renewed [1].")
    assert (citation.start, citation.end - citation.start) == (start, len(TEXT) + 26)
    assert again.cited("“The fee is paid in May.” [1]")[0].fault == "other_words"


def test_words_of_one_passage_that_do_not_touch_are_both_held_to() -> None:
    again = book()
    again.mark("knowledge_search", {"items": [widened("The fee is paid in March.", 900)]})
    (citation,) = again.cited("“The fee is paid in March.” [1]")
    assert (citation.fault, citation.start, citation.end) == (None, 900, 925)
    assert again.cited("It is renewed [1].")[0].quote == TEXT


READ_OF: dict[str, object] = {
    "document_id": "d-1",
    "title": "Letters",
    "uri": "letters.md",
    "text": f"{TEXT}\n\nThe fee is paid in March.",
    "start": 100,
    "end": 127 + len(TEXT),
    "length": 9000,
    "page": 2,
}


def test_what_was_read_has_a_number_of_its_own_and_is_held_to_like_a_passage() -> None:
    read = book()
    assert read.mark("knowledge_read", READ_OF) == {"marker": 3, **READ_OF}
    assert read.mark("knowledge_read", READ_OF)["marker"] == 3
    (citation,) = read.cited("“The fee is paid in March.” [3]")
    assert (citation.fault, citation.document_id, citation.chunk_id) == (None, "d-1", None)
    assert (citation.start, citation.quote, citation.page) == (102 + len(TEXT), "The fee is paid in March.", None)
    assert read.cited("“The fee is paid in May.” [3]")[0].fault == "other_words"
    (citation,) = read.cited("It is paid [3].")
    assert (citation.start, citation.end, citation.page) == (100, READ_OF["end"], 2)


def test_a_citation_of_what_was_read_gets_its_place_from_the_check() -> None:
    read = book()
    read.mark("knowledge_read", READ_OF)
    cited = read.cited("“The fee is paid in March.” [3]")
    stands = StoredPart(text="The fee is paid in March.", chunk_id="c7", page=3, section="Fees")
    (citation,) = held_to(cited, [stands])
    assert (citation.fault, citation.chunk_id, citation.page, citation.section) == (None, "c7", 3, "Fees")
    assert held_to(cited, [None])[0].fault == "no_document"
    assert "chunk_id" not in citation_json(held_to(cited, [replace(stands, chunk_id=None)])[0])


def stored(*texts: str | None) -> Sequence[StoredPart | None]:
    return [StoredPart(text=text) for text in texts]


def test_citations_are_held_to_what_is_stored() -> None:
    cited = book().cited("[1] [2]")
    assert [each.fault for each in held_to(cited, stored(TEXT, OTHER))] == [None, None]
    assert [each.fault for each in held_to(cited, stored(TEXT + ".", None))] == ["other_words", "no_range"]
    assert [each.fault for each in held_to(cited, [None, StoredPart(text=OTHER)])] == ["no_document", None]


def test_a_long_passage_is_held_to_its_beginning_as_far_as_it_is_shown() -> None:
    long = CitationBook()
    long.mark("knowledge_search", {"items": [passage("1", "word " * 200)]})
    (citation,) = long.cited("[1]")
    assert citation.quote.endswith("…")
    assert held_to([citation], stored("word " * 200))[0].fault is None
    assert held_to([citation], stored("other " * 200))[0].fault == "other_words"


def test_a_quotation_that_was_false_stays_so_whatever_is_stored() -> None:
    cited = book().cited("“made up by somebody” [1]")
    assert held_to(cited, stored(TEXT))[0].fault == "other_words"


READ: list[tuple[str, Outcome]] = [("knowledge_search", "done"), ("knowledge_read", "done")]
GOOD = Citation(marker=1, document_id="d", chunk_id="c", title="T", uri="u", start=0, end=1, quote="q")


@pytest.mark.parametrize(
    ("owes", "answer", "calls", "citations"),
    [
        (True, "It is so.", READ, []),
        (True, "It is so [1].", READ, [replace(GOOD, fault="other_words")]),
        (False, "It is so [1].", READ, [GOOD]),
        (False, "It is so [1], [2].", READ, [replace(GOOD, fault="no_range"), GOOD]),
        (False, "**Not found in the documents.** Ask Tomas.", READ, []),
        (False, "Hello.", [], []),
        (False, "The search was refused.", [("knowledge_search", "denied")], []),
        (False, "I made the task.", [*READ, ("task_create", "done")], []),
        (True, "It was refused, and it is so.", [*READ, ("task_create", "denied")], []),
        (False, "It is so [1].", READ, [replace(GOOD, fault="unchecked")]),
    ],
)
def test_an_answer_after_a_search_that_no_citation_bears_owes_the_word(
    owes: bool, answer: str, calls: list[tuple[str, Outcome]], citations: list[Citation]
) -> None:
    assert owes_not_found(answer, calls, citations) is owes


def test_the_word_is_known_only_at_the_beginning() -> None:
    assert says_not_found(f"\n> {NOT_FOUND} Ask Tomas.")
    assert says_not_found("not found in the documents: ask Tomas")
    assert not says_not_found(f"It is EUR 5 [1]. The date: {NOT_FOUND}")


async def told_with(answer: str, *texts: str | None) -> Told:
    async def check(message_id: str, citations: tuple[Citation, ...]) -> tuple[Citation, ...]:
        del message_id
        return held_to(citations, stored(*texts)[: len(citations)])

    told = Told(ListJournal())
    gate = ScriptedGate(knowledge_search=done(FOUND))
    await tell(setup_of(ScriptedModel(SEARCH, says(answer)), gate, told.journal, check=check), told)
    return told


def completed(told: Told) -> MessageCompleted:
    return next(event for event in told.events if isinstance(event, MessageCompleted))


def usage(told: Told) -> RunUsage:
    return next(event for event in told.events if isinstance(event, RunUsage))


async def test_a_good_answer_is_told_as_it_is() -> None:
    told = await told_with("It is renewed [1].", TEXT)
    assert completed(told).text == "It is renewed [1]."
    assert "fault" not in citation_json(completed(told).citations[0])
    assert usage(told).failed_citations is None


async def test_a_failed_citation_is_marked_in_the_event_and_in_what_is_kept_and_counted() -> None:
    told = await told_with("It is renewed [1]. Gifts are declined [2].", TEXT, "Other words.")
    cited = completed(told).citations
    assert [citation_json(each).get("fault") for each in cited] == [None, "other_words"]
    assert told.journal.noted[-1].citations == cited
    assert usage(told).failed_citations == 1
    assert completed(told).text == "It is renewed [1]. Gifts are declined [2]."


async def test_an_answer_whose_every_citation_failed_says_that_nothing_bears_it() -> None:
    told = await told_with("It is renewed [1].", "Other words.")
    assert completed(told).text == f"It is renewed [1].\n\n{UNSUPPORTED}"
    assert told.journal.noted[-1].text == completed(told).text


async def test_an_answer_without_a_citation_says_so_too() -> None:
    assert completed(await told_with("It is renewed each year.")).text.endswith(UNSUPPORTED)
    assert completed(await told_with("Not found in the documents.")).text == "Not found in the documents."


async def test_stopped_while_its_citations_are_checked_the_message_gets_its_end_and_none_counts_as_good() -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def check(message_id: str, citations: tuple[Citation, ...]) -> tuple[Citation, ...]:
        del message_id
        reached.set()
        await never.wait()
        return citations

    told = Told(ListJournal())
    gate = ScriptedGate(knowledge_search=done(FOUND))
    setup = setup_of(ScriptedModel(SEARCH, says("It is renewed [1].")), gate, told.journal, check=check)
    running = asyncio.create_task(tell(setup, told))
    await reached.wait()
    running.cancel()
    await asyncio.wait([running])
    assert [each.fault for each in completed(told).citations] == ["unchecked"]


@pytest.mark.parametrize("fault", ["other_words", "no_document", "no_range", "unchecked", "of_tomorrow"])
def test_readers_are_told_of_each_fault_in_words(fault: str) -> None:
    assert str(fault_words({"marker": 1, "fault": fault})).startswith("not confirmed")
    assert fault_words(mapping({"marker": 1})) is None
