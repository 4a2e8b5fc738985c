"""An embedding server that speaks OpenAI's API, asked in batches, few at once, and again where it was only busy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from domain.kernel import Clock, utc_now
from knowledge.embeddings.model import (
    EmbeddingsRefused,
    EmbeddingsUnavailable,
    Space,
    known_space,
    learned_space,
)
from knowledge.embeddings.wire import batches, fault_of, request_bytes, vectors_of

if TYPE_CHECKING:
    import httpx2

OPENAI: Final = "https://api.openai.com/v1"
LARGEST_ANSWER_BYTES: Final = 64_000_000
PROBE: Final = "How many numbers has a vector?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a server is asked; seconds."""

    at_once: int = 2
    """Requests under way."""
    apart_s: float = 0.05
    """Between the beginnings of two requests."""
    connect_s: float = 5.0
    answer_s: float = 30.0
    """For one request."""
    tries: int = 5
    pause_s: float = 0.5
    """Before the second try; doubled each time, less up to half of it by chance."""
    longest_pause_s: float = 20.0
    """What a server asks for beyond that is left to whoever asked us: nobody is kept waiting so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a test replaces."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random
    clock: Clock = utc_now


class CompatibleEmbedder:
    """Embedder behind `POST {base_url}/embeddings`.

    One server's requests share their pace: what it asks one of them to wait all of them wait.
    """

    def __init__(
        self,
        *,
        model: str,
        api_key: str | None,
        base_url: str | None,
        manners: Manners = Manners(),
        surroundings: Surroundings = Surroundings(),
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        self._model = model
        self._url = f"{base_url or OPENAI}/embeddings"
        self._key = api_key
        self._manners = manners
        self._around = surroundings
        self._http = http_client
        self._space = known_space(model)
        self._places = asyncio.Semaphore(manners.at_once)
        self._not_before = 0.0
        """The loop's time before which no request begins."""

    @property
    def model(self) -> str:
        return self._model

    async def close(self) -> None:
        """Closes the connections that are kept open."""
        if self._http is not None:
            await self._http.aclose()

    async def space(self) -> Space:
        if self._space is None:
            await self.embed([PROBE])
        assert self._space is not None  # noqa: S101 - an answer settles it
        return self._space

    async def embed(self, texts: Sequence[str]) -> Sequence[tuple[float, ...]]:
        vectors: list[tuple[float, ...]] = []
        for batch in batches(texts, self._model):
            vectors += await self._patiently(batch)
        return vectors

    async def _patiently(self, batch: Sequence[str]) -> list[tuple[float, ...]]:
        """One batch, tried again while the server is only busy."""
        for tried in range(1, self._manners.tries + 1):
            try:
                return await self._in_turn(batch)
            except EmbeddingsUnavailable as fault:
                pause_s = self._pause_s(fault, tried)
                if tried == self._manners.tries or pause_s > self._manners.longest_pause_s:
                    raise
            self._hold_back(pause_s)
        raise AssertionError("the last try returns or raises")

    async def _in_turn(self, batch: Sequence[str]) -> list[tuple[float, ...]]:
        async with self._places:
            await self._wait_for_turn()
            status, headers, body = await self._asked(request_bytes(self._model, batch))
        if status != 200:
            raise fault_of(status, headers, body, self._around.clock())
        dimensions = None if self._space is None else self._space.dimensions
        # Off the loop: an answer has some megabytes of numbers.
        vectors = await asyncio.to_thread(vectors_of, body, len(batch), dimensions)
        self._space = self._space or learned_space(self._model, len(vectors[0]))
        return vectors

    async def _asked(self, content: bytes) -> tuple[int, dict[str, str], bytes]:
        import httpx2

        http = self._client()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            async with (
                asyncio.timeout(self._manners.answer_s),
                http.stream("POST", self._url, content=content, headers=headers) as answer,
            ):
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER_BYTES:
                        raise EmbeddingsRefused("its answer is beyond all measure")
                return answer.status_code, dict(answer.headers), bytes(body)
        except TimeoutError as late:
            raise EmbeddingsUnavailable("it took too long") from late
        except (httpx2.HTTPError, OSError) as lost:
            raise EmbeddingsUnavailable("it cannot be reached") from lost
        except (httpx2.InvalidURL, ValueError) as unsendable:
            raise EmbeddingsRefused("its address or our key cannot be sent") from unsendable

    def _client(self) -> httpx2.AsyncClient:
        """Made with the first request, where the event loop is; a redirect would carry texts to another host."""
        import httpx2

        if self._http is None:
            timeout = httpx2.Timeout(self._manners.answer_s, connect=self._manners.connect_s)
            self._http = httpx2.AsyncClient(timeout=timeout, follow_redirects=False)
        return self._http

    async def _wait_for_turn(self) -> None:
        now = asyncio.get_running_loop().time()
        begin = max(now, self._not_before)
        self._not_before = begin + self._manners.apart_s
        if begin > now:
            await self._around.sleep(begin - now)

    def _hold_back(self, pause_s: float) -> None:
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + pause_s)

    def _pause_s(self, fault: EmbeddingsUnavailable, tried: int) -> float:
        grown = min(self._manners.pause_s * 2 ** (tried - 1), self._manners.longest_pause_s)
        spread = grown * (1 - self._around.chance() / 2)
        # Never sooner than the server asked; those it sent away together do not come back together.
        return spread if fault.retry_after_s is None else fault.retry_after_s + spread / 4
