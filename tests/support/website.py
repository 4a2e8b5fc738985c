"""A site on loopback that answers what a test says, and remembers what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from knowledge.fetching.fetcher import USUAL, WebFetcher
from knowledge.fetching.model import Allowance, FetchLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer."""

    content: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    hangs: bool = False
    """The head, and then nothing."""
    drops: bool = False
    """No answer: the connection ends."""


@dataclass(slots=True, kw_only=True)
class Website:
    """Answers by path; what is not there is 404."""

    port: int
    pages: dict[str, Said] = field(default_factory=dict[str, Said])
    robots_of: dict[str, Said] = field(default_factory=dict[str, Said])
    """What its robots.txt is under another name."""
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list[tuple[str, Mapping[str, str]]])

    def url(self, path: str, host: str = "site.test") -> str:
        """Where a path is, at whatever name."""
        return f"http://{host}:{self.port}{path}"

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for path, _ in self.asked]

    def fetcher(self, limits: FetchLimits = USUAL, names: Mapping[str, Sequence[str]] | None = None) -> WebFetcher:
        """One to which this port of loopback is open, and `site.test` this site; `names`: and others."""
        known = {"site.test": ["127.0.0.1"], **(names or {})}

        async def resolve(host: str, _port: int) -> Sequence[str]:
            if host not in known:
                raise OSError(f"no such host {host}")
            return known[host]

        allowance = Allowance(networks=(ip_network("127.0.0.1/32"),), ports=frozenset({self.port}))
        return WebFetcher(limits, resolve=resolve, allowance=allowance)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            self.asked.append((path, told))
            host = told.get("host", "").partition(":")[0]
            others = self.robots_of if path == "/robots.txt" else {}
            said = others.get(host) or self.pages.get(path, Said(status=404))
            if said.drops:
                return
            if "etag" in said.headers and told.get("if-none-match") == said.headers["etag"]:
                said = Said(status=304)
            lines = [f"HTTP/1.1 {said.status} Said", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in said.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode() + said.content)
            await writer.drain()
            if said.hangs:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def website(pages: Mapping[str, Said] | None = None) -> AsyncGenerator[Website]:
    """The site for the length of the block."""
    site = Website(port=0, pages=dict(pages or {}))
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site
