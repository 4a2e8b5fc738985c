"""What is fetched, within which bounds, and why something is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import ClassVar

from domain.kernel import DomainError

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """How much is taken from a stranger, and how long it is waited for."""

    size_bytes: int = 50 * MIB
    """Of the body, unpacked."""
    within: timedelta = timedelta(seconds=60)
    """For one page with its redirects and robots.txt."""
    connect: timedelta = timedelta(seconds=10)
    redirects: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is let through besides the public network. Only a constructor's argument gives one: no setting does."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    ports: frozenset[int] = frozenset()


NO_ALLOWANCE = Allowance()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What came back in the end."""

    url: str
    """Where it was found, behind all redirects; without a fragment."""
    content: bytes = field(repr=False)
    declared_type: str | None
    """Content-Type, as the server says."""
    file_name: str
    """The end of the URL's path; empty where it has none."""
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The server says that the page is as it was."""

    url: str


class UrlRefused(DomainError):
    """The URL is not one that is fetched."""

    code: ClassVar[str] = "url_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"url: {why}")


class AddressRefused(DomainError):
    """The name stands for a place that is not on the public network."""

    code: ClassVar[str] = "address_refused"

    def __init__(self, host: str) -> None:
        # Which address it was is not said: it would map the network that this server stands in.
        super().__init__(f"url: {host} is not on the public network, and is not fetched from")


class RobotsRefused(DomainError):
    """The site asks robots not to fetch this page."""

    code: ClassVar[str] = "robots_refused"

    def __init__(self, url: str, why: str = "its robots.txt asks that this page is not fetched") -> None:
        super().__init__(f"url: {why}: {url}")


class RobotsUnavailable(RobotsRefused):
    """The site does not say now what it asks of robots, so that nothing of it is fetched."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "its robots.txt cannot be asked, so nothing is fetched")


class PageTooLarge(DomainError):
    """The page is larger than what is taken in."""

    code: ClassVar[str] = "page_too_large"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"url: the page is larger than {most_bytes // MIB} MiB")


class PageUnavailable(DomainError):
    """The page could not be had, this time."""

    code: ClassVar[str] = "page_unavailable"

    def __init__(self, why: str, *, status: int | None = None) -> None:
        super().__init__(f"url: {why}")
        self.status = status

    @property
    def is_gone(self) -> bool:
        """The server says that there is no such page."""
        return self.status in (404, 410)
