"""A fake embedding server: deterministic vectors, faults on demand; as a double of the port, and over real HTTP.

By itself, for trying things by hand: `python -m tests.support.fake_embeddings --port 8098`.
"""

import argparse
import asyncio
import hashlib
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2
import orjson

from knowledge.embeddings.model import KNOWN_DIMENSIONS, Space, learned_space

Json = dict[str, Any]

MEANT_ALIKE = {"automobile": "car", "vehicle": "car", "remuneration": "salary", "pay": "salary"}
"""Words that share no letter and one meaning, which only a search by meaning can know."""


def vector_of(text: str, dimensions: int = 1536) -> list[float]:
    """Texts with words in common, or words meant alike, lie near one another."""
    total = [0.0] * dimensions
    words: list[str] = re.findall(r"\w+", text.lower()) or ["?"]
    for word in words:
        for index, value in enumerate(_direction(MEANT_ALIKE.get(word, word), dimensions)):
            total[index] += value
    length = math.hypot(*total)
    return [value / length for value in total]


_KEPT: dict[tuple[str, int], list[float]] = {}


def _direction(word: str, dimensions: int) -> list[float]:
    if (word, dimensions) not in _KEPT:
        source = random.Random(hashlib.sha256(word.encode()).digest())
        _KEPT[word, dimensions] = [source.gauss(0, 1) for _ in range(dimensions)]
    return _KEPT[word, dimensions]


@dataclass(slots=True)
class FakeEmbedder:
    """The port itself, without a network; remembers what it was asked."""

    model: str = "text-embedding-3-small"
    dimensions: int = 1536
    fault: Callable[[Sequence[str]], None] = lambda texts: None
    """Raises what the server does instead of answering."""
    asked: list[str] = field(default_factory=list[str])

    async def space(self) -> Space:
        if self.model in KNOWN_DIMENSIONS:
            return Space(model_id=self.model, dimensions=self.dimensions)
        return learned_space(self.model, self.dimensions)

    async def embed(self, texts: Sequence[str]) -> Sequence[tuple[float, ...]]:
        self.fault(texts)
        self.asked.extend(texts)
        return [tuple(vector_of(text, self.dimensions)) for text in texts]


Answer = Callable[[Json], httpx2.Response]


def whole(body: Json, dimensions: int = 1536) -> httpx2.Response:
    """The answer as it should be; its vectors in another order than asked, as the API allows."""
    texts = cast("list[str]", body["input"])
    data = [
        {"object": "embedding", "index": index, "embedding": vector_of(text, dimensions)}
        for index, text in enumerate(texts)
    ]
    return httpx2.Response(200, json={"object": "list", "data": data[::-1], "model": body["model"]})


def status(code: int, headers: dict[str, str] | None = None, error: str = "error") -> Answer:
    """An answer other than 200."""
    return lambda _: httpx2.Response(code, headers=headers, json={"error": {"message": "no", "code": error}})


@dataclass(slots=True)
class FakeServer:
    """Answers each request with the next of `script`, and properly once it is used up."""

    script: list[Answer] = field(default_factory=list[Answer])
    bodies: list[Json] = field(default_factory=list[Json])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    under_way: int = 0
    most_under_way: int = 0

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = cast(Json, orjson.loads(request.content))
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return self.script.pop(0)(body) if self.script else whole(body)

    def client(self) -> httpx2.AsyncClient:
        """A client whose every request this server answers."""
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self.handle))


async def application(scope: Json, receive: Any, send: Any) -> None:
    """The same over HTTP."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = whole(orjson.loads(body)) if scope["path"].endswith("/embeddings") else httpx2.Response(404)
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})


if __name__ == "__main__":
    import uvicorn

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8098)
    uvicorn.run(application, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
