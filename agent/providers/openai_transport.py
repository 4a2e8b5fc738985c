"""Requests to the provider: the openai SDK's address, credentials and HTTP client, our own body, raw bytes and faults.

Imported lazily (by streaming.py, in a thread): the SDK takes one to three seconds.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager

import aiohttp
import httpx2
import openai

from agent.json_values import parsed
from agent.model import Json
from agent.providers.call_assembly import any_json
from agent.providers.faults import ProviderFault, fault_of_status
from domain.kernel import Clock

_KEEP_ALIVE_S = 60.0
_MOST_CONNECTIONS = 1000
_NO_KEY = "none"
"""What a compatible server without a key is sent; the SDK insists on one."""
_WANTED = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
_MOST_OF_AN_ERROR = 64 * 1024
"""Bytes that are read of an answer other than 200; what it says stands in the first of them."""
_LOST = (httpx2.HTTPError, httpx2.InvalidURL, aiohttp.ClientError, OSError)


class RawAnswer:
    """An answer of status 200: its media type, and its bytes as the network brings them."""

    def __init__(self, media_type: str, reads: AsyncGenerator[bytes, None]) -> None:
        self.media_type = media_type
        self._reads = reads

    async def read(self) -> bytes | None:
        """What one read of the network brought; None at the end.

        Raises  ProviderFault: the connection broke.
        """
        try:
            return await anext(self._reads, None)
        except _LOST as broken:
            raise ProviderFault("interrupted", detail=repr(broken)) from None


class OpenAiTransport:
    """Sends requests to one address of the API and gives the response's bytes; every failure is a ProviderFault.

    The SDK's own methods are passed by: they build each request, and each answer, from many layers (ADR-0007).
    It neither retries nor waits longer than `connect_s` for a connection; how long to wait for bytes is the caller's.
    """

    def __init__(
        self,
        *,
        path: str,
        api_key: str | None,
        base_url: str | None,
        connect_s: float,
        clock: Clock,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        timeout = httpx2.Timeout(None, connect=connect_s)
        limits = httpx2.Limits(max_connections=_MOST_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S)
        self._clock = clock
        # A redirect would carry the conversation to a host that nobody configured.
        self._http = http_client or openai.DefaultAioHttpClient(timeout=timeout, limits=limits, follow_redirects=False)
        sdk = openai.AsyncOpenAI(
            api_key=api_key or _NO_KEY, base_url=base_url, timeout=timeout, max_retries=0, http_client=self._http
        )
        self._url = sdk.base_url.copy_with(path=sdk.base_url.path.rstrip("/") + path)
        self._headers = httpx2.Headers({**_texts(sdk.default_headers), **sdk.auth_headers, **_WANTED})
        self._timeout = timeout.as_dict()

    async def close(self) -> None:
        """Closes the connections that are kept open between turns."""
        await self._http.aclose()

    @asynccontextmanager
    async def post(self, body: Json) -> AsyncGenerator[RawAnswer, None]:
        """Sends the request; leaving the block closes the connection unless the answer was read to its end.

        Raises  ProviderFault: no connection, or another status.
        """
        try:
            async with aclosing(await self._sent(body)) as response:
                if not response.is_success:
                    raise await self._status_fault(response) from None
                media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                async with aclosing(response.aiter_bytes()) as reads:
                    yield RawAnswer(media_type, reads)
        except _LOST as failed:
            # The aiohttp transport calls a connection that was closed at once a timeout; ours are the caller's.
            raise ProviderFault("connection", detail=repr(failed)) from None

    async def _sent(self, body: Json) -> httpx2.Response:
        content, extensions = any_json(body).encode(), {"timeout": self._timeout}
        request = httpx2.Request("POST", self._url, headers=self._headers, content=content, extensions=extensions)
        try:
            return await self._http.send(request, stream=True)
        except ValueError as unsendable:
            # What aiohttp says of an address that is none, and of a key that no header can carry.
            raise ProviderFault("connection", detail=repr(unsendable)) from None

    async def _status_fault(self, refused: httpx2.Response) -> ProviderFault:
        told = await _beginning(refused)
        said = parsed(told)
        body = told.decode(errors="replace") if said is None else said
        return fault_of_status(refused.status_code, refused.headers, body, self._clock())


async def _beginning(refused: httpx2.Response) -> bytes:
    """As much of the body as may hold an error; whoever leaves the response closes its connection."""
    told = bytearray()
    async with aclosing(refused.aiter_bytes()) as reads:
        async for read in reads:
            told += read
            if len(told) >= _MOST_OF_AN_ERROR:
                break
    return bytes(told[:_MOST_OF_AN_ERROR])


def _texts(headers: Mapping[str, object]) -> dict[str, str]:
    """Without those that the SDK marks as not to be sent."""
    return {name: value for name, value in headers.items() if isinstance(value, str)}
