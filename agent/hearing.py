"""One turn of the model as it is heard, and what is to be done next."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar, assert_never, runtime_checkable

from agent.budget import Limit, Spent
from agent.events import AgentEvent, MessageDelta, MessageStarted
from agent.model import (
    AssistantMessage,
    CallRequested,
    Finished,
    ItemMade,
    Model,
    ModelEvent,
    ModelRequest,
    ProviderItem,
    TextDelta,
    ToolCall,
    Usage,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Say:
    """The answer is complete."""


@dataclass(frozen=True, slots=True)
class Call:
    """The model waits for the results of these."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Something is used up; the loop says so, since the model cannot."""

    limit: Limit


Unsaid = Literal["silence", "refusal", "length"]


@dataclass(frozen=True, slots=True)
class Explain:
    """The model left something unsaid: it was silent, would not answer, or was cut off."""

    about: Unsaid


NextStep = Say | Call | Stop | Explain


@dataclass(slots=True, kw_only=True)
class Heard:
    """One turn of the model, as far as it has been heard."""

    message_id: str
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    provider_items: list[ProviderItem] = field(default_factory=list[ProviderItem])
    ended: Literal["stop", "calls", "length", "refusal"] = "stop"
    out_of_time: bool = False

    def say(self, words: str) -> Iterator[AgentEvent]:
        """Words of the turn; its message begins with the first of them."""
        if not words:
            return
        if not self.text:
            yield MessageStarted(message_id=self.message_id)
        self.text += words
        yield MessageDelta(message_id=self.message_id, delta=words)

    def add(self, words: str) -> Iterator[AgentEvent]:
        """Words of the loop's own, set apart from what the model said."""
        yield from self.say(f"\n\n{words}" if self.text else words)


def next_step(heard: Heard, limit: Limit | None) -> NextStep:
    """What follows a turn of the model; at a limit it could only answer."""
    if heard.out_of_time:
        return Stop("seconds")
    silent = not heard.text.strip()
    if limit is not None and (heard.calls or silent):
        return Stop(limit)
    if heard.calls:
        return Call(tuple(heard.calls))
    if heard.ended == "length":
        return Explain("length")
    if silent:
        return Explain("refusal" if heard.ended == "refusal" else "silence")
    return Say()


async def hear(
    model: Model, request: ModelRequest, heard: Heard, spent: Spent, deadline: float
) -> AsyncGenerator[AgentEvent, None]:
    """The turn's words as they come; the rest of it gathers in `heard`, its cost in `spent`.

    `deadline`: in the event loop's time; from then on nothing more is heard. Closing the generator closes the stream.
    Raises  ModelFailed: as the model raised it.
    """
    spent.turns += 1
    used = _Used()
    try:
        async with _closing(model.stream(request)) as stream:
            while (event := await _next(stream, deadline)) is not None:
                for shown in _take(event, heard, used):
                    yield shown
    except TimeoutError:
        heard.out_of_time = True
    finally:
        used.settle(spent, request, heard)


@dataclass(slots=True)
class _Used:
    """Tokens of one turn of the model."""

    read: int = 0
    written: int = 0

    def settle(self, spent: Spent, request: ModelRequest, heard: Heard) -> None:
        """Add the turn to the run's cost; where the provider did not say, four characters are taken for a token."""
        spent.input_tokens += self.read
        spent.output_tokens += self.written
        if not self.read:
            spent.estimated_tokens += (sum(map(_length, request.messages)) + len(heard.text)) // 4


def _take(event: ModelEvent, heard: Heard, used: _Used) -> Iterator[AgentEvent]:
    match event:
        case TextDelta():
            yield from heard.say(event.text)
        case ItemMade():
            heard.provider_items.append(event.item)
        case CallRequested():
            heard.calls.append(event.call)
        case Usage():
            used.read += event.input_tokens
            used.written += event.output_tokens
        case Finished():
            heard.ended = event.reason
        case _:
            assert_never(event)


async def _next(stream: AsyncIterator[ModelEvent], deadline: float) -> ModelEvent | None:
    async with asyncio.timeout_at(deadline):
        return await anext(stream, None)


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


@asynccontextmanager
async def _closing(stream: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T], None]:
    """The model port promises that a closed iterator closes its connection; not every iterator can be closed."""
    try:
        yield stream
    finally:
        if isinstance(stream, _Closable):
            await stream.aclose()


def _length(message: object) -> int:
    text: object = getattr(message, "text", "")
    calls = message.calls if isinstance(message, AssistantMessage) else ()
    return len(str(text)) + sum(len(call.arguments) for call in calls)
