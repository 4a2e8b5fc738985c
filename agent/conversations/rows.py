"""Rows become types here, and what rows hold as text is written here."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast
from uuid import UUID

import orjson

from agent.conversations.model import Conversation, LedgerCall, MadeCall, Run, RunStatus, Said, Step, Turn
from agent.events import Citation, Json, RunFailed, RunUsage
from agent.frames import citation_json, event_json, json_text
from agent.json_values import parsed
from agent.model import ProviderItem
from domain.kernel import CallId, ConversationId, EngagementId, Level, Outcome, RunId
from domain.storage.postgres import Row


def user_content(message: str) -> str:
    """A person's message as it is stored."""
    return json_text({"text": message})


def step_content(step: Step) -> str:
    """A step as it is stored: its words, its calls with their results, its citations, what its provider wants back."""
    calls: list[Json] = [
        {
            "call_id": call.call_id,
            "provider_id": call.provider_id,
            "tool": call.tool,
            "arguments": call.arguments,
            "outcome": call.outcome,
            "text": call.text,
        }
        for call in step.calls
    ]
    stored: Json = {"text": step.text, "calls": calls, "citations": list(map(citation_json, step.citations))}
    if step.provider_items:
        stored["provider_items"] = [
            {"maker": item.maker, "content": item.content, "before": item.before} for item in step.provider_items
        ]
    return json_text(stored)


def user_text(content: str) -> str:
    """The words of a person's stored message."""
    return cast(str, _object(content)["text"])


def step_of(message_id: UUID, content: str) -> Step:
    """A stored step."""
    raw = _object(content)
    return Step(
        message_id=message_id,
        text=cast(str, raw["text"]),
        calls=tuple(_call(each) for each in cast("list[dict[str, str]]", raw["calls"])),
        citations=tuple(_citation(each) for each in cast("list[Json]", raw["citations"])),
        provider_items=tuple(_provider_item(each) for each in cast("list[Json]", raw.get("provider_items", []))),
    )


def said_of(message_id: UUID, run_id: RunId, role: str, content: str, created_at: datetime) -> Said:
    """A stored message as a reader sees it."""
    step = Step(message_id=message_id, text=user_text(content)) if role == "user" else step_of(message_id, content)
    return Said(
        message_id=message_id,
        run_id=run_id,
        role="user" if role == "user" else "assistant",
        text=step.text,
        tool_calls=step.calls,
        citations=step.citations,
        created_at=created_at,
    )


def error_content(error: RunFailed | None) -> str | None:
    """How a run failed, as its row holds it."""
    return None if error is None else json_text(event_json(error))


def error_of(content: str | None) -> RunFailed | None:
    """How a run failed, from its row."""
    if content is None:
        return None
    raw = _object(content)
    return RunFailed(
        code=cast(str, raw["code"]), message=cast(str, raw["message"]), retryable=cast(bool, raw["retryable"])
    )


def usage_content(usage: RunUsage | None) -> str | None:
    """What a run used, as its row holds it."""
    return None if usage is None else json_text(event_json(usage))


def usage_of(content: str | None) -> RunUsage | None:
    """What a run used, from its row."""
    if content is None:
        return None
    raw = cast("dict[str, int]", _object(content))
    return RunUsage(
        input_tokens=raw["input_tokens"],
        output_tokens=raw["output_tokens"],
        model_calls=raw["model_calls"],
        tool_calls=raw["tool_calls"],
    )


def turns_of(rows: Iterable[Row]) -> list[Turn]:
    """Turns from messages in order; one whose message lies beyond the limit is left out with all its steps."""
    turns: list[Turn] = []
    steps: list[Step] = []
    for row in rows:
        if row["role"] == "user":
            steps = []
            turns.append(_turn_of(row))
        elif turns:
            steps.append(step_of(row["message_id"], row["content"]))
            turns[-1] = _with_steps(turns[-1], steps)
    return turns


def _turn_of(row: Row) -> Turn:
    status = cast(RunStatus, row["status"])
    return Turn(run_id=RunId(row["run_id"]), status=status, message=user_text(row["content"]))


def _with_steps(turn: Turn, steps: Sequence[Step]) -> Turn:
    return replace(turn, steps=tuple(steps))


def with_unkept(turn: Turn, calls: Sequence[LedgerCall]) -> Turn:
    """The turn, with those of the record's calls that none of its steps tells of."""
    told = {call.call_id for step in turn.steps for call in step.calls}
    unkept = tuple(call for call in calls if call.call_id not in told)
    return replace(turn, unkept=unkept)


def call_now(row: Row) -> Json:
    """A call's envelope as the record and its approval have it now."""
    outcome: str = "expired" if row["lapsed"] else row["outcome"]
    shown: Json = {"outcome": outcome, "call_id": str(row["call_id"])}
    if row["result"] is not None:
        shown["result"] = parsed(row["result"])
    if row["error_code"] is not None:
        shown["error"] = {"code": row["error_code"]}
    if row["approval_id"] is not None:
        approval: Json = {"id": str(row["approval_id"]), "state": "expired" if row["lapsed"] else row["state"]}
        if row["comment"]:
            approval["comment"] = row["comment"]
        shown["approval"] = approval
    return shown


def conversation_or_none(row: Row | None) -> Conversation | None:
    """A stored conversation, where there is one."""
    return None if row is None else conversation_of(row)


def conversation_of(row: Row) -> Conversation:
    """A stored conversation."""
    return Conversation(
        conversation_id=ConversationId(row["conversation_id"]),
        title=row["title"],
        agent=row["agent"],
        engagement_id=None if row["engagement_id"] is None else EngagementId(row["engagement_id"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        agent_ceiling=Level(row["agent_ceiling"]),
    )


def run_of(row: Row) -> Run:
    """A stored run."""
    return Run(
        run_id=RunId(row["run_id"]),
        conversation_id=ConversationId(row["conversation_id"]),
        agent=row["agent"],
        model=row["model"],
        status=cast(RunStatus, row["status"]),
        error=error_of(row["error"]),
        usage=usage_of(row["usage"]),
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        last_sequence=row["last_sequence"],
        ended_in_log=row["ended_in_log"],
    )


def _object(content: str) -> Json:
    return cast(Json, orjson.loads(content))


def _call(raw: dict[str, str]) -> MadeCall:
    return MadeCall(
        call_id=CallId(UUID(raw["call_id"])),
        provider_id=raw["provider_id"],
        tool=raw["tool"],
        arguments=raw["arguments"],
        outcome=cast(Outcome, raw["outcome"]),
        text=raw["text"],
    )


def _citation(raw: Json) -> Citation:
    return Citation(
        marker=cast(int, raw["marker"]),
        document_id=cast(str, raw["document_id"]),
        chunk_id=cast(str, raw["chunk_id"]),
        title=cast(str, raw["title"]),
        uri=cast(str, raw["uri"]),
        start=cast(int, raw["start"]),
        end=cast(int, raw["end"]),
        quote=cast(str, raw["quote"]),
        page=cast("int | None", raw.get("page")),
        section=cast("str | None", raw.get("section")),
    )


def _provider_item(raw: Json) -> ProviderItem:
    return ProviderItem(
        maker=cast(str, raw["maker"]), content=cast(str, raw["content"]), before=cast("str | None", raw["before"])
    )
