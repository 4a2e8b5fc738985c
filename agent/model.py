"""What the loop asks of a language model, and the few things a model can answer: the port of every provider."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Json = dict[str, object]

OFFLINE = "offline"
"""The name of the model of rules that comes along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call the model asks for: its own id for it, the name it wrote, and the arguments' raw JSON text (unparsed)."""

    provider_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderItem:
    """Something a provider wants back unread with what its model said: reasoning, which nobody else can use."""

    maker: str
    """The API and model that made it, the only ones it is ever sent to."""
    content: str
    """JSON, in the provider's own words."""
    before: str | None
    """The provider's id of the call that it led to; None: it led to the words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemMessage:
    text: str
    role: Literal["system"] = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    text: str
    role: Literal["user"] = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundMessage:
    """What a model is given to know before the conversation: data that nobody says in it, and that rules nothing."""

    text: str
    role: Literal["user"] = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssistantMessage:
    text: str
    calls: tuple[ToolCall, ...] = ()
    provider_items: tuple[ProviderItem, ...] = ()
    role: Literal["assistant"] = "assistant"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResultMessage:
    """The one result of one call, as text the model reads; `name` is the tool's."""

    provider_id: str
    name: str
    text: str
    role: Literal["tool"] = "tool"


Message = SystemMessage | BackgroundMessage | UserMessage | AssistantMessage | ToolResultMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOffer:
    """A tool as the model sees it: name, the manifest's words, the arguments' JSON Schema."""

    name: str
    description: str
    parameters: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    messages: Sequence[Message]
    tools: Sequence[ToolOffer]
    max_output_tokens: int | None = None
    cache_key: str | None = None
    """The same for requests that begin alike: a provider can send them to where it remembers their beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequested:
    """A call whose arguments have arrived whole."""

    call: ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemMade:
    """The provider wants this back in the next request; to everybody else it says nothing."""

    item: ProviderItem


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    input_tokens: int
    """All that was read, what the provider remembered included."""
    output_tokens: int
    cached_tokens: int = 0
    """Of those that were read: remembered by the provider, and cheaper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenOff:
    """The provider broke off, and is asked for the rest; of what was used up to here it has told nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """What was said of this turn holds no more: it begins anew."""

    reason: str
    """A fault's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """From here on another model speaks, in the place of the one that was asked."""

    model: str
    instead_of: str
    why: str
    """In words that may be shown."""


FinishReason = Literal["stop", "calls", "length", "filtered", "refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The turn is over: `stop` all said, `calls` it waits for results, `refusal` it will not; else it was cut off, by
    `length` or, `filtered`, by the provider's filter.
    """

    reason: FinishReason


ModelEvent = TextDelta | ItemMade | CallRequested | Usage | BrokenOff | Withdrawn | Answering | Finished


class ModelFailed(Exception):
    """The model did not finish its turn; `code` and words may be shown, the cause is for the log only.

    Codes: model_unavailable (retryable), model_timeout (retryable), model_interrupted (stream broke; retryable),
    model_rejected (the provider refused the request; not retryable), model_protocol (unreadable answer; retryable),
    context_too_long (not retryable), budget_exhausted (not retryable).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool,
        of_request: bool | None = None,
        begun: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.of_request = not retryable if of_request is None else of_request
        """It is the request's own fault (its length, its content), for which another model would refuse it as well."""
        self.begun = begun
        """Some of the answer had come."""
        self.wait_s = wait_s
        """Seconds that the provider asks to be left alone."""


class BudgetExhausted(ModelFailed):
    """The model was not asked: a budget of the firm's has too little left; the words say which, and when it renews."""

    def __init__(self, message: str) -> None:
        super().__init__("budget_exhausted", message, retryable=False)


class Model(Protocol):
    """A language model that streams one turn.

    `stream` yields any number of other events, then exactly one Finished; or raises ModelFailed.
    Closing the iterator closes the connection to the provider.
    """

    @property
    def name(self) -> str:
        """As shown in `run.started` and `/readiness`; the offline model names itself as such."""
        ...

    @property
    def context_window(self) -> int:
        """Tokens that a request and its answer may hold together."""
        ...

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]: ...


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


@asynccontextmanager
async def streamed(model: Model, request: ModelRequest) -> AsyncGenerator[AsyncIterator[ModelEvent], None]:
    """The model's stream for the length of the block; leaving it closes the stream, and so the connection."""
    stream = model.stream(request)
    try:
        yield stream
    finally:
        # Not every iterator can be closed.
        if isinstance(stream, _Closable):
            await stream.aclose()
