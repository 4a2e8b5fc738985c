"""Fetches one page: within its bounds, through checked connections, and only where its site lets robots."""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import unquote

import httpcore2
import httpx2

from knowledge.fetching.connecting import CheckedBackend, Resolve, resolve_by_system
from knowledge.fetching.model import (
    NO_ALLOWANCE,
    AddressRefused,
    Allowance,
    FetchLimits,
    Page,
    PageTooLarge,
    PageUnavailable,
    RobotsRefused,
    RobotsUnavailable,
    Unchanged,
    UrlRefused,
)
from knowledge.fetching.robots import MOST_BYTES, Robots, robots_of

AGENT: Final = "prisma-glow"
"""By which robots.txt names this robot."""
LONGEST_URL: Final = 2000
USUAL = FetchLimits()
_PORTS = frozenset({80, 443, 8080, 8443})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GZIP_OR_ZLIB: Final = 47


@dataclass(slots=True)
class _Answer:
    """What one request was answered with; its body where that was asked for."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""


class WebFetcher:
    """Asks strangers' servers for pages. `resolve` and `allowance` are what a test replaces."""

    def __init__(
        self,
        limits: FetchLimits = USUAL,
        *,
        resolve: Resolve = resolve_by_system,
        allowance: Allowance = NO_ALLOWANCE,
    ) -> None:
        self._limits = limits
        self._resolve = resolve
        self._allowance = allowance

    async def page(self, url: str, most_bytes: int | None = None) -> Page:
        """The page as it is now; raises as `fetch` does."""
        found = await self.fetch(url, most_bytes=most_bytes)
        if isinstance(found, Unchanged):
            raise PageUnavailable("the server answers what it was not asked", status=304)
        return found

    async def fetch(
        self,
        url: str,
        *,
        most_bytes: int | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
    ) -> Page | Unchanged:
        """The page; Unchanged: where it was said how it was, and it is still so.

        Raises  UrlRefused, AddressRefused, RobotsRefused, PageTooLarge, PageUnavailable.
        """
        async with self.visit() as visit:
            return await visit.fetch(url, most_bytes=most_bytes, etag=etag, last_modified=last_modified)

    @asynccontextmanager
    async def visit(self) -> AsyncGenerator[Visit]:
        """Pages one after another, for the length of the block.

        Connections of this visit alone, directly: a proxy that the surroundings name would resolve by itself.
        """
        backend = CheckedBackend(self._resolve, self._allowance)
        async with httpcore2.AsyncConnectionPool(
            ssl_context=_trusted(), max_connections=2, max_keepalive_connections=0, network_backend=backend
        ) as pool:
            yield Visit(pool, self._limits, self._allowance)


class Visit:
    """Pages that are fetched one after another: what sites ask of robots is asked of each once."""

    def __init__(self, pool: httpcore2.AsyncConnectionPool, limits: FetchLimits, allowance: Allowance) -> None:
        self._pool = pool
        self._limits = limits
        self._allowance = allowance
        self._known: dict[str, Robots] = {}

    async def fetch(
        self,
        url: str,
        *,
        most_bytes: int | None = None,
        etag: str | None = None,
        last_modified: str | None = None,
    ) -> Page | Unchanged:
        """As WebFetcher.fetch."""
        conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        headers = {name: value for name, value in conditions.items() if value is not None}
        most = min(most_bytes or self._limits.size_bytes, self._limits.size_bytes)
        async with self._in_time():
            return await self._followed(self._parsed(url), headers, most)

    async def robots(self, url: str) -> Robots:
        """What the site of a page asks of robots.

        Raises  UrlRefused, AddressRefused, PageUnavailable; RobotsUnavailable: it does not say.
        """
        async with self._in_time():
            return await self._robots_of(self._parsed(url))

    async def answers(self, url: str) -> bool:
        """Whether the site of a page that was fetched answers anything at all now, be it an error."""
        with suppress(PageUnavailable, AddressRefused):
            async with self._in_time():
                await self._asked(self._parsed(url).join("/robots.txt"), {}, MOST_BYTES, cut=True)
            return True
        return False

    @asynccontextmanager
    async def _in_time(self) -> AsyncGenerator[None]:
        """Raises  PageUnavailable."""
        seconds = self._limits.within.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as late:
            raise PageUnavailable(f"the page did not come within {seconds:g} s") from late

    async def _followed(self, url: httpx2.URL, headers: Mapping[str, str], most: int) -> Page | Unchanged:
        for _ in range(self._limits.redirects + 1):
            await self._ask_leave(url)
            answer = await self._asked(url, headers, most)
            if answer.status not in _REDIRECTS:
                return _result(url, answer)
            url = self._next(url, answer.headers.get("location"))
        raise PageUnavailable(f"the page is behind more than {self._limits.redirects} redirects")

    def _next(self, url: httpx2.URL, location: str | None) -> httpx2.URL:
        if not location:
            raise PageUnavailable("the server sends one on, and does not say where to")
        try:
            further = self._parsed(str(url.join(location)))
        except httpx2.InvalidURL as invalid:
            raise UrlRefused("it leads to what is no URL") from invalid
        if url.scheme == "https" and further.scheme != "https":
            raise UrlRefused("it leads from https to http")
        return further

    def _parsed(self, text: str) -> httpx2.URL:
        """A URL that may be asked for. Raises  UrlRefused."""
        if len(text) > LONGEST_URL:
            raise UrlRefused(f"it is longer than {LONGEST_URL} characters")
        try:
            url = httpx2.URL(text.strip())
            host, port = url.raw_host, {"http": 80, "https": 443}.get(url.scheme) if url.port is None else url.port
        except (httpx2.InvalidURL, ValueError) as invalid:
            raise UrlRefused("it is no URL") from invalid
        if url.scheme not in ("http", "https"):
            raise UrlRefused("only http and https are fetched")
        if not host:
            raise UrlRefused("it names no host")
        if url.userinfo:
            raise UrlRefused("a name or a password in a URL would be shown to others; leave it out")
        if port not in _PORTS and port not in self._allowance.ports:
            raise UrlRefused(f"port {port} is not one of {', '.join(map(str, sorted(_PORTS)))}")
        return url.copy_with(fragment=None)

    async def _ask_leave(self, url: httpx2.URL) -> None:
        """Raises  RobotsRefused."""
        robots = await self._robots_of(url)
        if not robots.allows(url.raw_path.decode("ascii")):
            raise RobotsRefused(str(url))

    async def _robots_of(self, url: httpx2.URL) -> Robots:
        site = f"{url.scheme}://{url.netloc.decode('ascii')}"
        if site not in self._known:
            self._known[site] = await self._robots(httpx2.URL(f"{site}/robots.txt"))
        return self._known[site]

    async def _robots(self, url: httpx2.URL) -> Robots:
        """A site without rules lets everybody; one that does not answer, nobody. Source  RFC 9309 2.3.1.

        Raises  RobotsUnavailable, PageUnavailable.
        """
        for _ in range(self._limits.redirects + 1):
            answer = await self._asked(url, {}, MOST_BYTES, cut=True)
            if answer.status in _REDIRECTS:
                url = self._next(url, answer.headers.get("location"))
            elif answer.status == 200:
                return robots_of(answer.content, AGENT)
            elif answer.status >= 500 or answer.status == 429:
                raise RobotsUnavailable(str(url))
            else:
                return Robots()
        return Robots()

    async def _asked(self, url: httpx2.URL, headers: Mapping[str, str], most: int, *, cut: bool = False) -> _Answer:
        """One request. `cut`: what is beyond the limit is left there. Raises  PageTooLarge, PageUnavailable."""
        sent = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"{AGENT}/1 (documents for a firm's own knowledge)",
            "Accept": "text/html, text/plain, text/markdown, application/pdf, */*;q=0.5",
            "Accept-Encoding": "gzip, identity",
            "Connection": "close",
            **headers,
        }
        seconds = self._limits.connect.total_seconds()
        waits = {"timeout": {"connect": seconds, "pool": seconds, "read": 3 * seconds, "write": seconds}}
        try:
            async with self._pool.stream(
                "GET", httpcore2.URL(_bytes_of(url)), headers=list(sent.items()), extensions=waits
            ) as answer:
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
                found = _Answer(answer.status, told)
                if answer.status != 200:
                    return found
                return replace(found, content=await _body(answer, told, most, cut=cut))
        except (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, OSError) as lost:
            raise PageUnavailable(f"{url.host} does not answer") from lost


def _result(url: httpx2.URL, answer: _Answer) -> Page | Unchanged:
    if answer.status == 304:
        return Unchanged(str(url))
    if answer.status != 200:
        raise PageUnavailable(f"{url.host} answers with status {answer.status}", status=answer.status)
    return Page(
        url=str(url),
        content=answer.content,
        declared_type=answer.headers.get("content-type", "")[:200] or None,
        file_name=PurePosixPath(unquote(url.path)).name[:300],
        etag=_sent_back(answer.headers.get("etag", "")[:500]),
        last_modified=_sent_back(answer.headers.get("last-modified", "")[:100]),
    )


async def _body(answer: httpcore2.Response, headers: Mapping[str, str], most: int, *, cut: bool) -> bytes:
    """The body, unpacked piece by piece so that a bomb is noticed at the limit. Raises  PageTooLarge."""
    packing = headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise PageUnavailable(f"the page is packed in a way that was not asked for ({packing[:40]})")
    unpacker = None if packing in ("", "identity") else zlib.decompressobj(_GZIP_OR_ZLIB)
    declared = headers.get("content-length", "")
    if not cut and declared.isascii() and declared.isdigit() and int(declared[:18]) > most:
        raise PageTooLarge(most)
    body = bytearray()
    async for piece in answer.aiter_stream():
        try:
            body += piece if unpacker is None else unpacker.decompress(piece, most + 1 - len(body))
        except zlib.error as broken:
            raise PageUnavailable("the page arrived damaged") from broken
        if len(body) > most or (unpacker is not None and unpacker.unconsumed_tail):
            if cut:
                return bytes(body[:most])
            raise PageTooLarge(most)
    return bytes(body)


def _bytes_of(url: httpx2.URL) -> bytes:
    return b"".join((url.raw_scheme, b"://", url.netloc, url.raw_path))


@cache
def _trusted() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)


def _sent_back(mark: str) -> str | None:
    """A mark by which a page is asked for again; None for one that no request can hold."""
    return mark if mark and mark.isascii() and mark.isprintable() else None
