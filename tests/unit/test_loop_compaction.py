"""Oldest turns give way to a summary: whole, recorded, with the trust, numbers and open calls of what it stands for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.budget import Spent
from agent.compaction import INSTRUCTIONS, Compactor
from agent.context import Transcript, remembered, result_text
from agent.conversations.model import History, MadeCall, Step, Summary, Turn
from agent.events import Citation, Json
from agent.model import (
    OFFLINE,
    Answering,
    BackgroundMessage,
    Message,
    ModelFailed,
    ModelRequest,
    SystemMessage,
    UserMessage,
)
from agent.window import UNSHOWN, Window
from domain.kernel import CallId, Outcome, RunId, Trust, utc_now
from tests.support.scripted_model import ScriptedModel, asks, call, says
from tests.support.scripted_model import Turn as Said
from tests.support.turns import OFFERS, nth, numbered
from tests.unit.test_loop_window import paired, turns
from tools.ports import Unavailable

HEAD: Sequence[Message] = (SystemMessage(text="S"), UserMessage(text="M"))
SEARCH = "knowledge_search"
CITED = Citation(
    marker=3, document_id="d", chunk_id="c3", title="Letters", uri="glow:d", start=0, end=5, quote="renewed each year"
)


@dataclass
class Book:
    """Satisfies SummaryLog; `away`: there is no database."""

    kept: list[Summary] = field(default_factory=list[Summary])
    away: bool = False

    async def keep_summary(self, summary: Summary) -> None:
        if self.away:
            raise Unavailable("no database")
        self.kept.append(summary)


def compactor(model: ScriptedModel, book: Book, size: int = 4_000) -> Compactor:
    return Compactor(model=model, window=Window(size, len), summaries=book, clock=utc_now, new_id=numbered())


def compacted(
    history: History, *said: Said, size: int = 4_000, book: Book | None = None, spent: Spent | None = None
) -> tuple[History, ScriptedModel]:
    model = ScriptedModel(*said)
    made = compactor(model, book or Book(), size).compacted(history, HEAD, (), spent or Spent())
    return asyncio.run(made), model


def turn(number: int, *steps: Step, length: int = 800) -> Turn:
    return Turn(
        run_id=RunId(nth(number)), status="completed", message=f"{number} " + "x" * length, steps=(*steps, answer())
    )


def answer(text: str = "Yes.", citations: tuple[Citation, ...] = ()) -> Step:
    return Step(message_id=nth(0), text=text, citations=citations)


def calling(
    number: int, *, outcome: Outcome = "done", trust: Trust = "internal", tool: str = "t", result: object = None
) -> Step:
    text = result_text({"outcome": outcome, "result": result or {}}, tool=tool, trust=trust)
    made = MadeCall(
        call_id=CallId(nth(number)), provider_id=f"p{number}", tool=tool, arguments="{}", outcome=outcome, text=text
    )
    return Step(message_id=nth(0), text="", calls=(made,))


LONG = History(turns=tuple(turn(number) for number in range(1, 6)))
"""Five turns, of which the newest fits into the share that stays."""


def summary_of(history: History) -> Summary:
    assert history.summary is not None
    return history.summary


def transcript(history: History, size: int = 4_000) -> Transcript:
    return Transcript(system="S", history=history, message="M", window=Window(size, len))


def test_the_oldest_turns_give_way_to_one_summary_and_the_newest_stay_as_they_are() -> None:
    book, spent = Book(), Spent()
    found, model = compacted(LONG, says("They asked five times."), book=book, spent=spent)

    (kept,) = book.kept
    assert (found.summary, found.turns) == (kept, LONG.turns[-1:])
    assert (kept.last_run_id, kept.turns, kept.text) == (RunId(nth(4)), 4, "They asked five times.")
    assert (kept.model, kept.input_tokens, kept.output_tokens) == ("scripted", 10, 1)
    assert (spent.input_tokens, spent.output_tokens, spent.turns) == (10, 1, 0)
    (asked,) = model.requests
    assert (asked.messages[0], asked.tools) == (SystemMessage(text=INSTRUCTIONS), ())
    assert [turn[0]["user"][0] for turn in orjson.loads(asked.messages[1].text)["turns"]] == ["1", "2", "3", "4"]
    messages = transcript(found).request(OFFERS[:0]).messages
    told = orjson.loads(messages[1].text)
    assert isinstance(messages[1], BackgroundMessage)
    assert (told["summary"], told["trust"]) == ("They asked five times.", "internal")
    assert messages[2].text == LONG.turns[-1].message


def test_what_is_not_full_is_left_alone_and_a_next_summary_takes_the_last_one_and_the_turns_since() -> None:
    short = History(turns=LONG.turns[:2])
    assert compacted(short)[0] is short
    first, _ = compacted(LONG, says("One."))
    assert compacted(first)[0] is first
    grown = replace(first, turns=(*first.turns, *(turn(number) for number in range(6, 9))))

    second, model = compacted(grown, says("Two."))

    assert (summary_of(second).turns, summary_of(second).last_run_id) == (7, RunId(nth(7)))
    material = orjson.loads(model.requests[0].messages[1].text)
    assert (material["earlier_summary"], len(material["turns"])) == ("One.", 3)


def test_many_small_turns_are_summarised_before_the_oldest_are_not_read_any_more() -> None:
    small = History(turns=tuple(turn(number, length=1) for number in range(1, 40)), crowded=True)
    found, _ = compacted(small, says("Small talk."), size=100_000)
    assert (len(found.turns), summary_of(found).turns, found.crowded) == (13, 26, False)


FAILURES: tuple[Said, ...] = (
    [ModelFailed("model_unavailable", "away", retryable=True)],
    says("  "),
    asks(call("task_create", {"title": "x"})),
    says("I will not.", reason="refusal"),
    [Answering(model=OFFLINE, instead_of="scripted", why="It is away."), *says("Nothing was found.")],
)


def test_without_a_summary_turns_are_left_out_as_before_and_the_model_is_told_so() -> None:
    for said in FAILURES:
        book = Book()
        found, _ = compacted(LONG, said, book=book)
        assert (found, book.kept) == (LONG, [])
        assert UNSHOWN in transcript(found, 3_000).request(()).messages
    assert compacted(LONG, says("Fine."), book=Book(away=True))[0] is LONG
    assert UNSHOWN in transcript(History(turns=LONG.turns[-1:], unshown=True)).request(()).messages


def test_a_summary_is_trusted_as_the_least_trusted_thing_in_it_and_for_good() -> None:
    outside = (turn(1), turn(2, calling(2, trust="external")), turn(3, calling(3, trust="client")), *LONG.turns[3:])
    first, _ = compacted(History(turns=outside), says("Mixed."))
    assert summary_of(first).trust == "external"
    second, _ = compacted(replace(first, turns=LONG.turns), says("All the firm's since."))
    assert summary_of(second).trust == "external"


def test_numbers_of_passages_hold_and_none_is_given_twice() -> None:
    found = {"items": [{"marker": 3, "chunk_id": "c3"}, {"marker": 7, "chunk_id": "c7"}]}
    cited = (turn(1, calling(1, tool=SEARCH, result=found), answer("So [3].", (CITED,))), *LONG.turns[1:])
    history, _ = compacted(History(turns=cited), says("It is renewed [3]."))

    book = remembered(history)

    assert book.cited("As I said [3].") == (CITED,)
    marked = book.mark(SEARCH, {"items": [{"chunk_id": "new", "text": "t"}, {"chunk_id": "c3", "text": "t"}]})
    assert [each["marker"] for each in orjson.loads(orjson.dumps(marked["items"]))] == [8, 3]
    passages = orjson.loads(transcript(history).request(()).messages[1].text)["passages"]
    assert passages == [{"marker": 3, "title": "Letters", "document_id": "d", "quote": "renewed each year"}]


def test_what_was_cited_and_is_found_again_is_held_to_all_that_was_found() -> None:
    cited = (turn(1, answer("So “renewed each year” [3].", (CITED,))), *LONG.turns[1:])
    book = remembered(compacted(History(turns=cited), says("It is renewed [3]."))[0])
    words = "The letter is renewed each year, and paid for in March."
    book.mark(SEARCH, {"items": [{"chunk_id": "c3", "document_id": "d", "text": words, "start": CITED.start - 14}]})
    assert [each.fault for each in book.cited("“paid for in March” [3]")] == [None]


def test_the_number_of_what_was_read_is_given_once() -> None:
    read = {"marker": 9, "document_id": "d", "text": "words", "start": 0, "end": 5}
    told = (turn(1, calling(1, tool="knowledge_read", result=read), answer("So.")), *LONG.turns[1:])
    book = remembered(compacted(History(turns=told), says("So."))[0])
    assert book.mark(SEARCH, {"items": [{"chunk_id": "new", "text": "t"}]})["items"] == [
        {"marker": 10, "chunk_id": "new", "text": "t"}
    ]


def test_calls_that_still_wait_are_told_as_they_stand_now_and_settled_ones_only_in_the_summary() -> None:
    waits, settled = calling(1, outcome="waiting"), calling(2, outcome="waiting")
    later: dict[CallId, Json] = {
        CallId(nth(1)): {"outcome": "waiting"},
        CallId(nth(2)): {"outcome": "rejected"},
    }
    history = History(turns=(turn(1, waits, settled), *LONG.turns[1:]), later=later)
    found, model = compacted(history, says("One waits."))
    assert [each.call_id for each in summary_of(found).open_calls] == [CallId(nth(1))]
    assert "rejected" in model.requests[0].messages[1].text
    now = replace(found, later={CallId(nth(1)): {"outcome": "done", "result": {"task_id": "t1"}}})

    told = transcript(now).request(()).messages[2]

    assert isinstance(told, BackgroundMessage)
    assert orjson.loads(told.text)["calls"] == [
        {"tool": "t", "arguments": "{}", "outcome": "done", "result": {"task_id": "t1"}}
    ]


def test_between_two_summaries_every_request_begins_as_the_last_one_did() -> None:
    found, _ = compacted(LONG, says("One."))
    before = transcript(found, 8_000).request(OFFERS).messages
    after = transcript(replace(found, turns=(*found.turns, turn(6))), 8_000).request(OFFERS).messages
    assert after[: len(before) - 1] == before[:-1]


@settings(deadline=None)
@given(st.lists(turns, min_size=1, max_size=7).map(tuple), st.integers(600, 20_000), st.booleans())
def test_every_request_is_valid_whatever_was_summarised(earlier: tuple[Turn, ...], size: int, answers: bool) -> None:
    history = History(turns=tuple(replace(each, run_id=RunId(nth(n))) for n, each in enumerate(earlier)))
    # An error of its own each time: one that is raised again and again carries the traceback of every time.
    said = says("A summary.") if answers else [ModelFailed("model_unavailable", "away", retryable=True)]
    book = Book()
    found, model = compacted(history, said, size=size, book=book)
    assert (*history.turns[: len(history.turns) - len(found.turns)], *found.turns) == history.turns
    assert len(model.requests) <= 1
    assert [found.summary] == (book.kept or [None])
    assert found.turns or not earlier
    assert paired(_request(found, size).messages)


def _request(history: History, size: int) -> ModelRequest:
    try:
        return transcript(history, size).request(OFFERS)
    except ModelFailed:
        return ModelRequest(messages=(), tools=())
