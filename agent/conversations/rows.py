"""Messages, errors and usage as the text their rows hold, and back."""

from datetime import datetime
from typing import cast
from uuid import UUID

import orjson

from agent.conversations.model import MadeCall, Said, Step
from agent.events import Citation, Json, RunFailed, RunUsage
from agent.frames import citation_json, event_json, json_text
from domain.kernel import CallId, Outcome, RunId


def user_content(message: str) -> str:
    """A person's message as it is stored."""
    return json_text({"text": message})


def step_content(step: Step) -> str:
    """A step as it is stored: its words, its calls with their results, its citations."""
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
    return json_text({"text": step.text, "calls": calls, "citations": list(map(citation_json, step.citations))})


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
