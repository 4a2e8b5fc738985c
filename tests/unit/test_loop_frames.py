"""Frames are the exact bytes of the contract's stream, and the plain answer is a fold of them."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import orjson

from agent.events import (
    AgentEvent,
    ApprovalDecided,
    ApprovalRequested,
    Citation,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    MessageStarted,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunFrame,
    RunStarted,
    RunUsage,
    RunWaiting,
    ToolCalled,
    ToolCompleted,
    ToolDecided,
)
from agent.frames import fold, frame_of, json_text
from domain.kernel import ApprovalId, CallId
from tests.support.turns import CONVERSATION, RUN, nth

CITED = Citation(
    marker=1, document_id="d", chunk_id="c", title="T", uri="glow:d", start=0, end=3, quote="abc", section="2"
)
ASKED = ApprovalRequested(
    approval_id=ApprovalId(nth(8)),
    call_id=CallId(nth(7)),
    tool="task_run",
    arguments={"task_id": "t"},
    needs_role="PARTNER",
    four_eyes=True,
    expires_at=datetime(2026, 11, 23, tzinfo=UTC),
)
STARTED = RunStarted(conversation_id=CONVERSATION, agent="assistant", model="offline")


def frames(*events: AgentEvent) -> list[RunFrame]:
    """Events as a run would number them."""
    return [frame_of(event, RUN, n) for n, event in enumerate(events, start=1)]


async def told(listed: Sequence[RunFrame]) -> AsyncIterator[RunFrame]:
    """The frames as a stream."""
    for frame in listed:
        yield frame


def test_a_frame_begins_with_type_run_and_sequence_and_leaves_out_what_is_not_there() -> None:
    frame = frame_of(ToolCompleted(call_id=CallId(nth(7)), outcome="done", result={"a": None}), RUN, 4)
    assert frame.data == (
        f'{{"type":"tool.completed","run_id":"{RUN}","sequence":4,"call_id":"{nth(7)}","outcome":"done",'
        '"result":{"a":null}}'
    )
    assert (frame.type, frame.sequence, frame.terminal) == ("tool.completed", 4, False)


def test_a_message_carries_its_citations_even_none() -> None:
    bare = orjson.loads(frame_of(MessageCompleted(message_id="m", text="t"), RUN, 1).data)
    assert bare["citations"] == []
    cited = orjson.loads(frame_of(MessageCompleted(message_id="m", text="t", citations=(CITED,)), RUN, 1).data)
    assert cited["citations"] == [
        {
            "marker": 1,
            "document_id": "d",
            "chunk_id": "c",
            "title": "T",
            "uri": "glow:d",
            "start": 0,
            "end": 3,
            "quote": "abc",
            "section": "2",
        }
    ]


def test_half_a_surrogate_pair_and_a_null_character_can_be_told() -> None:
    assert orjson.loads(json_text({"a\ud800": ["x\udfff", "\x00"]})) == {"a\ufffd": ["x\ufffd", "\x00"]}


async def test_an_answer_is_the_fold_of_its_stream() -> None:
    call_id = CallId(nth(7))
    summary = await fold(
        RUN,
        told(
            frames(
                STARTED,
                MessageStarted(message_id="a"),
                MessageDelta(message_id="a", delta="Let me "),
                MessageCompleted(message_id="a", text="Let me look."),
                ToolCalled(call_id=call_id, tool="knowledge_search", arguments={"query": "q"}),
                ToolDecided(call_id=call_id, decision="allow", reasons=("within_role",)),
                ToolCompleted(call_id=call_id, outcome="done", result={"items": []}),
                MessageStarted(message_id="b"),
                MessageCompleted(message_id="b", text="Yes [1].", citations=(CITED,)),
                RunUsage(input_tokens=1, output_tokens=2, model_calls=3, tool_calls=4),
                RunCompleted(),
            )
        ),
    )
    assert summary.json() == {
        "conversation_id": str(CONVERSATION),
        "run_id": str(RUN),
        "status": "completed",
        "text": "Yes [1].",
        "tool_calls": (
            {
                "call_id": str(call_id),
                "tool": "knowledge_search",
                "arguments": {"query": "q"},
                "decision": "allow",
                "reasons": ["within_role"],
                "outcome": "done",
                "result": {"items": []},
            },
        ),
        "citations": (
            {
                "marker": 1,
                "document_id": "d",
                "chunk_id": "c",
                "title": "T",
                "uri": "glow:d",
                "start": 0,
                "end": 3,
                "quote": "abc",
                "section": "2",
            },
        ),
        "approvals": (),
        "usage": {"input_tokens": 1, "output_tokens": 2, "model_calls": 3, "tool_calls": 4},
    }


async def test_an_answer_that_left_a_question_to_a_person_waits_until_it_is_settled() -> None:
    waits = RunWaiting(approvals=(ApprovalId(nth(8)),))
    summary = await fold(RUN, told(frames(STARTED, ASKED, waits)))
    assert summary.status == "waiting"
    assert [approval["approval_id"] for approval in summary.approvals] == [str(nth(8))]
    assert [made["outcome"] for made in summary.tool_calls] == ["waiting"]
    decided = ApprovalDecided(approval_id=ApprovalId(nth(8)), decision="approve", by="x")
    assert (await fold(RUN, told(frames(STARTED, ASKED, waits, decided)))).status == "running"
    expired = ToolCompleted(call_id=ASKED.call_id, outcome="expired")
    summary = await fold(RUN, told(frames(STARTED, ASKED, waits, expired, RunCompleted())))
    assert (summary.status, summary.approvals) == ("completed", ())


async def test_withdrawn_text_is_no_part_of_the_answer_and_a_failure_says_why() -> None:
    failed = RunFailed(code="model_timeout", message="Too late.", retryable=True)
    half = MessageCompleted(message_id="a", text="Half")
    reset = MessageReset(message_id="a", reason="model_timeout")
    summary = await fold(RUN, told(frames(STARTED, half, reset, failed)))
    assert (summary.status, summary.text) == ("failed", "")
    assert summary.error == {"code": "model_timeout", "message": "Too late.", "retryable": True}


async def test_an_unfinished_or_cancelled_run_says_so() -> None:
    assert (await fold(RUN, told(frames(STARTED)))).status == "running"
    assert (await fold(RUN, told(frames(STARTED, RunCancelled())))).status == "cancelled"
