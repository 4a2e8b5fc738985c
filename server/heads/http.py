"""A request to a place that an operator named: no redirect is followed; time and size are not the place's to choose."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from server.heads.place import DeliveryFailed

TIMEOUT_S = 10.0
MOST_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and the beginning of its body."""

    status: int
    body: bytes


async def ask(method: str, url: str, headers: Mapping[str, str], content: bytes) -> Answer:
    """Raises  DeliveryFailed: no answer."""
    import httpx2

    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx2.AsyncClient(follow_redirects=False) as client,
            client.stream(method, url, headers=dict(headers), content=content) as answer,
        ):
            held = bytearray()
            async for part in answer.aiter_raw():
                held += part
                if len(held) >= MOST_BYTES:
                    break
            return Answer(answer.status_code, bytes(held[:MOST_BYTES]))
    except TimeoutError:
        raise DeliveryFailed("no answer in time") from None
    except (httpx2.HTTPError, OSError) as broken:
        raise DeliveryFailed(f"cannot be reached: {type(broken).__name__}") from None
