"""An issuer's public keys by their JWKS address: fetched with limits, kept, renewed, asked for when one is new."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import jwt
import orjson
import structlog

if TYPE_CHECKING:
    import httpx2

Algorithm = Literal["RS256", "ES256"]
ALGORITHMS: Mapping[str, Algorithm] = {"RSA": "RS256", "EC": "ES256"}
"""What a key of each kind signs with here: the key decides, never the token."""
FETCH_TIMEOUT_S = 5.0
MOST_BYTES = 256 * 1024
MOST_KEYS = 100
SHORTEST_RSA_BITS = 2048

log = structlog.get_logger(__name__)


class JwksUnusable(Exception):
    """What the address gave cannot be used; the words hold nothing of it."""


class KeysUnavailable(Exception):
    """Whether the token is valid cannot be known now: its key is not known, the issuer is away or was just asked."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("the issuer's keys cannot be fetched")
        self.retry_after_s = retry_after_s


Fetch = Callable[[], Awaitable[bytes]]
"""The document at the address.

Raises  JwksUnusable.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How long keys hold; all in seconds."""

    pause_s: float = 10.0
    """Between two fetches at least, however many unknown keys are asked for."""
    renew_s: float = 300.0
    """Keys older than this are fetched again before they count: a key that the issuer took away goes."""
    forget_s: float = 24 * 3600.0
    """For so long known keys go on working while the issuer is away."""


class Jwks:
    """The keys of one issuer, by their ids."""

    def __init__(
        self, fetch: Fetch, freshness: Freshness | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._freshness = freshness or Freshness()
        self._monotonic = monotonic
        self._keys: Mapping[tuple[str, Algorithm], jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._asked_at: float | None = None
        self._away = False
        self._renewing: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: Algorithm) -> jwt.PyJWK | None:
        """The key with that id; without an id the only one there is for the algorithm. None: the issuer has none such.

        Raises  KeysUnavailable: the issuer cannot be asked for a key that is not known, or not yet again.
        """
        asked = True
        if self._age_s() >= self._freshness.renew_s or self._known(kid, algorithm) is None:
            # Also of a known key: after a quiet night it may be one that the issuer took away hours ago. One that is
            # known to be away is asked beside the work: nobody waits for it who can do without.
            if self._away and self._known(kid, algorithm) is not None:
                self._renew()
            else:
                asked = await self._renewed()
        found = self._known(kid, algorithm)
        if found is None and (self._away or (not asked and self._is_new(kid))):
            raise KeysUnavailable(max(1, math.ceil(self._pause_left_s())))
        return found

    async def close(self) -> None:
        """Ends a fetch that is under way."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _known(self, kid: str | None, algorithm: Algorithm) -> jwt.PyJWK | None:
        if self._age_s() >= self._freshness.forget_s:
            return None
        if kid is not None:
            return self._keys.get((kid, algorithm))
        fitting = [key for (_, signs), key in self._keys.items() if signs == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _is_new(self, kid: str | None) -> bool:
        """No key of any kind has this name, as far as is known."""
        return kid is not None and all(name != kid for name, _ in self._keys)

    def _age_s(self) -> float:
        return float("inf") if self._fetched_at is None else self._monotonic() - self._fetched_at

    def _pause_left_s(self) -> float:
        """Until the issuer may be asked again."""
        if self._asked_at is None:
            return 0.0
        return self._asked_at + self._freshness.pause_s - self._monotonic()

    async def _renewed(self) -> bool:
        """Awaits the one fetch under way; False: the last one was a moment ago, and there shall be no other yet."""
        renewing = self._renew()
        if renewing is None:
            return False
        # Whoever gives up waiting must not take the fetch from the others.
        await asyncio.shield(renewing)
        return True

    def _renew(self) -> asyncio.Task[None] | None:
        """The one fetch under way; None: the last one was a moment ago."""
        if self._renewing is None or self._renewing.done():
            if self._pause_left_s() > 0:
                return None
            self._asked_at = self._monotonic()
            self._renewing = asyncio.create_task(self._fetched())
        return self._renewing

    async def _fetched(self) -> None:
        try:
            self._keys = keys_of(await self._fetch())
        except JwksUnusable as unusable:
            self._away = True
            log.warning("jwks.unavailable", reason=str(unusable))
        else:
            self._fetched_at, self._away = self._monotonic(), False


def keys_of(document: bytes) -> Mapping[tuple[str, Algorithm], jwt.PyJWK]:
    """The usable keys of a JWKS document, by id and algorithm; an issuer that took them all away has none.

    Raises  JwksUnusable: it is none.
    """
    try:
        told: object = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise JwksUnusable("not JSON") from None
    listed: object = cast("dict[str, object]", told).get("keys") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise JwksUnusable("no list of keys")
    found = list(filter(None, map(_usable, cast("list[object]", listed)[:MOST_KEYS])))
    named = Counter(name for name, _ in found)
    # Of two keys by one name, or without any, it cannot be said which a token means.
    return {name: key for name, key in found if named[name] == 1}


def _usable(raw: object) -> tuple[tuple[str, Algorithm], jwt.PyJWK] | None:
    """The key, unless it is of another kind, for another use, too short, or not even public."""
    if not isinstance(raw, dict):
        return None
    told = cast("dict[str, object]", raw)
    algorithm = ALGORITHMS.get(str(told.get("kty")))
    if algorithm is None or told.get("alg", algorithm) != algorithm or "d" in told:
        return None
    if algorithm == "ES256" and told.get("crv") != "P-256":
        return None
    operations = told.get("key_ops", ["verify"])
    if told.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = jwt.PyJWK(cast("dict[str, str]", told), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if algorithm == "RS256" and getattr(key.key, "key_size", 0) < SHORTEST_RSA_BITS:
        return None
    kid = told.get("kid")
    return (kid if isinstance(kid, str) else "", algorithm), key


def fetch_from(url: str, timeout_s: float = FETCH_TIMEOUT_S) -> Fetch:
    """Fetches the address: no redirect is followed, and neither time nor size is the other side's to choose."""

    async def fetch() -> bytes:
        import httpx2

        try:
            async with asyncio.timeout(timeout_s), httpx2.AsyncClient(follow_redirects=False) as client:
                headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
                async with client.stream("GET", url, headers=headers) as answer:
                    if answer.status_code != 200:
                        raise JwksUnusable(f"status {answer.status_code}")
                    return await _bounded(answer)
        except TimeoutError:
            raise JwksUnusable("no answer in time") from None
        except (httpx2.HTTPError, OSError) as broken:
            raise JwksUnusable(type(broken).__name__) from None

    return fetch


async def _bounded(answer: "httpx2.Response") -> bytes:
    held = bytearray()
    async for part in answer.aiter_raw():
        held += part
        if len(held) > MOST_BYTES:
            raise JwksUnusable(f"more than {MOST_BYTES} bytes")
    return bytes(held)
