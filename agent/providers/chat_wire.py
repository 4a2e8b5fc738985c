"""A request in the words of the Chat Completions API."""

from agent.json_values import parsed
from agent.model import (
    AssistantMessage,
    BackgroundMessage,
    Json,
    Message,
    ModelRequest,
    SystemMessage,
    ToolCall,
    ToolOffer,
    UserMessage,
)


def request_body(request: ModelRequest, *, limit_field: str) -> Json:
    """What a request says: messages, tools when there are any, the limit of the answer."""
    body: Json = {"messages": [_message(message) for message in request.messages]}
    if request.tools:
        body["tools"] = [_tool(offer) for offer in request.tools]
    if request.max_output_tokens is not None:
        body[limit_field] = request.max_output_tokens
    return body


def cache_key(request: ModelRequest, *, keyed: bool) -> Json:
    """The field by which OpenAI finds what it remembers of a request's beginning, where it may be sent."""
    return {"prompt_cache_key": request.cache_key} if keyed and request.cache_key is not None else {}


def _message(message: Message) -> Json:
    if isinstance(message, SystemMessage | BackgroundMessage | UserMessage):
        return {"role": message.role, "content": sendable(message.text)}
    if isinstance(message, AssistantMessage):
        return _assistant(message)
    return {"role": "tool", "tool_call_id": message.provider_id, "content": sendable(message.text)}


def _assistant(message: AssistantMessage) -> Json:
    if not message.calls:
        return {"role": "assistant", "content": sendable(message.text)}
    content = sendable(message.text) if message.text else None
    return {"role": "assistant", "content": content, "tool_calls": [_call(call) for call in message.calls]}


def _call(call: ToolCall) -> Json:
    function: Json = {"name": call.name, "arguments": sendable_arguments(call.arguments)}
    return {"id": call.provider_id, "type": "function", "function": function}


def _tool(offer: ToolOffer) -> Json:
    described: Json = {"name": offer.name, "description": offer.description, "parameters": offer.parameters}
    return {"type": "function", "function": described}


def sendable_arguments(arguments: str) -> str:
    """The arguments of a past call, or none where they were no object.

    Many servers parse them for their prompt template and refuse the whole conversation over one that is no object; what
    was wrong with it stands in its result.
    """
    return arguments if isinstance(parsed(arguments), dict) else "{}"


def sendable(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 body can carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
