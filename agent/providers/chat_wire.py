"""A request in the words of the Chat Completions API."""

from agent.json_values import parsed
from agent.model import AssistantMessage, Json, Message, ModelRequest, SystemMessage, ToolCall, ToolOffer, UserMessage


def request_body(request: ModelRequest, *, limit_field: str) -> Json:
    """What the request adds to the SDK's own fields: messages, tools when there are any, the limit of the answer."""
    body: Json = {"messages": [_message(message) for message in request.messages]}
    if request.tools:
        body["tools"] = [_tool(offer) for offer in request.tools]
    if request.max_output_tokens is not None:
        body[limit_field] = request.max_output_tokens
    return body


def _message(message: Message) -> Json:
    if isinstance(message, SystemMessage | UserMessage):
        return {"role": message.role, "content": _sendable(message.text)}
    if isinstance(message, AssistantMessage):
        return _assistant(message)
    return {"role": "tool", "tool_call_id": message.provider_id, "content": _sendable(message.text)}


def _assistant(message: AssistantMessage) -> Json:
    if not message.calls:
        return {"role": "assistant", "content": _sendable(message.text)}
    content = _sendable(message.text) if message.text else None
    return {"role": "assistant", "content": content, "tool_calls": [_call(call) for call in message.calls]}


def _call(call: ToolCall) -> Json:
    # Many servers parse the arguments of past calls for their prompt template and refuse the whole conversation over
    # one that is no object; what was wrong with it stands in its result.
    arguments = call.arguments if isinstance(parsed(call.arguments), dict) else "{}"
    return {"id": call.provider_id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tool(offer: ToolOffer) -> Json:
    described: Json = {"name": offer.name, "description": offer.description, "parameters": offer.parameters}
    return {"type": "function", "function": described}


def _sendable(text: str) -> str:
    """`text` without lone surrogates, which no UTF-8 body can carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
