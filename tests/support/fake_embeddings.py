"""A fake embedding server: deterministic vectors, faults on demand; as a double of the port, and over real HTTP.

By itself, for trying things by hand: `python -m tests.support.fake_embeddings --port 8098`.
"""

import argparse
import asyncio
import hashlib
import math
import random
import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import httpx2
import orjson

from knowledge.embeddings.model import KNOWN_DIMENSIONS, Space, TokensUsed, learned_space

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
    refuses: str | None = None
    """A word whose texts get no vector."""
    asked: list[str] = field(default_factory=list[str])

    async def space(self, used: TokensUsed | None = None) -> Space:
        if self.model in KNOWN_DIMENSIONS:
            return Space(model_id=self.model, dimensions=self.dimensions)
        return learned_space(self.model, self.dimensions)

    async def embed(self, texts: Sequence[str], used: TokensUsed | None = None) -> Sequence[tuple[float, ...] | None]:
        self.fault(texts)
        _count(texts, used)
        self.asked.extend(texts)
        return [self._vector(text) for text in texts]

    async def embed_question(self, text: str, used: TokensUsed | None = None) -> tuple[float, ...]:
        self.fault([text])
        _count([text], used)
        self.asked.append(text)
        return tuple(vector_of(text, self.dimensions))

    def _vector(self, text: str) -> tuple[float, ...] | None:
        refused = self.refuses is not None and self.refuses in text
        return None if refused else tuple(vector_of(text, self.dimensions))


def tokens_of(texts: Sequence[str]) -> int:
    """How many the server says it has read: a token a word."""
    return sum(len(text.split()) for text in texts)


def _count(texts: Sequence[str], used: TokensUsed | None) -> None:
    if used is not None:
        used.told += tokens_of(texts)


Answer = Callable[[Json], httpx2.Response]


def whole(body: Json, dimensions: int = 1536) -> httpx2.Response:
    """The answer as it should be; its vectors in another order than asked, as the API allows."""
    texts = cast("list[str]", body["input"])
    data = [
        {"object": "embedding", "index": index, "embedding": vector_of(text, dimensions)}
        for index, text in enumerate(texts)
    ]
    read = tokens_of(texts)
    usage = {"prompt_tokens": read, "total_tokens": read}
    answer: Json = {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}
    return httpx2.Response(200, json=answer)


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


class ServedEmbeddings(ThreadingHTTPServer):
    """The same on a loopback port, for commands, which run a loop of their own; keeps the key of each request."""

    dimensions = 1536

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.keys: list[str | None] = []

    @property
    def url(self) -> str:
        """What GLOW_EMBEDDING_BASE_URL is set to."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Requests(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, ServedEmbeddings)
        server.keys.append(self.headers["Authorization"])
        body = cast(Json, orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = whole(body, server.dimensions).content
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody looks."""


@contextmanager
def served_embeddings() -> Generator[ServedEmbeddings]:
    """An embedding server for the length of the block."""
    with ServedEmbeddings() as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


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
