"""Whole turns of the offline model: the call it makes, and the answer it writes from what came of it."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.model import (
    AssistantMessage,
    CallRequested,
    Finished,
    Message,
    ModelEvent,
    ModelRequest,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolOffer,
    ToolResultMessage,
    UserMessage,
)
from agent.offline import OfflineModel

Json = dict[str, object]
NOTHING: Json = {}
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TASK, RUN, CALL = (f"{digit * 8}-8a4b-4a37-9e32-0f7b8f3f8a11" for digit in "abc")


def offer(name: str, **properties: Json) -> ToolOffer:
    return ToolOffer(name=name, description="", parameters={"type": "object", "properties": properties})


TOOLS = (
    offer("knowledge_search", query={"type": "string", "maxLength": 60}, limit={"type": "integer", "maximum": 5}),
    offer("knowledge_read", document_id={}, page={}),
    offer("task_create", title={}, due_on={}, kind={"enum": ["refresh_analytics"]}),
    offer("task_list", status={"enum": ["open", "in_progress", "done"]}, limit={}),
    offer("task_get", task_id={}),
    offer("task_run", task_id={}),
    offer("task_run_get", task_run_id={}),
    offer("autonomy_query", tool={}),
    offer("analytics_report", report={}, group_by={}, **dict.fromkeys(("from", "to"), NOTHING)),
    offer("call_get", call_id={}),
    offer("agent_handover", agent={"type": "string", "enum": ["audit", "librarian", "tax"]}, reason={}),
)


class Chat:
    """A conversation with the offline model in which the test plays the tools."""

    def __init__(self, message: str, tools: Sequence[ToolOffer] = TOOLS) -> None:
        self.messages: list[Message] = [SystemMessage(text="Be brief."), UserMessage(text=message)]
        self.tools = tools
        self.calls: list[tuple[str, object]] = []
        self.text = ""

    def turn(self) -> list[ModelEvent]:
        async def whole() -> list[ModelEvent]:
            request = ModelRequest(messages=tuple(self.messages), tools=self.tools)
            return [event async for event in OfflineModel(clock=lambda: NOW).stream(request)]

        return asyncio.run(whole())

    def play(self, *envelopes: Json) -> str:
        """Answers the model's calls with the envelopes, in order; gives the text it ends with."""
        left = list(envelopes)
        while (call := self._call_or_text()) is not None:
            self.messages.append(AssistantMessage(text="", calls=(call,)))
            self.calls.append((call.name, orjson.loads(call.arguments)))
            result = orjson.dumps(left.pop(0)).decode()
            self.messages.append(ToolResultMessage(provider_id=call.provider_id, name=call.name, text=result))
        assert not left
        self.messages.append(AssistantMessage(text=self.text))
        return self.text

    def _call_or_text(self) -> ToolCall | None:
        events = self.turn()
        match events:
            case [CallRequested(call=call), Finished(reason="calls")]:
                return call
            case [*deltas, Finished(reason="stop")]:
                self.text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
                return None
            case _:
                pytest.fail(f"an odd turn: {events}")

    def then(self, message: str) -> "Chat":
        self.messages.append(UserMessage(text=message))
        self.calls.clear()
        return self


def done(**result: object) -> Json:
    return {"outcome": "done", "call_id": CALL, "verdict": {"decision": "allow", "reasons": []}, "result": result}


FOUND = done(
    mode="lexical",
    items=[
        {
            "marker": 2,
            "document_id": CALL,
            "chunk_id": CALL,
            "title": "Engagement letters",
            "section": "EL-4.2",
            "text": "The letter must be renewed every twelve months. It is signed by the partner.",
            "trust": "internal",
        }
    ],
)
CREATED = done(task={"task_id": TASK, "title": "Refresh the analytics", "kind": "refresh_analytics"})
STARTED = done(task_run={"task_run_id": RUN, "status": "queued"})


def test_a_question_is_searched_for_and_answered_with_quotes_and_markers() -> None:
    chat = Chat("When must the engagement letter be renewed, and who signs it?")
    answer = chat.play(FOUND)
    question = "When must the engagement letter be renewed, and who signs it?"
    assert chat.calls == [("knowledge_search", {"query": question[:60], "limit": 5})]
    assert answer.startswith("From the documents:")
    quote = "“The letter must be renewed every twelve months. It is signed by the partner.” [2]"
    assert f"{quote} (Engagement letters, EL-4.2)" in answer
    assert "offline model" in answer
    assert "lexical" in answer


def test_nothing_found_is_said() -> None:
    assert Chat("Who is the king?").play(done(mode="lexical", items=[])).startswith("Not found in the documents.")


def test_what_only_touches_the_question_is_not_sold_as_an_answer() -> None:
    answer = Chat("Which pension fund must the cook of the partner join?").play(FOUND)
    assert answer.startswith("Not found in the documents. The nearest that I found:")


def test_text_comes_in_small_deltas_that_make_up_the_whole() -> None:
    deltas = [event.text for event in Chat("/help").turn() if isinstance(event, TextDelta)]
    assert len(deltas) > 20
    assert max(map(len, deltas)) < 60
    assert "".join(deltas) == Chat("/help").play()


def test_a_task_is_created_and_run_in_two_steps() -> None:
    chat = Chat("create a task to refresh the analytics and run it")
    answer = chat.play(CREATED, STARTED)
    assert chat.calls == [
        ("task_create", {"title": "Refresh the analytics", "kind": "refresh_analytics"}),
        ("task_run", {"task_id": TASK}),
    ]
    assert f"task_id {TASK}" in answer
    assert f"queued (task_run_id {RUN})" in answer


FOLLOWED = ("task_run_get", {"task_run_id": RUN, "wait_s": 20})


def waiting_tools() -> list[ToolOffer]:
    """Those of which task_run_get can wait."""
    waits = offer("task_run_get", task_run_id={}, wait_s={"type": "integer", "maximum": 20})
    return [*(tool for tool in TOOLS if tool.name != waits.name), waits]


def test_a_run_that_was_begun_is_followed_and_its_end_told() -> None:
    chat = Chat("create a task to refresh the analytics and run it", tools=waiting_tools())
    ended = done(task_run={"task_run_id": RUN, "status": "completed", "message": "All done.", "steps": []})
    answer = chat.play(CREATED, STARTED, ended)
    assert chat.calls[2:] == [FOLLOWED]
    assert f"(task_id {TASK}).\n\nThe run is completed (task_run_id {RUN}).\nAll done.\n" in answer


@pytest.mark.parametrize(("status", "goes_on"), [("running", True), ("queued", True), ("waiting", False)])
def test_of_a_run_that_is_not_over_it_says_how_it_is_followed(status: str, goes_on: bool) -> None:
    chat = Chat(f"run task {TASK}", tools=waiting_tools())
    answer = chat.play(STARTED, done(task_run={"task_run_id": RUN, "status": status}))
    assert answer.startswith(f"The run is {status} (task_run_id {RUN}).")
    assert ("It goes on in the background." in answer) == goes_on


def test_of_a_run_that_cannot_be_followed_it_says_that_it_began() -> None:
    failed: Json = {"outcome": "failed", "error": {"code": "timeout", "message": "Too late."}}
    answer = Chat(f"run task {TASK}", tools=waiting_tools()).play(STARTED, failed)
    assert answer.startswith(f"The task runs in the background: queued (task_run_id {RUN}).")


def test_it_means_what_was_last_spoken_of() -> None:
    chat = Chat("create a task to refresh the analytics")
    chat.play(CREATED)
    chat.then("run it").play(STARTED)
    assert chat.calls == [("task_run", {"task_id": TASK})]
    chat.then("is it done?").play(
        done(task_run={"task_run_id": RUN, "status": "completed", "steps": [{"name": "by_tool"}]})
    )
    assert chat.calls == [("task_run_get", {"task_run_id": RUN})]
    assert "The run is completed" in chat.text


def test_the_run_that_was_started_by_a_title_is_followed_in_later_messages() -> None:
    chat = Chat("run task send reminder")
    chat.play(done(items=[{"task_id": TASK, "title": "Send reminder"}]), STARTED)
    for message in ("status of the run", "What is the status of the run?", "how is the run going?", "status"):
        chat.then(message).play(done(task_run={"task_run_id": RUN, "status": "running"}))
        assert chat.calls == [("task_run_get", {"task_run_id": RUN})]


def test_without_a_run_in_the_conversation_it_says_what_to_give() -> None:
    answer = Chat("status of the run").play()
    assert "task_run_id" in answer
    assert "show task TITLE" in answer


def test_a_waiting_call_is_followed_to_its_end() -> None:
    chat = Chat("create a task to refresh the analytics")
    chat.play(WAITING)
    chat.then("was it approved?").play(done(tool="task_create", outcome="done", approval={"state": "executed"}))
    assert chat.calls == [("call_get", {"call_id": CALL})]
    assert "The call of task_create is done.\n- approval: executed" in chat.text
    assert "Which call do you mean?" in Chat("what became of it?").play()


def test_what_was_approved_meanwhile_can_be_gone_on_with() -> None:
    chat = Chat("create a task to refresh the analytics")
    chat.play(WAITING)
    waiting = chat.messages[3]
    assert isinstance(waiting, ToolResultMessage)
    approved = orjson.dumps({"source": "tool task_create", "trust": "internal", **CREATED}).decode()
    chat.messages[3] = ToolResultMessage(provider_id=waiting.provider_id, name="task_create", text=approved)
    chat.then("run it").play(STARTED)
    assert chat.calls == [("task_run", {"task_id": TASK})]


def test_a_task_is_found_by_its_title() -> None:
    listed = done(
        items=[{"task_id": TASK, "title": "Send reminder"}, {"task_id": CALL, "title": "Send reminder again"}]
    )
    chat = Chat("run task send reminder")
    chat.play(listed, STARTED)
    assert chat.calls == [("task_list", {"limit": 100}), ("task_run", {"task_id": TASK})]


def test_a_title_that_fits_several_or_none_is_asked_back() -> None:
    tasks = [{"task_id": TASK, "title": "Send A", "status": "open"}, {"task_id": CALL, "title": "Send B"}]
    assert "2 tasks are called something like “send”" in Chat("show task send").play(done(items=tasks))
    assert "I find no task called “sing”" in Chat("run task sing").play(done(items=tasks))
    assert "Which task do you mean?" in Chat("run it").play(done(items=tasks))
    assert "There are no tasks." in Chat("run it").play(done(items=[]))
    assert "Which run do you mean?" in Chat("status of the run").play()


def test_tasks_are_listed_by_the_status_that_was_named() -> None:
    chat = Chat("show my open tasks")
    answer = chat.play(done(items=[{"task_id": TASK, "title": "A", "status": "open", "due_on": "2026-12-01"}] * 20))
    assert chat.calls == [("task_list", {"status": "open", "limit": 100})]
    assert answer.startswith("20 tasks:\n- “A”: open, due 2026-12-01")
    assert "... and 5 more." in answer
    assert Chat("list tasks").play(done(items=[])).startswith("There are no such tasks.")


def test_a_task_is_shown_with_its_latest_run() -> None:
    shown = {"task_id": TASK, "title": "A", "status": "open", "latest_run": {"task_run_id": RUN, "status": "failed"}}
    assert f"latest run: failed (task_run_id {RUN})" in Chat(f"show task {TASK}").play(done(task=shown))


def test_autonomy_is_told_with_the_verdict_on_a_named_tool() -> None:
    chat = Chat("may you run task_run?")
    answer = chat.play(
        done(
            level="L1",
            floor="L0",
            ceiling="L2",
            autopilot_disabled=False,
            allowed={"read": "allow", "prepare": "needs_approval"},
            jobs=[{"kind": "refresh_analytics", "decision": "allow"}],
            pending_approvals=[{"id": CALL, "tool": "task_create", "needs_role": "MANAGER"}],
            tool={"name": "task_run", "known": True, "decision": "needs_approval", "reasons": ["below-minimum"]},
        )
    )
    assert chat.calls == [("autonomy_query", {"tool": "task_run"})]
    assert answer.startswith("task_run would now be: needs a person's approval (below-minimum).")
    assert "level in force is L1 (Suggest), within L0 to L2" in answer
    assert "- prepare: needs a person's approval" in answer
    assert "- workflow refresh_analytics: allowed" in answer
    assert f"Approvals that wait: 1.\n- task_create, for MANAGER or above to decide (approval {CALL})" in answer
    unknown = done(tool={"name": "fly_away", "known": False})
    assert "There is no tool fly_away." in Chat("/autonomy fly_away").play(unknown)


def test_a_report_shows_the_figures_of_the_period() -> None:
    chat = Chat("How were the tools used last week?")
    answer = chat.play(
        done(
            **{"from": "2026-11-09T00:00:00+00:00", "to": "2026-11-16T00:00:00+00:00"},
            summary="7 calls.",
            headline=[{"label": "Calls", "value": 7}, {"label": "Median latency", "value": 1.25, "unit": "ms"}],
            table={"columns": ["tool", "calls"], "rows": [["task_list", 7], [None, 0]]},
        )
    )
    arguments = {"report": "tool_use", "group_by": "tool", "from": "2026-11-09", "to": "2026-11-15"}
    assert chat.calls == [("analytics_report", arguments)]
    assert (
        "2026-11-09 to 2026-11-16:\n7 calls.\n- Calls: 7\n- Median latency: 1.2 ms\ntool | calls\ntask_list | 7\n- | 0"
        in answer
    )


def test_a_call_and_a_document_are_shown() -> None:
    shown: Json = {"tool": "task_run", "outcome": "rejected", "decision": "needs_approval", "reasons": ["r"]}
    shown["approval"] = {"state": "rejected", "decided_by": "partner@acme.example", "comment": "Not now."}
    answer = Chat(f"/call {CALL}").play(done(**shown))
    assert answer.startswith(
        "The call of task_run is rejected.\n- decision: needs a person's approval (r)\n"
        "- approval: rejected, by partner@acme.example\n- comment: Not now."
    )
    assert Chat(f"read document {CALL}").play(done(title="T", text="Words.")).startswith("T:\nWords.")
    assert Chat(f"read document {CALL}").play(done(text="")).startswith("There is no text there.")


WAITING: Json = {
    "outcome": "waiting",
    "call_id": CALL,
    "verdict": {"decision": "needs_approval", "reasons": ["prepare-at-L1"]},
    "approval": {
        "id": CALL,
        "needs_role": "MANAGER",
        "four_eyes": True,
        "expires_at": "2026-11-23T12:00:00+00:00",
        "url": "http://127.0.0.1:8000/#approval=1",
    },
}


def test_a_waiting_call_says_who_may_decide_where_and_why() -> None:
    answer = Chat("create a task to call the client and run it").play(WAITING)
    assert answer.startswith("I asked to create the task; it waits for a person's approval")
    for part in (
        "MANAGER or above, but not the person who asked",
        "2026-11-23 12:00 UTC",
        "#approval=1",
        "prepare-at-L1",
    ):
        assert part in answer


def test_an_approval_is_named_once() -> None:
    approval: Json = {"id": CALL, "url": f"http://127.0.0.1:8000/#approval={CALL}"}
    answer = Chat("create a task to call the client").play({"outcome": "waiting", "approval": approval})
    assert answer.count(CALL) == 1
    without_address: Json = {"outcome": "waiting", "approval": {"id": CALL}}
    assert f"- approval {CALL}" in Chat("create a task to call the client").play(without_address)


@pytest.mark.parametrize(
    ("envelope", "words"),
    [
        (
            {"outcome": "denied", "verdict": {"decision": "deny", "reasons": ["role_too_low"]}},
            "I may not create the task.\n- the role does not suffice: role_too_low",
        ),
        ({"outcome": "denied", "error": {"message": "Not you."}}, "I may not create the task.\n- Not you."),
        (
            {
                "outcome": "invalid",
                "error": {"message": "Bad.", "details": [{}, {"path": "/title", "message": "long"}]},
            },
            "I could not create the task: Bad.\n- /title: long",
        ),
        (
            {"outcome": "failed", "error": {"message": "Broken.", "reference": "ab12"}},
            "I could not create the task: Broken. (reference ab12)",
        ),
        ({"outcome": "failed"}, "I could not create the task: the call failed."),
        ({"outcome": "expired"}, "I did not create the task: the call was expired."),
        (
            {"outcome": "rejected", "error": {"message": "Not now."}},
            "I did not create the task: the call was rejected. Not now.",
        ),
        ({"outcome": "dry_run"}, "Nothing was done"),
        ({"outcome": "waiting"}, "I asked to create the task; it waits"),
        ({"outcome": 7}, "I asked to create the task, but cannot read how it ended."),
        ({}, "I asked to create the task, but cannot read how it ended."),
    ],
)
def test_each_ending_without_a_result_is_told(envelope: Json, words: str) -> None:
    assert Chat("create a task to call the client").play(envelope).startswith(words)


def test_a_task_that_was_created_is_told_though_its_run_was_refused() -> None:
    refused: Json = {"outcome": "denied", "verdict": {"decision": "deny", "reasons": ["no"]}}
    answer = Chat("create a task to refresh the analytics and run it").play(CREATED, refused)
    assert "I created the task" in answer
    assert "I may not run the task." in answer


def test_only_offered_tools_are_called() -> None:
    assert "task_create is not offered to you" in Chat("create a task to rest", tools=TOOLS[:1]).play()


def test_without_tools_left_it_answers_from_what_it_has() -> None:
    chat = Chat("When must the letter be renewed?")
    chat.play(FOUND)
    again = Chat("", tools=())
    again.messages = chat.messages[:-1]
    assert again.play() == chat.text


def test_envelopes_are_found_inside_words_around_them() -> None:
    chat = Chat("When must the letter be renewed?")
    chat.play(FOUND)
    chat.messages.pop()
    result = chat.messages.pop()
    assert isinstance(result, ToolResultMessage)
    chat.messages.append(
        ToolResultMessage(provider_id="a", name="knowledge_search", text=f"Data:\n{result.text}\n(end)")
    )
    assert chat.play().startswith("From the documents:")


def test_ids_of_calls_are_never_used_twice() -> None:
    chat = Chat("list tasks")
    for _ in range(3):
        chat.play(done(items=[]))
        chat.then("list tasks")
    ids = [
        call.provider_id for message in chat.messages if isinstance(message, AssistantMessage) for call in message.calls
    ]
    assert ids == ["offline_1", "offline_2", "offline_3"]


def test_without_a_message_it_says_what_it_can_do() -> None:
    chat = Chat("")
    chat.messages = []
    assert "This is what I understand" in chat.play()


def test_every_answer_names_the_offline_model() -> None:
    for message, envelopes in (("/help", []), ("list tasks", [done(items=[])]), ("Who?", [done(items=[])])):
        assert "offline model" in Chat(message).play(*envelopes)
    assert OfflineModel().name == "offline"


WORDS = """
    items task task_run table rows columns headline label value title text marker section page steps tool verdict
    reasons decision level allowed pending_approvals latest_run failure call error error_code duration_ms from to mode
"""
KEYS = st.sampled_from(re.findall(r"\w+", WORDS))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(
    message=st.sampled_from(
        [
            *("Who?", "create a task x and run it", "list tasks", "run task x", "/autonomy", "/report"),
            *(f"show task {TASK}", f"run task {TASK}", f"/status {RUN}", f"/call {CALL}", f"read document {CALL}"),
        ]
    ),
    results=st.lists(st.dictionaries(KEYS, JSON, max_size=6), min_size=3, max_size=3),
    outcome=st.sampled_from(["done", "denied", "waiting", "invalid", "failed", "cancelled", "?"]),
)
# Results are drawn slowly where the machine is busy, which says nothing of the model.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_result_however_odd_stops_an_answer(message: str, results: list[Json], outcome: str) -> None:
    chat = Chat(message)
    for result in results:
        if (events := chat.turn()) and isinstance(events[0], CallRequested):
            call = events[0].call
            envelope: Json = {
                "outcome": outcome,
                "result": result,
                "error": result,
                "verdict": result,
                "approval": result,
            }
            chat.messages.append(AssistantMessage(text="", calls=(call,)))
            chat.messages.append(
                ToolResultMessage(provider_id="a", name=call.name, text=orjson.dumps(envelope).decode())
            )
    assert chat.turn()[-1] == Finished(reason="stop")


HANDED = done(agent="tax", title="The tax agent", description="Works on returns.")


@pytest.mark.parametrize(
    ("message", "agent"),
    [
        ("Talk to the tax agent", "tax"),
        ("please let me speak with the librarian.", "librarian"),
        ("hand me over to the audit agent", "audit"),
        ("Switch to Tax agent!", "tax"),
        ("/agent tax", "tax"),
    ],
)
def test_who_asks_for_another_agent_is_handed_over_and_that_one_says_so(message: str, agent: str) -> None:
    chat = Chat(message)
    answer = chat.play(HANDED)
    assert chat.calls == [("agent_handover", {"agent": agent})]
    assert answer.startswith("The tax agent goes on with you from here.\nWorks on returns.")


def test_who_asks_for_nobody_is_told_whom_there_is() -> None:
    chat = Chat("talk to the weather agent")
    assert "there are: audit, librarian, tax" in chat.play()


@pytest.mark.parametrize("message", ["talk to the client about the letter", "go to the bank", "who is the tax agent"])
def test_not_every_talk_is_a_handover(message: str) -> None:
    chat = Chat(message)
    chat.play(FOUND)
    assert [tool for tool, _ in chat.calls] == ["knowledge_search"]
