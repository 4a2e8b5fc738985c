"""The obvious stack by hand: FastAPI, sse-starlette and the openai SDK, one tool, one file.

Without DATABASE_URL it keeps nothing; with it, conversations and an audit of its calls stand in PostgreSQL. It checks
no credential and no policy. Run it as `uvicorn benchmarks.floors.by_hand:app`.
"""

import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import asyncpg
from fastapi import FastAPI, Request
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionChunk,
    ChatCompletionMessageFunctionToolCallParam,
    ChatCompletionMessageParam,
    ChatCompletionToolMessageParam,
    ChatCompletionToolParam,
)
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from pydantic import BaseModel
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse

SYSTEM = "You help the people of an audit firm with their work. Use your tools; say so when you do not know."
TURNS_AT_MOST = 10

TASKS: list[dict[str, Any]] = [
    {
        "task_id": str(UUID(int=number)),
        "title": f"Benchmark task {number}",
        "description": "Made for measuring; nobody has to do it.",
        "status": "open",
        "audience": "firm",
        "created_by": "one@benchmark.example",
        "created_at": "2026-11-02T08:00:00+00:00",
        "updated_at": "2026-11-02T08:00:00+00:00",
    }
    for number in range(10)
]

TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "task_list",
            "description": "Lists tasks, newest first.",
            "parameters": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}},
            },
        },
    }
]


async def task_list(limit: int = 50) -> dict[str, Any]:
    """The newest tasks."""
    return {"items": TASKS[:limit], "next_cursor": None}


HANDLERS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {"task_list": task_list}

TABLES = """
CREATE TABLE IF NOT EXISTS conversations (
    id uuid PRIMARY KEY, title text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations,
    content jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations,
    tool text NOT NULL, arguments jsonb NOT NULL, result jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS messages_of_conversation ON messages (conversation_id, id);
"""

Message = ChatCompletionMessageParam


class Asked(BaseModel):
    """A message, perhaps in a conversation that was begun before."""

    message: str
    conversation_id: UUID | None = None


@dataclass
class ToolCall:
    """A call of the model, put together from its pieces."""

    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass
class Answer:
    """What one request to the model brought, as far as it has come."""

    text: str = ""
    calls: dict[int, ToolCall] = field(default_factory=dict[int, ToolCall])

    def take(self, delta: ChoiceDelta) -> None:
        self.text += delta.content or ""
        for piece in delta.tool_calls or []:
            call = self.calls.setdefault(piece.index, ToolCall())
            call.id = piece.id or call.id
            if piece.function is not None:
                call.name += piece.function.name or ""
                call.arguments += piece.function.arguments or ""

    def message(self) -> Message:
        message: ChatCompletionAssistantMessageParam = {"role": "assistant", "content": self.text}
        if self.calls:
            message["tool_calls"] = [_call_message(call) for call in self.calls.values()]
        return message


class Store(Protocol):
    """Where conversations are kept."""

    async def begin(self, asked: Asked) -> tuple[UUID, list[Message]]: ...

    async def add(self, conversation_id: UUID, *messages: Message) -> None: ...

    async def audit(self, conversation_id: UUID, call: ToolCall, result: dict[str, Any]) -> None: ...


class NoStore:
    """Keeps nothing."""

    async def begin(self, asked: Asked) -> tuple[UUID, list[Message]]:
        return asked.conversation_id or uuid4(), [{"role": "user", "content": asked.message}]

    async def add(self, conversation_id: UUID, *messages: Message) -> None:
        pass

    async def audit(self, conversation_id: UUID, call: ToolCall, result: dict[str, Any]) -> None:
        pass


class PostgresStore:
    """Keeps conversations, and what was called in them."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    async def begin(self, asked: Asked) -> tuple[UUID, list[Message]]:
        conversation_id = asked.conversation_id or uuid4()
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO conversations (id, title) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                conversation_id,
                asked.message[:100],
            )
            await connection.execute(
                "INSERT INTO messages (conversation_id, content) VALUES ($1, $2)",
                conversation_id,
                json.dumps({"role": "user", "content": asked.message}),
            )
            rows = await connection.fetch(
                "SELECT content FROM messages WHERE conversation_id = $1 ORDER BY id", conversation_id
            )
        return conversation_id, [json.loads(row["content"]) for row in rows]

    async def add(self, conversation_id: UUID, *messages: Message) -> None:
        async with self._pool.acquire() as connection:
            await connection.executemany(
                "INSERT INTO messages (conversation_id, content) VALUES ($1, $2)",
                [(conversation_id, json.dumps(message)) for message in messages],
            )

    async def audit(self, conversation_id: UUID, call: ToolCall, result: dict[str, Any]) -> None:
        async with self._pool.acquire() as connection:
            await connection.execute(
                "INSERT INTO audit (conversation_id, tool, arguments, result) VALUES ($1, $2, $3, $4)",
                conversation_id,
                call.name,
                call.arguments,
                json.dumps(result),
            )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    url = os.environ.get("DATABASE_URL")
    async with AsyncOpenAI() as client:
        app.state.client = client
        app.state.store = NoStore()
        if url is None:
            yield
            return
        async with asyncpg.create_pool(url, min_size=1, max_size=20) as pool:
            await pool.execute(TABLES)
            app.state.store = PostgresStore(pool)
            yield


app = FastAPI(title="By hand", lifespan=lifespan)


@app.get("/health")
async def health() -> dict[str, str]:
    """The process lives."""
    return {"status": "ok"}


@app.post("/chat")
async def chat(asked: Asked, request: Request) -> EventSourceResponse:
    """Answer a message as a stream of events."""
    return EventSourceResponse(answer(asked, request.app.state.client, request.app.state.store))


async def answer(asked: Asked, client: AsyncOpenAI, store: Store) -> AsyncGenerator[ServerSentEvent, None]:
    """Text as it comes and calls as they are made, until the model has no more to call."""
    conversation_id, said = await store.begin(asked)
    messages: list[Message] = [{"role": "system", "content": SYSTEM}, *said]
    for _ in range(TURNS_AT_MOST):
        heard = Answer()
        async for chunk in await ask(client, messages):
            if not chunk.choices:
                continue
            delta = chunk.choices[0].delta
            heard.take(delta)
            if delta.content:
                yield event("delta", {"delta": delta.content})
        added = [heard.message()]
        for call in heard.calls.values():
            yield event("tool_call", {"id": call.id, "tool": call.name, "arguments": call.arguments})
            result = await HANDLERS[call.name](**json.loads(call.arguments))
            await store.audit(conversation_id, call, result)
            added.append(_result_message(call, result))
            yield event("tool_result", {"id": call.id, "result": result})
        messages += added
        await store.add(conversation_id, *added)
        if not heard.calls:
            break
    yield event("done", {"conversation_id": str(conversation_id)})


async def ask(client: AsyncOpenAI, messages: list[Message]) -> AsyncStream[ChatCompletionChunk]:
    """One request to the model."""
    return await client.chat.completions.create(
        model=os.environ.get("MODEL", "fake"),
        messages=messages,
        tools=TOOLS,
        stream=True,
        stream_options={"include_usage": True},
    )


def event(name: str, data: dict[str, Any]) -> ServerSentEvent:
    """An event with JSON data."""
    return ServerSentEvent(event=name, data=json.dumps(data))


def _call_message(call: ToolCall) -> ChatCompletionMessageFunctionToolCallParam:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _result_message(call: ToolCall, result: dict[str, Any]) -> ChatCompletionToolMessageParam:
    return {"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)}
