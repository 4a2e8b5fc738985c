"""A request in the words of the Responses API: nothing is kept there, each request carries the whole conversation."""

from collections.abc import Iterator, Sequence

from agent.json_values import mapping, parsed
from agent.model import (
    AssistantMessage,
    BackgroundMessage,
    Json,
    Message,
    ModelRequest,
    ProviderItem,
    SystemMessage,
    ToolCall,
    ToolOffer,
    ToolResultMessage,
    UserMessage,
)
from agent.providers.chat_wire import sendable, sendable_arguments

REASONING = "reasoning.encrypted_content"


def request_body(request: ModelRequest, *, model: str, maker: str) -> Json:
    """The body of a request; reasoning goes back only to `maker`, who made it."""
    system = [message.text for message in request.messages if isinstance(message, SystemMessage)]
    # Without `store: false` the provider keeps every conversation for a month.
    body: Json = {
        "model": model,
        "stream": True,
        "store": False,
        "include": [REASONING],
        "input": [item for message in request.messages for item in _items(message, maker)],
    }
    if system:
        body["instructions"] = sendable("\n\n".join(system))
    if request.tools:
        body["tools"] = [_tool(offer) for offer in request.tools]
    if request.max_output_tokens is not None:
        body["max_output_tokens"] = request.max_output_tokens
    return body


def is_reasoning(item: object) -> bool:
    """Whether an input or output item is a model's reasoning."""
    return mapping(item).get("type") == "reasoning"


def _items(message: Message, maker: str) -> Sequence[Json]:
    match message:
        case SystemMessage():
            return ()
        case BackgroundMessage() | UserMessage():
            return ({"role": "user", "content": sendable(message.text)},)
        case AssistantMessage():
            return list(_assistant(message, [item for item in message.provider_items if item.maker == maker]))
        case ToolResultMessage():
            output = sendable(message.text)
            return ({"type": "function_call_output", "call_id": message.provider_id, "output": output},)


def _assistant(message: AssistantMessage, made: Sequence[ProviderItem]) -> Iterator[Json]:
    """Words and calls, each behind the reasoning that led to it; reasoning that leads to nothing is refused there."""
    if message.text:
        yield from _leading(made, None)
        yield {"role": "assistant", "content": sendable(message.text)}
    for call in message.calls:
        yield from _leading(made, call.provider_id)
        yield _call(call)


def _leading(made: Sequence[ProviderItem], before: str | None) -> Iterator[Json]:
    contents = (mapping(parsed(item.content)) for item in made if item.before == before)
    yield from filter(None, contents)


def _call(call: ToolCall) -> Json:
    arguments = sendable_arguments(call.arguments)
    return {"type": "function_call", "call_id": call.provider_id, "name": call.name, "arguments": arguments}


def _tool(offer: ToolOffer) -> Json:
    # Strict is this API's default; it refuses schemas with optional properties, and the gate parses arguments anyway.
    return {
        "type": "function",
        "name": offer.name,
        "description": offer.description,
        "parameters": offer.parameters,
        "strict": False,
    }
