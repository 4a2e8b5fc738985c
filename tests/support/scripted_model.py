"""A model that says what a test wrote down: the double of the one thing that is outside the machine."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import orjson

from agent.model import (
    CallRequested,
    Finished,
    FinishReason,
    ModelEvent,
    ModelFailed,
    ModelRequest,
    TextDelta,
    ToolCall,
    Usage,
)

Turn = Sequence[ModelEvent | ModelFailed]
Brain = Callable[[ModelRequest], Turn]
Pace = Callable[[], Awaitable[None]]


async def at_once() -> None:
    """No pause."""


class ScriptedModel:
    """Satisfies agent.model.Model. Says its turns in order, or what `brain` answers to each request.

    `pace` is awaited before each event, so that a test can hold the model wherever it likes. `requests`: what it was
    asked; `closed`: how many of its streams were closed or came to their end.
    """

    def __init__(
        self,
        *turns: Turn,
        brain: Brain | None = None,
        name: str = "scripted",
        context_window: int = 128_000,
        pace: Pace = at_once,
    ) -> None:
        self._turns = list(turns)
        self._brain = brain
        self._name = name
        self._context_window = context_window
        self._pace = pace
        self.requests: list[ModelRequest] = []
        self.closed = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_window(self) -> int:
        return self._context_window

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.requests.append(request)
        try:
            for event in self._brain(request) if self._brain is not None else self._turns.pop(0):
                await self._pace()
                if isinstance(event, ModelFailed):
                    raise event
                yield event
        finally:
            self.closed += 1


def says(*pieces: str, reason: FinishReason = "stop") -> list[ModelEvent]:
    """A turn of words only."""
    usage = Usage(input_tokens=10, output_tokens=len(pieces))
    return [*(TextDelta(text=piece) for piece in pieces), usage, Finished(reason=reason)]


def refuses() -> list[ModelEvent]:
    """A turn in which the model will not."""
    return [Finished(reason="refusal")]


def asks(*calls: ToolCall, words: str = "") -> list[ModelEvent]:
    """A turn that asks for calls, after some words where there are any."""
    said: list[ModelEvent] = [TextDelta(text=words)] if words else []
    usage = Usage(input_tokens=10, output_tokens=5)
    return [*said, *(CallRequested(call=call) for call in calls), usage, Finished(reason="calls")]


def call(tool: str, arguments: object = None, *, id: str = "") -> ToolCall:
    """A call as a model writes it; text as arguments stands for what is no JSON."""
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
    return ToolCall(provider_id=id or f"id_{tool}", name=tool, arguments=text)


class HoldAt:
    """A pace that stands still at the nth step, for ever; `reached` says when it got there."""

    def __init__(self, step: int) -> None:
        self._left = step
        self.reached = asyncio.Event()

    async def __call__(self) -> None:
        if self._left == 0:
            self.reached.set()
            await asyncio.Event().wait()
        self._left -= 1
