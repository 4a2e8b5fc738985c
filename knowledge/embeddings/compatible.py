"""An embedding server that speaks OpenAI's API, asked in batches, few at once, and again where it was only busy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from domain.backoff import Backoff
from domain.kernel import Clock, utc_now
from knowledge.embeddings.model import (
    EmbeddingsRefused,
    EmbeddingsUnavailable,
    Space,
    TokensUsed,
    known_space,
    learned_space,
)
from knowledge.embeddings.wire import LONGEST_TEXT, MOST_TEXTS, answer_of, batches, fault_of, request_bytes
from knowledge.tokens import load_encoding

if TYPE_CHECKING:
    import httpx2

LARGEST_ANSWER_BYTES: Final = 64_000_000
LONGEST_ABSENCE_S: Final = 3600.0
PROBE: Final = "How many numbers has a vector?"
"""A text that no server has a reason to refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How a server is asked; seconds."""

    at_once: int = 2
    """Requests under way; questions have as many places of their own."""
    apart_s: float = 0.05
    """Between the beginnings of two requests."""
    connect_s: float = 5.0
    answer_s: float = 30.0
    """For one request."""
    tries: int = 5
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=0.5, longest_s=20.0))
    """What a server asks for beyond the longest is left to whoever asked us: nobody is kept waiting so long."""


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
        base_url: str,
        manners: Manners = Manners(),
        surroundings: Surroundings = Surroundings(),
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        self._model = model
        self._url = f"{base_url}/embeddings"
        self._key = api_key
        self._manners = manners
        self._around = surroundings
        self._http = http_client
        self._space = known_space(model)
        self._places = asyncio.Semaphore(manners.at_once)
        self._for_questions = asyncio.Semaphore(manners.at_once)
        self._most_texts = MOST_TEXTS
        """Texts that this server was found to take at once."""
        self._away_until = 0.0
        """The loop's time until which the server wants no request at all."""
        self._not_before = 0.0
        """The loop's time before which no request for passages begins."""
        self._held_until = 0.0
        """The loop's time before which no request begins at all: the server was busy."""

    @property
    def model(self) -> str:
        return self._model

    async def close(self) -> None:
        """Closes the connections that are kept open."""
        if self._http is not None:
            await self._http.aclose()

    async def space(self, used: TokensUsed | None = None) -> Space:
        if self._space is None:
            await self.embed_question(PROBE, used)
        assert self._space is not None  # noqa: S101 - an answer settles it
        return self._space

    async def embed_question(self, text: str, used: TokensUsed | None = None) -> tuple[float, ...]:
        (vector,) = await self._patiently([text[:LONGEST_TEXT]], self._for_questions, used or TokensUsed())
        return vector

    async def embed(self, texts: Sequence[str], used: TokensUsed | None = None) -> Sequence[tuple[float, ...] | None]:
        used = used or TokensUsed()
        vectors: list[tuple[float, ...] | None] = []
        await load_encoding(self._model)
        for batch in batches(texts, self._model, self._most_texts):
            try:
                vectors += await self._patiently(batch, self._places, used)
            except EmbeddingsRefused as refused:
                if not refused.of_texts:
                    raise
                vectors += await self._in_halves(batch, refused, used)
        return vectors

    async def _in_halves(
        self, batch: Sequence[str], refused: EmbeddingsRefused, used: TokensUsed
    ) -> Sequence[tuple[float, ...] | None]:
        """A batch that was refused whole: its halves, and theirs, down to the texts that are refused alone.

        Raises  EmbeddingsRefused: the server takes no text, so that these are not at fault.
        """
        if not await self._takes_texts(used):
            raise EmbeddingsRefused(refused.reason) from refused
        return await self._halves(batch, used)

    async def _halves(self, batch: Sequence[str], used: TokensUsed) -> Sequence[tuple[float, ...] | None]:
        if len(batch) == 1:
            return [None]
        half = (len(batch) + 1) // 2
        vectors: list[tuple[float, ...] | None] = []
        for part in (batch[:half], batch[half:]):
            try:
                vectors += await self._patiently(part, self._places, used)
            except EmbeddingsRefused as refused:
                if not refused.of_texts:
                    raise
                vectors += await self._halves(part, used)
        if None not in vectors:
            # No text was at fault, so their number was: the next batches are as small as these.
            self._most_texts = min(self._most_texts, half)
        return vectors

    async def _takes_texts(self, used: TokensUsed) -> bool:
        try:
            await self._patiently([PROBE], self._places, used)
        except EmbeddingsRefused:
            return False
        return True

    async def _patiently(
        self, batch: Sequence[str], places: asyncio.Semaphore, used: TokensUsed
    ) -> list[tuple[float, ...]]:
        """One batch, tried again while the server is only busy."""
        for tried in range(1, self._manners.tries + 1):
            try:
                return await self._in_turn(batch, places, used)
            except EmbeddingsUnavailable as fault:
                pause_s = self._pause_s(fault, tried)
                if pause_s > self._manners.backoff.longest_s:
                    self._leave_alone(fault.retry_after_s or pause_s)
                if tried == self._manners.tries or pause_s > self._manners.backoff.longest_s:
                    raise
            self._hold_back(pause_s)
        raise AssertionError("the last try returns or raises")

    async def _in_turn(
        self, batch: Sequence[str], places: asyncio.Semaphore, used: TokensUsed
    ) -> list[tuple[float, ...]]:
        async with places:
            await self._wait_for_turn(paced=places is self._places)
            self._check_whether_away()
            status, headers, body = await self._asked(request_bytes(self._model, batch), used)
        if status != 200:
            used.untold -= 1
            raise fault_of(status, headers, body, self._around.clock())
        dimensions = None if self._space is None else self._space.dimensions
        # Off the loop: an answer has some megabytes of numbers.
        answer = await asyncio.to_thread(answer_of, body, len(batch), dimensions)
        if answer.tokens is not None:
            used.untold -= 1
            used.told += answer.tokens
        self._space = self._space or learned_space(self._model, len(answer.vectors[0]))
        return answer.vectors

    async def _asked(self, content: bytes, used: TokensUsed) -> tuple[int, dict[str, str], bytes]:
        """From here on the request counts as one whose tokens nobody told, but where it never got to the server."""
        import httpx2

        http = self._client()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        used.untold += 1
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
            used.untold -= isinstance(lost, httpx2.ConnectError | httpx2.ConnectTimeout)
            raise EmbeddingsUnavailable("it cannot be reached") from lost
        except (httpx2.InvalidURL, ValueError) as unsendable:
            used.untold -= 1
            raise EmbeddingsRefused("its address or our key cannot be sent") from unsendable

    def _client(self) -> httpx2.AsyncClient:
        """Made with the first request, where the event loop is; a redirect would carry texts to another host."""
        import httpx2

        if self._http is None:
            timeout = httpx2.Timeout(self._manners.answer_s, connect=self._manners.connect_s)
            self._http = httpx2.AsyncClient(timeout=timeout, follow_redirects=False)
        return self._http

    async def _wait_for_turn(self, *, paced: bool) -> None:
        """What the server asks to wait is waited by all; a question does not wait for the pace of the others."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._held_until)
        if paced:
            begin = max(begin, self._not_before)
            self._not_before = begin + self._manners.apart_s
        if begin > now:
            await self._around.sleep(begin - now)

    def _leave_alone(self, seconds: float) -> None:
        """What the server asks of one request for so long holds for all, within bounds: it may be back much sooner."""
        until = asyncio.get_running_loop().time() + min(seconds, LONGEST_ABSENCE_S)
        self._away_until = max(self._away_until, until)

    def _check_whether_away(self) -> None:
        rest_s = self._away_until - asyncio.get_running_loop().time()
        if rest_s > 0:
            raise EmbeddingsUnavailable("it asked to be left alone for a while", rest_s)

    def _hold_back(self, pause_s: float) -> None:
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + pause_s)

    def _pause_s(self, fault: EmbeddingsUnavailable, tried: int) -> float:
        return self._manners.backoff.pause_s(tried, self._around.chance(), asked_s=fault.retry_after_s)
