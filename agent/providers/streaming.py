"""The one streaming core under every hosted model: request, tries before the first token, deadlines, text as it comes.

What differs from API to API (address, body, how an answer is read) is a `Wire`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from agent.model import Json, ModelEvent, ModelRequest, TextDelta
from agent.providers.faults import ProviderFault, model_failed
from agent.providers.patience import Patience, Surroundings, Waiting, by, now_s
from agent.providers.sse import EventReader, PayloadReader, WholeBodyReader
from agent.providers.turn import ProviderTurn
from domain.kernel import Clock

if TYPE_CHECKING:
    import httpx2

    from agent.providers.openai_transport import OpenAiTransport, RawAnswer


_OPENAI = "api.openai.com"


class Wire(Protocol):
    """One API's own words."""

    @property
    def path(self) -> str:
        """Where requests go, below the base URL."""
        ...

    def body(self, request: ModelRequest) -> Json:
        """The whole body of the request."""
        ...

    def turn(self) -> ProviderTurn:
        """What reads one answer."""
        ...

    def reworded(self, body: Json, fault: ProviderFault) -> Json | None:
        """Another body for the same request, where the provider said that it cannot take something of this one.

        None: there is nothing to leave out. Each rewording has less, so that there is an end to them.
        """
        ...

    def answered(self, body: Json) -> None:
        """The server took that body: what a rewording left out need not be tried again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model and the server that has it."""

    name: str
    context_window: int
    """Tokens."""
    api_key: str | None
    """None for a server that asks for none."""
    base_url: str | None = None
    """None is OpenAI's own."""
    patience: Patience = field(default_factory=Patience)
    elsewhere: str = ""
    """Where that is, of a server that is not the installation's own: what it made is sent back to it alone."""

    @property
    def is_openai(self) -> bool:
        """Whether it is OpenAI's own, which knows fields that compatible servers may refuse."""
        return self.base_url is None or urlsplit(self.base_url).hostname == _OPENAI


class Connections:
    """The connections to one API of one server, which all its models may share; opened by the first who asks.

    `http_client` replaces the SDK's aiohttp transport (tests).
    """

    def __init__(
        self, endpoint: Endpoint, path: str, clock: Clock, http_client: "httpx2.AsyncClient | None" = None
    ) -> None:
        self._endpoint = endpoint
        self._path = path
        self._clock = clock
        self._http_client = http_client
        self._transport: OpenAiTransport | None = None
        self._loading = asyncio.Lock()

    async def transport(self) -> "OpenAiTransport":
        """What sends requests there; the SDK is loaded in a thread, so that nothing stands still for it."""
        if self._transport is None:
            async with self._loading:
                self._transport = self._transport or await asyncio.to_thread(self._load)
        return self._transport

    async def close(self) -> None:
        """Closes them, for all models that share them."""
        if self._transport is not None:
            await self._transport.close()

    def _load(self) -> "OpenAiTransport":
        from agent.providers.openai_transport import OpenAiTransport

        return OpenAiTransport(
            path=self._path,
            api_key=self._endpoint.api_key,
            base_url=self._endpoint.base_url,
            connect_s=self._endpoint.patience.connect_s,
            clock=self._clock,
            http_client=self._http_client,
        )


class StreamedModel:
    """A model behind an API that streams; satisfies agent.model.Model.

    The SDK is loaded by the first turn. Before the first token it tries again where the server is busy
    or broken and where the connection fails, as often and as long as its patience allows; after it never, since text
    was shown: agent/providers/chain.py goes on from there.
    `connections`: those of another model of the same endpoint's server and API; without them it has its own.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        wire: Wire,
        *,
        surroundings: Surroundings | None = None,
        http_client: "httpx2.AsyncClient | None" = None,
        connections: Connections | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._wire = wire
        self._surroundings = surroundings or Surroundings()
        self.connections = connections or Connections(endpoint, wire.path, self._surroundings.clock, http_client)

    @property
    def name(self) -> str:
        return self._endpoint.name

    @property
    def context_window(self) -> int:
        return self._endpoint.context_window

    async def close(self) -> None:
        """Closes the connections to the provider, also for the models that share them."""
        await self.connections.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """One turn, as `Model.stream` promises it."""
        transport = await self.connections.transport()
        body = self._wire.body(request)
        waiting = Waiting(self._endpoint.patience, self._surroundings)
        while True:
            turn = self._wire.turn()
            try:
                async with AsyncExitStack() as connection:
                    answer = await by(waiting.until, connection.enter_async_context(transport.post(body)))
                    reads = _Reads(answer, turn, self._endpoint.patience, first_until=waiting.until)
                    async for event in await connection.enter_async_context(aclosing(_events(answer, turn, reads))):
                        yield event
                self._wire.answered(body)
                return
            except ProviderFault as fault:
                again = None if turn.begun else await self._again(body, fault, waiting)
                if again is None:
                    raise model_failed(fault, begun=turn.begun) from fault
                body = again

    async def _again(self, body: Json, fault: ProviderFault, waiting: Waiting) -> Json | None:
        """The body of the next try, once it is time for it; None: there shall be none."""
        reworded = self._wire.reworded(body, fault)
        if reworded is not None:
            return reworded
        return body if await waiting.pause(fault) else None


class _Reads:
    """The reads of one response, each awaited no longer than its place in the answer allows."""

    def __init__(self, answer: "RawAnswer", turn: ProviderTurn, patience: Patience, *, first_until: float) -> None:
        self._answer = answer
        self._turn = turn
        self._patience = patience
        self._until = first_until

    def heard(self, payloads: list[bytes]) -> None:
        """Moves the deadline on; comments do not, a server can send them for ever."""
        if payloads:
            speaks = self._turn.begun and not self._turn.reasons
            self._until = now_s() + (self._patience.stall_s if speaks else self._patience.first_token_s)

    async def next(self) -> bytes | None:
        """The next read; None at the end of the body, or when all that matters has been said."""
        if self._turn.fault is not None:
            return None
        if not self._turn.finished:
            return await by(self._until, self._answer.read())
        # The body is read to its end where that costs nothing, since only then the connection can be used again.
        try:
            return await by(min(self._until, now_s() + self._patience.farewell_s), self._answer.read())
        except ProviderFault:
            return None


async def _events(answer: "RawAnswer", turn: ProviderTurn, reads: _Reads) -> AsyncGenerator[ModelEvent, None]:
    reader = _reader_of(answer.media_type)
    while (read := await reads.next()) is not None:
        payloads = reader.feed(read)
        added = turn.read(payloads)
        reads.heard(payloads)
        # What one read brought becomes one event: each costs every sink its share (performance.md).
        if added:
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
