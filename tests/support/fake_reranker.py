"""A fake rerank server on a loopback port, in both forms that there are; what it answers can be spoilt."""

import re
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import orjson

Json = dict[str, Any]
Answer = tuple[int, bytes]
Spoilt = Callable[[Json], Answer]
"""What it answers to a request instead of scores."""


def score_of(question: str, text: str) -> float:
    """Texts that end with the question's last word answer best: an order that neither words nor meaning give."""
    wanted = re.findall(r"\w+", question.lower())[-1]
    last = (re.findall(r"\w+", text.lower()) or [""])[-1]
    return 0.9 if last == wanted else 0.1 + 0.001 * (len(text) % 100)


class RerankServer(ThreadingHTTPServer):
    """Answers `POST .../rerank` as Cohere, Jina and vLLM do where documents are sent, as TEI where texts are."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.bodies: list[Json] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.spoilt: Spoilt | None = None
        self.delay_s = 0.0

    @property
    def url(self) -> str:
        """What GLOW_RERANK_BASE_URL is set to."""
        return f"http://127.0.0.1:{self.server_port}/v2"

    def answer(self, path: str, body: Json) -> Answer:
        if not path.endswith("/rerank"):
            return 404, b'{"message": "no such path"}'
        if self.spoilt is not None:
            return self.spoilt(body)
        return 200, orjson.dumps(_tei(body) if "texts" in body else _cohere(body))


def _cohere(body: Json) -> Json:
    """Best first, as the API says, with what it counted."""
    documents = cast("list[str]", body["documents"])
    scored = [
        {"index": place, "relevance_score": score_of(body["query"], text)} for place, text in enumerate(documents)
    ]
    scored.sort(key=lambda each: -cast("float", each["relevance_score"]))
    read = sum(len(text.split()) for text in documents)
    return {"id": "1", "model": body["model"], "results": scored[: body["top_n"]], "usage": {"total_tokens": read}}


def _tei(body: Json) -> list[Mapping[str, object]]:
    texts = cast("list[str]", body["texts"])
    scored = [{"index": place, "score": score_of(body["query"], text)} for place, text in enumerate(texts)]
    return sorted(scored, key=lambda each: -cast("float", each["score"]))


class _Requests(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, RerankServer)
        server.keys.append(self.headers["Authorization"])
        server.paths.append(self.path)
        body = cast(Json, orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        server.bodies.append(body)
        if server.delay_s:
            time.sleep(server.delay_s)
        status, content = server.answer(self.path, body)
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            """Nobody waited any more."""

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody looks."""


@contextmanager
def served_reranker() -> Generator[RerankServer]:
    """A rerank server for the length of the block."""
    with RerankServer() as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()
