"""One turn of the model as it is heard, and what is to be done next."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never
from uuid import UUID

from agent.budget import Limit, Spent, Used
from agent.events import AgentEvent, CallUsage, Citation, MessageDelta, MessageReset, MessageStarted
from agent.model import (
    OFFLINE,
    Answering,
    AssistantMessage,
    BrokenOff,
    CallRequested,
    Finished,
    FinishReason,
    ItemMade,
    Model,
    ModelEvent,
    ModelFailed,
    ModelRequest,
    ProviderItem,
    TextDelta,
    ToolCall,
    Usage,
    Withdrawn,
    streamed,
)


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


Unsaid = Literal["silence", "refusal", "length", "filtered"]


@dataclass(frozen=True, slots=True)
class Explain:
    """The model left something unsaid: it was silent, would not answer, or was cut off."""

    about: Unsaid


@dataclass(frozen=True, slots=True)
class Unpaid:
    """The firm's budget has too little left to ask the model once more; the loop says so."""

    why: str


NextStep = Say | Call | Stop | Explain | Unpaid


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a model told in one turn besides its words and its calls: with those, all that the loop was given of it."""

    ended: FinishReason | None
    """None: it came to no end, since the run was stopped or its time was over."""
    answering: Answering | None
    usage: CallUsage
    """With the cost at the price of the moment, also where the provider did not tell all that was used."""
    untold: int
    """Answers that broke off, and whose tokens nobody told."""
    asked: int
    """Calls that it asked for, whether or not they were made."""


@dataclass(slots=True, kw_only=True)
class Heard:
    """One turn of the model, as far as it has been heard."""

    new_id: Callable[[], UUID]
    message_id: str = ""
    text: str = ""
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    provider_items: list[ProviderItem] = field(default_factory=list[ProviderItem])
    ended: FinishReason = "stop"
    out_of_time: bool = False
    unpaid: str = ""
    """Why the model was not asked: which budget has too little left."""
    speaker: str = ""
    """The model that speaks."""
    usage: CallUsage | None = None
    """What the turn used, once it is over."""
    preface: str = ""
    """What the reader is told before the model's first words: that it is another one than was asked."""
    added: int = 0
    """Characters at the end of the text that are the loop's own."""
    citations: tuple[Citation, ...] = ()
    """What the text cites, held to the documents."""
    told: Told | None = None
    """What the model told besides its words, once the turn is over; None: it was not asked."""

    def __post_init__(self) -> None:
        self.message_id = self.message_id or str(self.new_id())

    def say(self, words: str) -> Iterator[AgentEvent]:
        """Words of the turn; its message begins with the first of them."""
        if not words:
            return
        if not self.text:
            yield MessageStarted(message_id=self.message_id)
            words = self.preface + words
        self.text += words
        yield MessageDelta(message_id=self.message_id, delta=words)

    def withdraw(self, reason: str) -> Iterator[AgentEvent]:
        """What was said is withdrawn; what follows is another message."""
        if not self.text:
            return
        yield MessageReset(message_id=self.message_id, reason=reason)
        self.message_id = str(self.new_id())
        self.text = ""

    def add(self, words: str) -> Iterator[AgentEvent]:
        """Words of the loop's own, set apart from what the model said."""
        before = len(self.text)
        yield from self.say(f"\n\n{words}" if self.text else words)
        self.added = len(self.text) - (before or len(self.preface))

    @property
    def own_words(self) -> str:
        """What the model itself said."""
        begins = len(self.preface) if self.text else 0
        return self.text[begins : len(self.text) - self.added]


def next_step(heard: Heard, limit: Limit | None) -> NextStep:
    """What follows a turn of the model; at a limit it could only answer."""
    if heard.out_of_time:
        return Stop("seconds")
    if heard.unpaid:
        return Unpaid(heard.unpaid)
    silent = not heard.text.strip()
    if limit is not None and (heard.calls or silent):
        return Stop(limit)
    if heard.calls:
        return Call(tuple(heard.calls))
    if heard.ended in ("length", "filtered"):
        return Explain(heard.ended)
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
    heard.speaker = model.name
    used = _Used()
    loop = asyncio.get_running_loop()
    most = request.max_output_tokens
    held = await spent.purse.hold(model.name, list(_parts(request)), most, deadline - loop.time())
    if held is not None:
        request = replace(request, max_output_tokens=held.written)
    try:
        async with streamed(model, request) as stream:
            while (event := await _next(stream, deadline)) is not None:
                for shown in _take(event, heard, used, spent):
                    yield shown
    except TimeoutError:
        heard.out_of_time = True
    except ModelFailed as failed:
        used.begun = failed.begun
        raise
    finally:
        used.settle(spent, request, heard)
        if held is not None:
            await asyncio.shield(spent.purse.settle(held, used.of(heard)))


@dataclass(slots=True)
class _Used:
    """Tokens of one turn of the model."""

    read: int = 0
    cached: int = 0
    written: int = 0
    untold: int = 0
    """Answers that broke off, and whose tokens the provider did not tell."""
    answering: Answering | None = None
    begun: bool = True
    """It was asked, and may have begun; only a model that failed says that it had not."""
    whole: bool = False

    def of(self, heard: Heard) -> Used:
        """What is put in the place of what was held for the turn."""
        return Used(
            model=heard.speaker,
            read=self.read,
            cached=self.cached,
            written=self.written,
            untold=self.untold > 0,
            begun=self.begun or bool(heard.text or self.read),
        )

    def settle(self, spent: Spent, request: ModelRequest, heard: Heard) -> None:
        """Adds the turn to what the run has spent, however it ended."""
        if not self.whole and (self.begun or heard.text):
            self.untold = max(self.untold, 1)
        spent.untold += self.untold
        cost = spent.cost_of(heard.speaker, self.read, self.cached, self.written)
        spent.of(heard.speaker).add(self.read, self.cached, self.written, cost)
        heard.usage = CallUsage(
            model=heard.speaker,
            input_tokens=self.read,
            cached_tokens=self.cached,
            output_tokens=self.written,
            cost_usd=None if self.untold else cost,
        )
        heard.told = Told(
            ended=heard.ended if self.whole else None,
            answering=self.answering,
            usage=replace(heard.usage, cost_usd=cost),
            untold=self.untold,
            asked=len(heard.calls),
        )
        spent.estimated_tokens += self._estimated(request, heard)
        if heard.text:
            spent.heard_of.add(heard.speaker)

    def _estimated(self, request: ModelRequest, heard: Heard) -> int:
        """Where the provider did not say, four characters are taken for a token; else none."""
        untold = self.untold if self.read else 1
        return untold * (sum(map(_length, request.messages)) + len(heard.text)) // 4


def _take(event: ModelEvent, heard: Heard, used: _Used, spent: Spent) -> Iterator[AgentEvent]:
    match event:
        case TextDelta():
            yield from heard.say(event.text)
        case BrokenOff():
            used.untold += 1
        case Withdrawn():
            yield from heard.withdraw(event.reason)
        case Answering():
            heard.speaker, used.answering = event.model, event
            # Once a run: whoever answers in another's place is named where it first speaks.
            heard.preface = "" if event.model in spent.heard_of else preface(event)
        case ItemMade():
            heard.provider_items.append(event.item)
        case CallRequested():
            heard.calls.append(event.call)
        case Usage():
            used.read += event.input_tokens
            used.cached += event.cached_tokens
            used.written += event.output_tokens
        case Finished():
            used.whole = True
            heard.ended = event.reason
        case _:
            assert_never(event)


def preface(answering: Answering) -> str:
    """How a reader learns, once in a run, that another model answers than the one that was asked."""
    speaker = "The offline model" if answering.model == OFFLINE else answering.model
    return f"({answering.instead_of} does not answer: {answering.why} {speaker} answers instead.)\n\n"


async def _next(stream: AsyncIterator[ModelEvent], deadline: float) -> ModelEvent | None:
    async with asyncio.timeout_at(deadline):
        return await anext(stream, None)


def _parts(request: ModelRequest) -> Iterator[str]:
    """All that the model is to read, part by part."""
    for message in request.messages:
        yield message.text
        if isinstance(message, AssistantMessage):
            yield from (f"{call.name} {call.arguments}" for call in message.calls)
            yield from (item.content for item in message.provider_items)
    for offer in request.tools:
        yield f"{offer.name} {offer.description} {offer.parameters}"


def _length(message: object) -> int:
    text: object = getattr(message, "text", "")
    calls = message.calls if isinstance(message, AssistantMessage) else ()
    return len(str(text)) + sum(len(call.arguments) for call in calls)
