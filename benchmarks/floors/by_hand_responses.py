"""The obvious stack by hand, by the Responses API: FastAPI, sse-starlette and the openai SDK, nothing kept.

The same as by_hand.py without a database. Run it as `uvicorn benchmarks.floors.by_hand_responses:app`.
"""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

from fastapi import FastAPI, Request
from openai import AsyncOpenAI, AsyncStream
from openai.types.responses import (
    FunctionToolParam,
    ResponseFunctionToolCall,
    ResponseInputItemParam,
    ResponseStreamEvent,
)
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse

from benchmarks.floors.by_hand import HANDLERS, SYSTEM, TURNS_AT_MOST, Asked, event

TOOLS: list[FunctionToolParam] = [
    {
        "type": "function",
        "name": "task_list",
        "description": "Lists tasks, newest first.",
        "parameters": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}},
        },
        "strict": False,
    }
]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with AsyncOpenAI() as client:
        app.state.client = client
        yield


app = FastAPI(title="By hand, responses", lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@app.post("/chat")
async def chat(asked: Asked, request: Request) -> EventSourceResponse:
    """Answer a message as a stream of events."""
    return EventSourceResponse(answer(asked, request.app.state.client))


async def answer(asked: Asked, client: AsyncOpenAI) -> AsyncGenerator[ServerSentEvent, None]:
    """Text as it comes and calls as they are made, until the model has no more to call."""
    said: list[ResponseInputItemParam] = [{"role": "user", "content": asked.message}]
    for _ in range(TURNS_AT_MOST):
        calls: list[ResponseFunctionToolCall] = []
        async for told in await ask(client, said):
            if told.type == "response.output_text.delta":
                yield event("delta", {"delta": told.delta})
            elif told.type == "response.output_item.done" and told.item.type == "function_call":
                calls.append(told.item)
        for call in calls:
            yield event("tool_call", {"id": call.call_id, "tool": call.name, "arguments": call.arguments})
            result = await HANDLERS[call.name](**json.loads(call.arguments))
            said += _exchange(call, json.dumps(result))
            yield event("tool_result", {"id": call.call_id, "result": result})
        if not calls:
            break
    yield event("done", {"conversation_id": str(asked.conversation_id or uuid4())})


async def ask(client: AsyncOpenAI, said: list[ResponseInputItemParam]) -> AsyncStream[ResponseStreamEvent]:
    """One request to the model."""
    return await client.responses.create(
        model=os.environ.get("MODEL", "fake"),
        instructions=SYSTEM,
        input=said,
        tools=TOOLS,
        stream=True,
        store=False,
        include=["reasoning.encrypted_content"],
    )


def _exchange(call: ResponseFunctionToolCall, output: str) -> list[ResponseInputItemParam]:
    return [
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": output},
    ]
