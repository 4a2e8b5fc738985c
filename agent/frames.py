"""The native stream: each event as the exact JSON text that is stored and shown; the plain answer is a fold of it."""

import dataclasses
import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

import orjson

from agent.events import (
    AgentEvent,
    Citation,
    Json,
    MessageCompleted,
    ModelUsage,
    RunEnded,
    RunFrame,
    RunWaiting,
    ToolCalled,
)
from agent.json_values import items, mapping, parsed, text
from domain.kernel import RunId


@functools.cache
def _fields(kind: type[AgentEvent] | type[Citation] | type[ModelUsage]) -> tuple[str, ...]:
    return tuple(each.name for each in dataclasses.fields(kind) if each.name not in ("type", "checkpoint"))


def event_json(event: AgentEvent) -> Json:
    """The event's own members as the contract names them; what it does not have is left out."""
    shown: Json = {}
    for name in _fields(type(event)):
        value: object = getattr(event, name)
        if value is not None:
            shown[name] = value
    if event.type == "message.completed":
        shown["citations"] = [citation_json(citation) for citation in event.citations]
    elif event.type == "run.usage" and event.by_model is not None:
        shown["by_model"] = {name: _members_of(part) for name, part in event.by_model.items()}
    return shown


def _members_of(value: Citation | ModelUsage) -> Json:
    """Its members; what it does not have is left out."""
    return {name: each for name in _fields(type(value)) if (each := getattr(value, name)) is not None}


def citation_json(citation: Citation) -> Json:
    """A citation as the contract's readers get it."""
    return _members_of(citation)


def frame_of(event: AgentEvent, run_id: RunId, sequence: int) -> RunFrame:
    """The event's frame; equal events at the same place of the same run give the same bytes."""
    data: Json = {"type": event.type, "run_id": run_id, "sequence": sequence, **event_json(event)}
    checkpoint = event.checkpoint if isinstance(event, MessageCompleted | ToolCalled) else None
    return RunFrame(run_id=run_id, sequence=sequence, type=event.type, data=json_text(data), checkpoint=checkpoint)


def terminal_frame(ended: RunEnded | RunWaiting, run_id: RunId, sequence: int) -> RunFrame:
    """The last frame of a run, for good or for now: what its row says, so that whoever misses it writes the same."""
    return frame_of(ended, run_id, sequence)


def json_text(value: object) -> str:
    """JSON text of any JSON value; ids and times as text, a lone surrogate (which UTF-8 cannot carry) as U+FFFD."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return orjson.dumps(_mended(value)).decode()


def _mended(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {cast(str, _mended(key)): _mended(each) for key, each in cast("dict[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_mended(each) for each in cast("list[object]", value)]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The plain answer: a run's stream folded into one value; `status` is running or waiting before it has ended."""

    conversation_id: str
    run_id: str
    status: str
    text: str
    tool_calls: tuple[Json, ...]
    citations: tuple[object, ...]
    approvals: tuple[Json, ...]
    usage: Json
    model: str = ""
    """By which the run is priced; not a part of the answer."""
    error: Json | None = None

    def json(self) -> Json:
        """As `POST /v1/chat` gives it."""
        shown: Json = {name.name: getattr(self, name.name) for name in dataclasses.fields(self)}
        del shown["model"]
        if self.error is None:
            del shown["error"]
        return shown


@dataclass(slots=True)
class Fold:
    """Gathers frames into a summary; it may be asked at any time, and is whole after the terminal frame."""

    _run: Json = field(default_factory=dict[str, object])
    _messages: dict[str, Json] = field(default_factory=dict[str, Json])
    _calls: dict[str, Json] = field(default_factory=dict[str, Json])
    _approvals: dict[str, Json] = field(default_factory=dict[str, Json])
    _usage: Json = field(default_factory=dict[str, object])
    _ended: Json | None = None
    _waits: bool = False

    def add(self, frame: RunFrame) -> None:
        """Take the next frame in."""
        event = mapping(parsed(frame.data))
        self._waits = frame.type == "run.waiting"
        match frame.type:
            case "run.started":
                self._run = event
            case "message.completed":
                self._messages[text(event.get("message_id"))] = event
            case "message.reset":
                self._messages.pop(text(event.get("message_id")), None)
            case "tool.called" | "tool.decided" | "tool.completed":
                self._calls.setdefault(text(event.get("call_id")), {}).update(_members(event))
                if frame.type == "tool.completed":
                    self._settled(text(event.get("call_id")))
            case "approval.requested":
                self._calls.setdefault(text(event.get("call_id")), {})["outcome"] = "waiting"
                self._approvals[text(event.get("approval_id"))] = _members(event)
            case "approval.decided":
                self._approvals.pop(text(event.get("approval_id")), None)
            case "run.usage":
                self._usage = _members(event)
            case "run.completed" | "run.cancelled" | "run.failed":
                self._ended = event
            case _:  # What only shows how an answer came about: starts, deltas, progress.
                pass

    def summary(self, run_id: RunId) -> RunSummary:
        """The answer so far."""
        last = next(reversed(self._messages.values()), mapping(None))
        ended = self._ended or {}
        return RunSummary(
            conversation_id=text(self._run.get("conversation_id")),
            run_id=str(run_id),
            status=self._status(),
            text=text(last.get("text")),
            tool_calls=tuple(self._calls.values()),
            citations=tuple(items(last.get("citations"))),
            approvals=tuple(self._approvals.values()),
            usage=self._usage,
            model=text(self._run.get("model")),
            error=_members(ended) if ended.get("type") == "run.failed" else None,
        )

    def _settled(self, call_id: str) -> None:
        """Nobody needs to answer any more: also what expired or was cancelled is no question."""
        for approval_id in [key for key, asked in self._approvals.items() if asked.get("call_id") == call_id]:
            del self._approvals[approval_id]

    def _status(self) -> str:
        if self._ended is None:
            return "waiting" if self._waits else "running"
        return text(self._ended.get("type")).removeprefix("run.")


def _members(event: Json) -> Json:
    return {name: value for name, value in event.items() if name not in ("type", "run_id", "sequence")}


async def fold(run_id: RunId, frames: AsyncIterator[RunFrame]) -> RunSummary:
    """The answer of a whole stream."""
    gathered = Fold()
    async for frame in frames:
        gathered.add(frame)
    return gathered.summary(run_id)
