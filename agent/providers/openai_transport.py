"""The openai SDK as a sender of requests: its client and credentials, its raw response, our own faults.

Imported lazily (by chat_completions.py, in a thread): the SDK takes one to three seconds.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import aiohttp
import httpx2
import openai

from agent.model import Json
from agent.providers.faults import ProviderFault, fault_of_status
from domain.kernel import Clock

_KEEP_ALIVE_S = 60.0
_MOST_CONNECTIONS = 1000
_NO_KEY = "none"
"""What a compatible server without a key is sent; the SDK insists on one."""


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
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as broken:
            raise ProviderFault("interrupted", detail=repr(broken)) from None


class OpenAiTransport:
    """Sends Chat Completions requests and gives the response's bytes; every failure is a ProviderFault.

    It neither retries nor waits longer than `connect_s` for a connection; how long to wait for bytes is the caller's.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        base_url: str | None,
        connect_s: float,
        clock: Clock,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        timeout = httpx2.Timeout(None, connect=connect_s)
        limits = httpx2.Limits(max_connections=_MOST_CONNECTIONS, keepalive_expiry=_KEEP_ALIVE_S)
        self._clock = clock
        self._client = openai.AsyncOpenAI(
            api_key=api_key or _NO_KEY,
            base_url=base_url,
            timeout=timeout,
            max_retries=0,
            # A redirect would carry the conversation to a host that nobody configured.
            http_client=http_client
            or openai.DefaultAioHttpClient(timeout=timeout, limits=limits, follow_redirects=False),
        )
        # The SDK loads its resources on first use; here it is still in the thread.
        self._create = self._client.chat.completions.with_streaming_response.create

    async def close(self) -> None:
        """Closes the connections that are kept open between turns."""
        await self._client.close()

    @asynccontextmanager
    async def post(self, model: str, body: Json) -> AsyncGenerator[RawAnswer, None]:
        """Sends the request; leaving the block closes the connection unless the answer was read to its end.

        Raises  ProviderFault: no connection, or another status.
        """
        try:
            # `extra_body` goes into the request as it is, where `messages` and `tools` would first be walked and
            # rebuilt (0.9 ms a turn, performance.md); it replaces the empty list.
            sent = self._create(
                model=model,
                messages=[],
                stream=True,
                stream_options={"include_usage": True},
                extra_body=body,
                extra_headers={"Accept": "text/event-stream", "Accept-Encoding": "identity"},
            )
            async with sent as response, aclosing(response.http_response.aiter_bytes()) as reads:
                media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                yield RawAnswer(media_type, reads)
        except openai.APIStatusError as refused:
            raise self._status_fault(refused) from None
        except openai.APIConnectionError as failed:
            # The aiohttp transport calls a connection that was closed at once a timeout; ours are the caller's.
            raise ProviderFault("connection", detail=repr(failed.__cause__)) from None
        except (httpx2.HTTPError, aiohttp.ClientError, OSError) as failed:
            raise ProviderFault("connection", detail=repr(failed)) from None

    def _status_fault(self, refused: openai.APIStatusError) -> ProviderFault:
        return fault_of_status(refused.status_code, refused.response.headers, refused.body, self._clock())
