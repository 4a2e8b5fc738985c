"""The Chat Completions provider: any server that speaks this API, behind the port of agent/model.py."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from agent.model import ModelEvent, ModelRequest, TextDelta
from agent.providers.chat_turn import ChatTurn
from agent.providers.chat_wire import request_body
from agent.providers.faults import ProviderFault, model_failed
from agent.providers.sse import EventReader, PayloadReader, WholeBodyReader
from domain.kernel import Clock, new_id, utc_now

if TYPE_CHECKING:
    import httpx2

    from agent.providers.openai_transport import OpenAiTransport, RawAnswer

LimitField = Literal["max_completion_tokens", "max_tokens"]
Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a turn may keep its reader waiting; all in seconds."""

    connect_s: float = 5.0
    first_token_s: float = 60.0
    """From the request to the first chunk, tries and pauses included."""
    stall_s: float = 60.0
    """Between two chunks."""
    farewell_s: float = 1.0
    """For what follows the finished answer: the usage, [DONE], the end of the body."""
    tries: int = 4
    pause_s: float = 0.5
    """Before the second try; doubled each time, less up to half of it by chance."""
    longest_pause_s: float = 8.0

    @classmethod
    def of(cls, timeout_s: float) -> "Patience":
        """Waits `timeout_s` for the first chunk and between chunks (GLOW_MODEL_TIMEOUT_S)."""
        return cls(connect_s=min(cls().connect_s, timeout_s), first_token_s=timeout_s, stall_s=timeout_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a test replaces: the pause between tries, its randomness, the wall clock (for `Retry-After` dates)."""

    sleep: Sleep = asyncio.sleep
    chance: Callable[[], float] = random.random
    clock: Clock = utc_now


class ChatCompletionsModel:
    """A model behind the Chat Completions API.

    The SDK is loaded by `warm_up`, or by the first turn. Before the first token it tries again on 429, 502, 503, 504
    and faults of the connection, as often and as long as `patience` allows; after it never, since text was shown.
    `limit_field`: OpenAI itself takes only max_completion_tokens, many compatible servers only max_tokens.
    `http_client` replaces the SDK's aiohttp transport (tests).
    """

    def __init__(
        self,
        *,
        name: str,
        context_window: int,
        api_key: str | None,
        base_url: str | None = None,
        patience: Patience | None = None,
        limit_field: LimitField | None = None,
        surroundings: Surroundings | None = None,
        http_client: "httpx2.AsyncClient | None" = None,
    ) -> None:
        self._name = name
        self._context_window = context_window
        self._api_key = api_key
        self._base_url = base_url
        self._patience = patience or Patience()
        self._limit_field = limit_field or ("max_tokens" if base_url else "max_completion_tokens")
        self._surroundings = surroundings or Surroundings()
        self._http_client = http_client
        self._transport: OpenAiTransport | None = None
        self._loading = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_window(self) -> int:
        return self._context_window

    async def warm_up(self) -> None:
        """Loads the SDK in a thread, so that neither the start nor the first turn stands still for it."""
        await self._ready()

    async def close(self) -> None:
        """Closes the connections to the provider."""
        if self._transport is not None:
            await self._transport.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """One turn, as `Model.stream` promises it."""
        transport = await self._ready()
        body = request_body(request, limit_field=self._limit_field)
        waiting = _Waiting(self._patience, self._surroundings)
        while True:
            turn = ChatTurn(lambda: f"call_{new_id().hex}")
            try:
                async with AsyncExitStack() as connection:
                    sent = transport.post(self._name, body)
                    answer = await _by(waiting.until, connection.enter_async_context(sent))
                    events = _events(answer, turn, _Reads(answer, turn, self._patience, first_until=waiting.until))
                    async for event in await connection.enter_async_context(aclosing(events)):
                        yield event
                return
            except ProviderFault as fault:
                if turn.begun or not await waiting.pause(fault):
                    raise model_failed(fault) from fault

    async def _ready(self) -> "OpenAiTransport":
        if self._transport is None:
            async with self._loading:
                self._transport = self._transport or await asyncio.to_thread(self._load)
        return self._transport

    def _load(self) -> "OpenAiTransport":
        from agent.providers.openai_transport import OpenAiTransport

        return OpenAiTransport(
            api_key=self._api_key,
            base_url=self._base_url,
            connect_s=self._patience.connect_s,
            clock=self._surroundings.clock,
            http_client=self._http_client,
        )


class _Waiting:
    """The tries of one turn: how many are left, and until when the first token must be here."""

    def __init__(self, patience: Patience, surroundings: Surroundings) -> None:
        self._patience = patience
        self._surroundings = surroundings
        self._tried = 0
        self.until = _now() + patience.first_token_s

    async def pause(self, fault: ProviderFault) -> bool:
        """Waits before the next try; False, at once, when there shall be none."""
        self._tried += 1
        pause_s = self._pause_s(fault)
        if not fault.passing or self._tried >= self._patience.tries or _now() + pause_s >= self.until:
            return False
        await self._surroundings.sleep(pause_s)
        return True

    def _pause_s(self, fault: ProviderFault) -> float:
        grown = min(self._patience.pause_s * 2 ** (self._tried - 1), self._patience.longest_pause_s)
        spread = grown * (1 - self._surroundings.chance() / 2)
        # Never sooner than the server asked; those it sent away together do not come back together.
        return spread if fault.retry_after_s is None else fault.retry_after_s + spread / 4


class _Reads:
    """The reads of one response, each awaited no longer than its place in the answer allows."""

    def __init__(self, answer: "RawAnswer", turn: ChatTurn, patience: Patience, *, first_until: float) -> None:
        self._answer = answer
        self._turn = turn
        self._patience = patience
        self._until = first_until

    def heard(self, payloads: list[bytes]) -> None:
        """Moves the deadline on; comments do not, a server can send them for ever."""
        if payloads:
            self._until = _now() + self._patience.stall_s

    async def next(self) -> bytes | None:
        """The next read; None at the end of the body, or when all that matters has been said."""
        if self._turn.fault is not None:
            return None
        if not self._turn.finished:
            return await _by(self._until, self._answer.read())
        # The body is read to its end where that costs nothing, since only then the connection can be used again.
        try:
            return await _by(min(self._until, _now() + self._patience.farewell_s), self._answer.read())
        except ProviderFault:
            return None


async def _events(answer: "RawAnswer", turn: ChatTurn, reads: _Reads) -> AsyncGenerator[ModelEvent, None]:
    reader = _reader_of(answer.media_type)
    while (read := await reads.next()) is not None:
        payloads = reader.feed(read)
        reads.heard(payloads)
        # What one read brought becomes one event: each costs every sink its share (performance.md).
        if added := turn.read(payloads):
            yield TextDelta(text=added)
    if added := turn.read(reader.end()):
        yield TextDelta(text=added)
    if turn.fault is not None and not turn.finished:
        raise turn.fault
    for event in turn.end():
        yield event


def _reader_of(media_type: str) -> PayloadReader:
    if media_type == "text/html":
        raise ProviderFault("protocol", detail="a page for people: is the base URL that of an API?")
    return WholeBodyReader() if media_type == "application/json" else EventReader()


async def _by(until: float, awaited: Awaitable[T]) -> T:
    """What `awaited` gives before the loop's time `until`; then ProviderFault("timeout")."""
    try:
        async with asyncio.timeout_at(until):
            return await awaited
    except TimeoutError:
        raise ProviderFault("timeout") from None


def _now() -> float:
    return asyncio.get_running_loop().time()
