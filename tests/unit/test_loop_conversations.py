"""The loop on a scripted model: events compared whole."""

import asyncio

import pytest

from agent.budget import Budget
from agent.conversations.model import MadeCall, Step
from agent.events import (
    ApprovalRequested,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    MessageStarted,
    RunUsage,
    RunWaiting,
    ToolCalled,
    ToolCompleted,
    ToolDecided,
)
from agent.loop import run_turn
from agent.model import (
    AssistantMessage,
    ModelFailed,
    ModelRequest,
    SystemMessage,
    TextDelta,
    ToolResultMessage,
    UserMessage,
)
from domain.kernel import CallId
from tests.support.scripted_gate import EXPIRES, ScriptedGate, approval_of, denied, done, invalid, unknown, waiting
from tests.support.scripted_model import HoldAt, Pace, ScriptedModel, Turn, asks, at_once, call, refuses, says
from tests.support.turns import ListJournal, Told, begun_and_ended, nth, setup_of, tell, told_by
from tools.ports import Unavailable

PASSAGE = {
    "document_id": "d1",
    "chunk_id": "c1",
    "title": "Letters",
    "text": "The partner signs.",
    "score": 1.0,
    "start": 5,
    "end": 23,
    "uri": "glow:d1",
    "page": 2,
}
FOUND: dict[str, object] = {"mode": "lexical", "items": [PASSAGE]}


async def test_words_alone_are_one_message() -> None:
    told = await told_by(ScriptedModel(says("Good ", "day.")), ScriptedGate())
    message = str(nth(1))
    assert told.raised is None
    assert told.events == [
        MessageStarted(message_id=message),
        MessageDelta(message_id=message, delta="Good "),
        MessageDelta(message_id=message, delta="day."),
        MessageCompleted(message_id=message, text="Good day."),
        RunUsage(input_tokens=10, output_tokens=2, model_calls=1, tool_calls=0),
    ]
    assert told.journal.noted == [Step(message_id=nth(1), text="Good day.")]


async def test_a_search_is_called_decided_completed_and_cited() -> None:
    model = ScriptedModel(
        asks(call("knowledge_search", {"query": "signs"}), words="Let me look."), says("The partner does [1].")
    )
    told = await told_by(model, ScriptedGate(knowledge_search=done(FOUND)))
    first, call_id, second = str(nth(1)), CallId(nth(2)), str(nth(3))
    completed = told.events[-2]
    assert isinstance(completed, MessageCompleted)
    marked: dict[str, object] = {"mode": "lexical", "items": [{"marker": 1, **PASSAGE}]}
    assert told.events == [
        MessageStarted(message_id=first),
        MessageDelta(message_id=first, delta="Let me look."),
        MessageCompleted(message_id=first, text="Let me look."),
        ToolCalled(call_id=call_id, tool="knowledge_search", arguments={"query": "signs"}),
        ToolDecided(call_id=call_id, decision="allow", reasons=("within_role",)),
        ToolCompleted(call_id=call_id, outcome="done", result=marked),
        MessageStarted(message_id=second),
        MessageDelta(message_id=second, delta="The partner does [1]."),
        MessageCompleted(message_id=second, text="The partner does [1].", citations=completed.citations),
        RunUsage(input_tokens=20, output_tokens=6, model_calls=2, tool_calls=1),
    ]
    assert [(each.marker, each.document_id, each.start, each.end, each.quote) for each in completed.citations] == [
        (1, "d1", 5, 23, "The partner signs.")
    ]


async def test_what_was_spent_is_kept_with_each_step_and_not_only_at_the_end() -> None:
    journal = ListJournal()
    told = Told(journal)
    await tell(setup_of(answers_after_a_call(asyncio.Event()), ScriptedGate(task_create=done({})), journal), told)
    ended = told.events[-1]
    assert isinstance(ended, RunUsage)
    assert journal.spent is not None
    assert (journal.spent.model_calls, ended.model_calls) == (1, 2)
    assert 0 < journal.spent.input_tokens < ended.input_tokens


async def test_the_model_reads_the_result_as_data_with_its_source_and_trust() -> None:
    model = ScriptedModel(asks(call("knowledge_search", {"query": "signs"})), says("Yes."))
    await told_by(model, ScriptedGate(knowledge_search=done({"mode": "lexical", "items": []})))
    system, user, asked, result = model.requests[1].messages
    assert isinstance(system, SystemMessage)
    assert system == model.requests[0].messages[0]
    assert user == UserMessage(text="Who signs?")
    assert asked == AssistantMessage(text="", calls=(call("knowledge_search", {"query": "signs"}),))
    assert result == ToolResultMessage(
        provider_id="id_knowledge_search",
        name="knowledge_search",
        text='{"source":"tool knowledge_search","trust":"internal","outcome":"done",'
        f'"call_id":"{nth(2)}","result":{{"mode":"lexical","items":[]}},'
        '"verdict":{"decision":"allow","reasons":["within_role"]}}',
    )


async def test_parallel_calls_are_made_in_the_models_order_and_each_gets_its_own_result() -> None:
    model = ScriptedModel(
        asks(call("task_create", {"title": "a"}), call("ghost"), call("task_create", {"title": "b"})), says("Done.")
    )
    gate = ScriptedGate(task_create=done({"ok": True}))
    told = await told_by(model, gate)
    ids = [CallId(nth(2)), CallId(nth(3)), CallId(nth(4))]
    assert [request.call_id for request in gate.requests] == ids
    assert [event.call_id for event in told.events if isinstance(event, ToolCompleted)] == ids
    results = [message for message in model.requests[1].messages if isinstance(message, ToolResultMessage)]
    # The model gave the first and the third the same id of its own; results are told apart all the same.
    assert [each.provider_id for each in results] == ["id_task_create", "id_ghost", f"call_{nth(4).hex}"]
    assert [made.outcome for made in told.journal.noted[0].calls] == ["done", "invalid", "done"]


class SlowJournal(ListJournal):
    """Keeps a step only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.fault: Exception | None = None

    async def keep(self, usage: RunUsage) -> None:
        self.asked.set()
        await self.let.wait()
        if self.fault is not None:
            raise self.fault
        await super().keep(usage)


def answers_after_a_call(heard: asyncio.Event, pace: Pace = at_once) -> ScriptedModel:
    """Asks for one call, then answers; `heard` once it hears of the result."""

    def brain(request: ModelRequest) -> Turn:
        if len(request.messages) == 2:
            return asks(call("task_create"))
        heard.set()
        return says("Done.")

    return ScriptedModel(brain=brain, pace=pace)


async def test_a_step_is_kept_before_anything_is_told_of_what_the_model_says_to_it() -> None:
    heard, journal = asyncio.Event(), SlowJournal()
    told = Told(journal)
    setup = setup_of(answers_after_a_call(heard), ScriptedGate(task_create=done({})), journal)
    running = asyncio.create_task(tell(setup, told))
    await asyncio.gather(heard.wait(), journal.asked.wait())
    assert isinstance(told.events[-1], ToolCompleted)
    journal.let.set()
    await running
    assert told.raised is None
    assert (len(journal.kept), len(journal.noted)) == (1, 2)
    assert isinstance(told.events[-2], MessageCompleted)


async def test_where_a_step_cannot_be_kept_nothing_more_is_told() -> None:
    heard, journal = asyncio.Event(), SlowJournal()
    journal.fault = Unavailable("away")
    journal.let.set()
    told = Told(journal)
    await tell(setup_of(answers_after_a_call(heard), ScriptedGate(task_create=done({})), journal), told)
    assert told.raised is journal.fault
    assert [type(event) for event in told.events[-2:]] == [ToolCompleted, RunUsage]


async def test_a_run_cancelled_while_a_step_is_being_kept_ends_when_that_is_settled() -> None:
    heard, journal = asyncio.Event(), SlowJournal()
    hold = HoldAt(3)
    told = Told(journal)
    setup = setup_of(answers_after_a_call(heard, hold), ScriptedGate(task_create=done({})), journal)
    running = asyncio.create_task(tell(setup, told))
    await asyncio.gather(hold.reached.wait(), journal.asked.wait())
    running.cancel()
    await asyncio.wait([running], timeout=0)
    assert not running.done()
    journal.let.set()
    await running
    assert isinstance(told.raised, asyncio.CancelledError)
    assert len(journal.kept) == 1


@pytest.mark.parametrize(
    ("text", "shown", "passed"),
    [
        ('{"a": 1}', {"a": 1}, {"a": 1}),
        ("", {}, {}),
        ("[1]", {"_raw": "[1]"}, [1]),
        ("{oops", {"_raw": "{oops"}, "{oops"),
        ("NaN", {"_raw": "NaN"}, "NaN"),
    ],
)
async def test_arguments_reach_the_gate_as_the_model_wrote_them(text: str, shown: object, passed: object) -> None:
    gate = ScriptedGate(task_create=done({}))
    told = await told_by(ScriptedModel(asks(call("task_create", text)), says("Done.")), gate)
    assert gate.requests[0].arguments == passed
    assert [event.arguments for event in told.events if isinstance(event, ToolCalled)] == [shown]


async def test_an_unknown_tool_goes_back_to_the_model_to_mend() -> None:
    model = ScriptedModel(asks(call("ghost", {"x": 1})), says("There is no such tool."))
    told = await told_by(model, ScriptedGate())
    result = model.requests[1].messages[-1]
    assert isinstance(result, ToolResultMessage)
    assert '"code":"unknown_tool"' in result.text
    assert [event for event in told.events if isinstance(event, ToolCompleted)] == [
        ToolCompleted(
            call_id=CallId(nth(2)),
            outcome="invalid",
            error={"code": "unknown_tool", "message": "There is no tool ghost."},
        )
    ]
    assert not any(isinstance(event, ToolDecided) for event in told.events)


async def test_arguments_are_mended_a_few_times_then_the_model_must_answer() -> None:
    bad = asks(call("task_create", "{"))
    model = ScriptedModel(bad, bad, bad, bad, says("I could not write that call."))
    told = await told_by(model, ScriptedGate(task_create=invalid))
    assert [len(request.tools) for request in model.requests] == [2, 2, 2, 2, 0]
    notice = model.requests[-1].messages[0]
    assert isinstance(notice, SystemMessage)
    assert "not well formed" in notice.text
    assert told.raised is None
    assert told.journal.noted[-1].text == "I could not write that call."


async def test_a_refused_call_is_no_fault_of_form() -> None:
    refused = asks(call("task_create"))
    model = ScriptedModel(*[refused] * 5, says("You may not."))
    told = await told_by(model, ScriptedGate(task_create=denied))
    assert all(request.tools for request in model.requests)
    assert told.journal.noted[-1].text == "You may not."


async def test_at_its_last_turn_the_model_may_only_answer() -> None:
    model = ScriptedModel(asks(call("task_create")), says("One of two is done."))
    told = await told_by(model, ScriptedGate(task_create=done({})), budget=Budget(turns=2))
    assert model.requests[1].tools == ()
    assert told.journal.noted[-1].text == "One of two is done."


async def test_a_model_that_will_not_stop_is_answered_for() -> None:
    def brain(request: ModelRequest) -> Turn:
        return asks(call("task_create"))

    told = await told_by(ScriptedModel(brain=brain), ScriptedGate(task_create=done({})), budget=Budget(turns=3))
    assert told.raised is None
    assert told.journal.noted[-1].text == (
        "I had to stop before I was finished: this run has used its 3 turns of the model. Done: task_create (2 times). "
        "Ask me to go on, or ask for less at once."
    )
    assert begun_and_ended(told.events)


async def test_calls_beyond_the_budget_are_told_and_not_made() -> None:
    model = ScriptedModel(asks(*(call("task_create", id=str(n)) for n in range(3))), says("Two of three."))
    gate = ScriptedGate(task_create=done({}))
    told = await told_by(model, gate, budget=Budget(calls=2))
    assert len(gate.requests) == 2
    assert [made.outcome for made in told.journal.noted[0].calls] == ["done", "done", "cancelled"]
    assert "budget_exhausted" in told.journal.noted[0].calls[2].text
    assert model.requests[1].tools == ()


async def test_used_up_tokens_end_the_run_without_asking_the_model_again() -> None:
    model = ScriptedModel(asks(call("task_create")))
    told = await told_by(model, ScriptedGate(task_create=done({})), budget=Budget(tokens=10))
    assert len(model.requests) == 1
    assert "10 tokens. Done: task_create." in told.journal.noted[-1].text


async def test_a_model_that_stands_still_is_ended_by_the_clock() -> None:
    hold = HoldAt(1)
    model = ScriptedModel(says("Half an ", "answer."), pace=hold)
    told = await told_by(model, ScriptedGate(), budget=Budget(seconds=0.02))
    assert told.raised is None
    assert told.journal.noted[-1].text.startswith("Half an \n\nI had to stop before I was finished: this run has used")
    assert model.closed == 1
    assert begun_and_ended(told.events)


async def test_a_call_that_stands_still_is_ended_by_the_clock() -> None:
    gate = ScriptedGate(pace=HoldAt(0), task_create=done({}))
    told = await told_by(ScriptedModel(asks(call("task_create"))), gate, budget=Budget(seconds=0.02))
    assert told.raised is None
    assert [made.outcome for made in told.journal.noted[0].calls] == ["cancelled"]
    assert "Not done: task_create (cancelled)" in told.journal.noted[-1].text


async def test_a_waiting_call_asks_for_approval_and_the_run_is_put_down() -> None:
    model = ScriptedModel(asks(call("task_create", {"title": "a"})))
    told = await told_by(model, ScriptedGate(task_create=waiting), approval_url="http://x/#approval=1")
    call_id = CallId(nth(2))
    assert told.events[:3] == [
        ToolCalled(call_id=call_id, tool="task_create", arguments={"title": "a"}),
        ToolDecided(call_id=call_id, decision="needs_approval", reasons=("level_l1",)),
        ApprovalRequested(
            approval_id=approval_of(call_id),
            call_id=call_id,
            tool="task_create",
            arguments={"title": "a"},
            needs_role="PARTNER",
            four_eyes=True,
            expires_at=EXPIRES,
        ),
    ]
    assert told.events[-1] == RunWaiting(approvals=(approval_of(call_id),))
    assert len(model.requests) == 1
    (made,) = told.journal.noted[-1].calls
    assert (made.call_id, made.outcome) == (call_id, "waiting")
    assert '"url":"http://x/#approval=1"' in made.text
    assert told.journal.kept == []


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (says(), "The model gave no answer. Please ask again, perhaps in other words."),
        (says("  "), "  \n\nThe model gave no answer. Please ask again, perhaps in other words."),
        (refuses(), "The model declined to answer this."),
        (says("Half", reason="length"), "Half\n\n(Cut off here: this is as much as the model can write at once.)"),
        (says("EUR 1", reason="filtered"), "EUR 1\n\n(The provider's filter cut this answer off here.)"),
        (says(reason="filtered"), "(The provider's filter cut this answer off here.)"),
    ],
)
async def test_what_the_model_leaves_unsaid_is_said_for_it(turn: Turn, said: str) -> None:
    told = await told_by(ScriptedModel(turn), ScriptedGate())
    assert told.journal.noted == [Step(message_id=nth(1), text=said)]
    assert begun_and_ended(told.events)


@pytest.mark.parametrize("step", [0, 1])
async def test_what_a_model_used_that_was_cancelled_before_its_first_word_nobody_has_told(step: int) -> None:
    told, pace = Told(ListJournal()), HoldAt(step)
    setup = setup_of(ScriptedModel(asks(call("task_create")), pace=pace), ScriptedGate(), told.journal)
    running = asyncio.create_task(tell(setup, told))
    await pace.reached.wait()
    running.cancel()
    await running
    assert told.events == [RunUsage(input_tokens=0, output_tokens=0, model_calls=1, tool_calls=0, untold_calls=1)]


async def test_a_model_that_refused_to_begin_used_nothing() -> None:
    refused = ModelFailed("model_rejected", "No.", retryable=False)
    told = await told_by(ScriptedModel([refused]), ScriptedGate())
    assert told.events == [RunUsage(input_tokens=0, output_tokens=0, model_calls=1, tool_calls=0)]


async def test_a_failing_model_withdraws_what_it_half_said() -> None:
    failure = ModelFailed("model_interrupted", "The stream broke.", retryable=True)
    told = await told_by(ScriptedModel([TextDelta(text="Half"), failure]), ScriptedGate())
    message = str(nth(1))
    assert told.raised is failure
    assert told.events == [
        MessageStarted(message_id=message),
        MessageDelta(message_id=message, delta="Half"),
        MessageReset(message_id=message, reason="model_interrupted"),
        RunUsage(input_tokens=0, output_tokens=0, model_calls=1, tool_calls=0, untold_calls=1),
    ]
    assert told.journal.noted == []


async def test_a_database_that_goes_away_under_a_call_leaves_the_pair_whole() -> None:
    away = Unavailable("away")

    async def pace() -> None:
        raise away

    told = await told_by(ScriptedModel(asks(call("a"), call("b"))), ScriptedGate(pace=pace))
    assert told.raised is away
    assert begun_and_ended(told.events)
    assert [made.outcome for made in told.journal.noted[0].calls] == ["cancelled", "cancelled"]


SCRIPT = (
    asks(call("knowledge_search"), call("ghost"), words="Looking."),
    asks(call("task_create")),
    says("All ", "done."),
)
STEPS = sum(map(len, SCRIPT)) + 3


@pytest.mark.parametrize("step", range(STEPS))
async def test_cancelled_anywhere_each_beginning_has_its_end_and_each_call_its_result(step: int) -> None:
    hold = HoldAt(step)
    model = ScriptedModel(*SCRIPT, pace=hold)
    gate = ScriptedGate(pace=hold, knowledge_search=done(FOUND), task_create=done({}), ghost=unknown)
    told = Told(ListJournal())
    running = asyncio.create_task(tell(setup_of(model, gate, told.journal), told))
    await hold.reached.wait()
    running.cancel()
    await asyncio.wait([running])
    assert isinstance(told.raised, asyncio.CancelledError)
    assert begun_and_ended(told.events)
    assert isinstance(told.events[-1], RunUsage)
    assert model.closed == len(model.requests)
    completed = {event.call_id: event.outcome for event in told.events if isinstance(event, ToolCompleted)}
    remembered = {made.call_id: made.outcome for made in _calls(told.journal)}
    assert completed.items() <= remembered.items()
    assert all(outcome == "cancelled" for call_id, outcome in remembered.items() if call_id not in completed)


async def test_uncancelled_the_same_script_ends_by_itself() -> None:
    hold = HoldAt(STEPS)
    model = ScriptedModel(*SCRIPT, pace=hold)
    gate = ScriptedGate(pace=hold, knowledge_search=done(FOUND), task_create=done({}))
    told = await told_by(model, gate)
    assert told.raised is None
    assert told.journal.noted[-1].text == "All done."


async def test_a_reader_that_leaves_closes_the_model_and_keeps_the_pairs() -> None:
    journal = ListJournal()
    model = ScriptedModel(asks(call("a"), call("b")))
    events = run_turn(setup_of(model, ScriptedGate(), journal))
    async for event in events:
        if isinstance(event, ToolCalled):
            break
    await events.aclose()
    assert model.closed == 1
    assert [made.outcome for made in journal.noted[0].calls] == ["cancelled", "cancelled"]


def _calls(journal: ListJournal) -> list[MadeCall]:
    return [made for step in journal.noted for made in step.calls]
