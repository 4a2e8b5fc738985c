"""What the loop asks of a language model, and the few things a model can answer: the port of every provider."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Json = dict[str, object]


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


Message = SystemMessage | UserMessage | AssistantMessage | ToolResultMessage


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
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The turn is over: `stop` all said, `calls` it waits for results, `length` cut off, `refusal` it will not."""

    reason: Literal["stop", "calls", "length", "refusal"]


ModelEvent = TextDelta | ItemMade | CallRequested | Usage | Finished


class ModelFailed(Exception):
    """The model did not finish its turn; `code` and words may be shown, the cause is for the log only.

    Codes: model_unavailable (retryable), model_timeout (retryable), model_interrupted (stream broke; retryable),
    model_rejected (the provider refused the request; not retryable), model_protocol (unreadable answer; retryable),
    context_too_long (not retryable).
    """

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


class Model(Protocol):
    """A language model that streams one turn.

    `stream` yields any number of TextDelta, ItemMade, CallRequested and Usage, then exactly one Finished; or raises
    ModelFailed.
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
