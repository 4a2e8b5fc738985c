"""What the model is told of who asks, of earlier turns, and of what has become of their calls."""

from dataclasses import replace
from datetime import date

import pytest

from agent.citations import CitationBook
from agent.context import RULES, remembered, result_text, step_messages, system_words, turn_messages
from agent.conversations.model import History, LedgerCall, MadeCall, Step, Surroundings, Turn
from agent.json_values import items, mapping, parsed, text
from agent.model import AssistantMessage, ToolCall, ToolResultMessage, UserMessage
from domain.kernel import CallId, Outcome, Role, RunId
from tests.support.turns import nth

PASSAGE: dict[str, object] = {
    "chunk_id": "c1",
    "document_id": "d1",
    "title": "Letters",
    "uri": "glow:d1",
    "text": "words",
    "start": 0,
    "end": 5,
}


def made(outcome: Outcome = "done", result: dict[str, object] | None = None, tool: str = "task_run") -> MadeCall:
    """A call of an earlier turn."""
    text = result_text({"outcome": outcome, "result": result or {}}, tool=tool, trust="client")
    return MadeCall(call_id=CallId(nth(5)), provider_id="p5", tool=tool, arguments="{}", outcome=outcome, text=text)


def turn(*steps: Step, status: str = "completed", unkept: tuple[LedgerCall, ...] = ()) -> Turn:
    """An earlier turn."""
    assert status in ("completed", "failed", "cancelled")
    return Turn(run_id=RunId(nth(1)), status=status, message="Run it.", steps=steps, unkept=unkept)


def test_the_system_words_hold_persona_rules_and_who_asks_where_and_when() -> None:
    around = Surroundings(organization="Acme Audit", person="Eva Employee", role=Role.EMPLOYEE)
    words = system_words("You are helpful.\n", around, date(2026, 11, 22))
    assert words == (
        f"You are helpful.\n\n{RULES}\n\nOrganization: Acme Audit\nYou act for: Eva Employee, whose role is EMPLOYEE\n"
        "Today: 2026-11-22"
    )


def test_an_answered_turn_is_told_as_it_was() -> None:
    call = made()
    steps = (Step(message_id=nth(2), text="", calls=(call,)), Step(message_id=nth(3), text="It runs."))
    assert turn_messages(turn(*steps), {}) == [
        UserMessage(text="Run it."),
        AssistantMessage(text="", calls=(ToolCall(provider_id="p5", name="task_run", arguments="{}"),)),
        ToolResultMessage(provider_id="p5", name="task_run", text=call.text),
        AssistantMessage(text="It runs."),
    ]


def test_a_call_that_waited_is_told_as_it_stands_now() -> None:
    waited = Step(message_id=nth(2), text="", calls=(made("waiting"),))
    later: dict[str, object] = {"outcome": "rejected", "approval": {"state": "rejected", "comment": "Not now."}}
    result = step_messages(waited, {CallId(nth(5)): later})[1]
    assert result.text == (
        '{"source":"tool task_run","trust":"client","outcome":"rejected",'
        '"approval":{"state":"rejected","comment":"Not now."}}'
    )


def test_an_interrupted_turn_tells_which_calls_the_record_shows() -> None:
    unkept = (LedgerCall(call_id=CallId(nth(5)), tool="task_create", outcome="done"),)
    assert turn_messages(turn(status="failed", unkept=unkept), {})[-1] == AssistantMessage(
        text="(This turn was interrupted before it was answered. "
        "The record shows calls it had made: task_create: done.)"
    )


def test_a_turn_without_an_answer_says_why() -> None:
    assert turn_messages(turn(status="cancelled"), {})[-1].text == "(The user stopped this turn here.)"
    assert turn_messages(turn(status="failed"), {})[-1].text == "(This turn ended by a fault before it was answered.)"


def test_passages_keep_their_numbers_from_turn_to_turn() -> None:
    book = CitationBook()
    found = book.mark("knowledge_search", {"items": [PASSAGE]})
    earlier = turn(Step(message_id=nth(2), text="", calls=(made(result=found, tool="knowledge_search"),)))
    again = remembered(History(turns=(earlier,)))
    assert again.cited("as said [1]") == book.cited("[1]")
    more = again.mark("knowledge_search", {"items": [{**PASSAGE, "chunk_id": "c2"}, PASSAGE]})
    assert [mapping(each)["marker"] for each in items(more["items"])] == [2, 1]


def test_what_was_read_keeps_its_number_however_much_of_it_the_model_is_shown() -> None:
    book = CitationBook()
    read: dict[str, object] = {
        "document_id": "d",
        "title": "T",
        "uri": "u",
        "text": '"' * 20_000,
        "start": 7,
        "end": 20_007,
    }
    shown = book.mark("knowledge_read", read)
    kept = result_text({"outcome": "done", "result": shown}, tool="knowledge_read", trust="internal")
    assert len(kept) < 25_000
    earlier = turn(Step(message_id=nth(2), text="", calls=(replace(made(tool="knowledge_read"), text=kept),)))
    again = remembered(History(turns=(earlier,)))
    (citation,) = again.cited("as it says [1]")
    assert (citation.start, citation.document_id) == (7, "d")
    assert citation.end - 7 == len(text(mapping(mapping(parsed(kept))["result"])["text"]))
    assert again.mark("knowledge_read", {**read, "start": 9})["marker"] == 2


def test_what_was_read_before_reads_had_numbers_takes_none_from_a_passage() -> None:
    read: dict[str, object] = {"document_id": "d", "title": "T", "uri": "u", "text": "words", "start": 0, "end": 5}
    found: dict[str, object] = {"items": [{"marker": 1, **PASSAGE}]}
    calls = (made(result=read, tool="knowledge_read"), made(result=found, tool="knowledge_search"))
    (citation,) = remembered(History(turns=(turn(Step(message_id=nth(2), text="", calls=calls)),))).cited("[1]")
    assert citation.chunk_id == PASSAGE["chunk_id"]


def test_citations_come_in_order_of_appearance_once_each_and_unknown_numbers_stay_text() -> None:
    book = CitationBook()
    book.mark("knowledge_search", {"items": [{**PASSAGE, "chunk_id": f"c{n}"} for n in range(4)]})
    cited = book.cited("First [3], then [1, 3] and [2][9], not [x] nor [0].")
    assert [citation.marker for citation in cited] == [3, 1, 2]


def test_a_quote_is_the_passage_or_its_beginning() -> None:
    book = CitationBook()
    book.mark("knowledge_search", {"items": [{**PASSAGE, "text": "q" * 900}]})
    assert len(book.cited("[1]")[0].quote) == 400


def test_only_what_the_search_found_gets_a_number() -> None:
    assert CitationBook().mark("task_list", {"items": [PASSAGE]}) == {"items": [PASSAGE]}
    assert CitationBook().mark("knowledge_search", {"items": ["odd", {}]}) == {"items": ["odd", {}]}


TEXT = "A letter does not renew itself.\nIt must be renewed every\ntwelve months, and signed."
QUOTED: dict[str, object] = {
    "chunk_id": "c9",
    "document_id": "d9",
    "title": "Policy",
    "uri": "policy.md",
    "text": TEXT,
    "start": 100,
    "end": 184,
}


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("“It must be renewed every twelve months” [1]", "It must be renewed every\ntwelve months"),
        ('It says "It must be renewed every\ntwelve months, and signed." [1]', TEXT[32:]),
        ("“A letter does not renew itself.” and “twelve months, and signed” [1]", "twelve months, and signed"),
        ("It is renewed every year [1]", TEXT),
        ("“These words stand nowhere in it” [1]", TEXT),
        ("“A letter does not renew itself.” [2] It is renewed [1]", TEXT),
        ("“months” [1]", TEXT),
    ],
)
def test_a_citation_points_at_the_words_that_the_answer_quotes(answer: str, cited: str) -> None:
    book = CitationBook()
    book.mark("knowledge_search", {"items": [QUOTED]})
    (citation,) = book.cited(answer)
    assert citation.quote == cited
    assert TEXT[citation.start - 100 : citation.end - 100] == cited
