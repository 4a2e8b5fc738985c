"""A stream of events by hand: FastAPI and sse-starlette, nothing behind it: `uvicorn benchmarks.floors.sse:app`."""

import asyncio
import json
from collections.abc import AsyncGenerator

from fastapi import FastAPI
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    """It lives."""
    return {"status": "ok"}


@app.get("/quiet")
async def quiet() -> EventSourceResponse:
    """A stream that says one thing and then nothing."""
    return EventSourceResponse(_spoken(1, 3600.0))


@app.get("/steady")
async def steady(words: int, token_s: float) -> EventSourceResponse:
    """A stream of that many words, one each `token_s`."""
    return EventSourceResponse(_spoken(words, token_s))


async def _spoken(words: int, token_s: float) -> AsyncGenerator[ServerSentEvent, None]:
    for number in range(words):
        data = {"type": "message.delta", "run_id": "0" * 36, "sequence": number, "delta": "word "}
        yield ServerSentEvent(id=str(number), event="message.delta", data=json.dumps(data))
        await asyncio.sleep(token_s)
    yield ServerSentEvent(event="done", data="{}")
