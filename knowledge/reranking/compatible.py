"""A rerank server that is asked over HTTP, once: whoever waits is somebody's search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from knowledge.embeddings.model import TokensUsed
from knowledge.reranking.model import RerankFailed
from knowledge.reranking.wire import RerankApi, refusal_of, request_bytes, scores_of

if TYPE_CHECKING:
    import httpx2

LARGEST_ANSWER_BYTES: Final = 4_000_000
CONNECT_S: Final = 2.0
ANSWER_S: Final = 60.0
"""A bound of last resort: whoever asks waits much less (RerankRules)."""


class CompatibleReranker:
    """Reranker behind `POST {base_url}/rerank`."""

    def __init__(self, *, model: str, api: RerankApi, api_key: str | None, base_url: str) -> None:
        self._model = model
        self._api: RerankApi = api
        self._url = f"{base_url}/rerank"
        self._key = api_key
        self._http: httpx2.AsyncClient | None = None

    @property
    def model(self) -> str:
        return self._model

    async def close(self) -> None:
        """Closes the connections that are kept open."""
        if self._http is not None:
            await self._http.aclose()

    async def scores(self, question: str, texts: Sequence[str], used: TokensUsed) -> Sequence[float]:
        status, body = await self._asked(request_bytes(self._api, self._model, question, texts), used)
        if status != 200:
            used.untold -= 1
            raise RerankFailed(refusal_of(status))
        scores, tokens = scores_of(self._api, body, len(texts))
        if tokens is not None:
            used.untold -= 1
            used.told += tokens
        return scores

    async def _asked(self, content: bytes, used: TokensUsed) -> tuple[int, bytes]:
        """From here on the request counts as one whose tokens nobody told, but where it never got to the server."""
        import httpx2

        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        used.untold += 1
        try:
            async with self._client().stream("POST", self._url, content=content, headers=headers) as answer:
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > LARGEST_ANSWER_BYTES:
                        raise RerankFailed("its answer is beyond all measure")
                return answer.status_code, bytes(body)
        except httpx2.TimeoutException as late:
            used.untold -= isinstance(late, httpx2.ConnectTimeout)
            raise RerankFailed("it took too long") from late
        except (httpx2.HTTPError, OSError) as lost:
            used.untold -= isinstance(lost, httpx2.ConnectError)
            raise RerankFailed("it cannot be reached") from lost
        except (httpx2.InvalidURL, ValueError) as unsendable:
            used.untold -= 1
            raise RerankFailed("its address or our key cannot be sent") from unsendable

    def _client(self) -> httpx2.AsyncClient:
        """Made with the first request, where the event loop is; a redirect would carry texts to another host."""
        import httpx2

        if self._http is None:
            timeout = httpx2.Timeout(ANSWER_S, connect=CONNECT_S)
            self._http = httpx2.AsyncClient(timeout=timeout, follow_redirects=False)
        return self._http
