"""A site of the web as a source: from its first pages along their links, within bounds, as its robots.txt asks.

A site has no feed: each sync goes through all of it, and asks of what is known only whether it has changed. What is not
linked any more and still answers stays; what cannot be had this time stays as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import unquote, urlsplit

from domain.kernel import Clock, DomainError, utc_now
from knowledge.fetching.model import (
    MIB,
    AddressRefused,
    Page,
    PageTooLarge,
    PageUnavailable,
    RobotsRefused,
    RobotsUnavailable,
    Unchanged,
    UrlRefused,
)
from knowledge.sources.port import (
    EVERYONE,
    Changes,
    Content,
    Found,
    Gone,
    ItemGone,
    ItemUnavailable,
    ItemUnreadable,
    SourceRefused,
    SourceUnavailable,
)
from knowledge.sources.web.cursor import Known, WebCursor, cursor_of
from knowledge.sources.web.links import normal, said_by

if TYPE_CHECKING:
    from knowledge.fetching.fetcher import Visit

AT_ONCE: Final = 10
"""Pages that one step asks for."""
PAUSE: Final = timedelta(milliseconds=200)
LONGEST_PAUSE: Final = timedelta(seconds=60)
_MOST_REFUSED: Final = 5
"""Pages behind one another for which the site asks for patience: then it gets it."""
_TOO_MANY: Final = 429
_HTML: Final = ("text/html", "application/xhtml+xml")

Sleep = Callable[[float], Awaitable[None]]
usual_sleep: Final[Sleep] = asyncio.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class WebScope:
    """What of a site is read."""

    starts: tuple[str, ...]
    """Its first pages, in normal form."""
    within_path: str
    """How the paths of all that is read begin."""
    usual_pages: ClassVar[int] = 200
    usual_depth: ClassVar[int] = 5

    pages: int = usual_pages
    depth: int = usual_depth
    """Links from a first page."""
    within: timedelta = timedelta(hours=2)
    page_bytes: int = 20 * MIB
    all_bytes: int = 500 * MIB

    @property
    def mark(self) -> str:
        """What tells this site and path from others; other bounds are the same scope."""
        return hashlib.sha256(repr((sorted(self.starts), self.within_path)).encode()).hexdigest()[:16]

    def holds(self, url: str) -> bool:
        """Whether an address, in normal form, is of the site and below the path."""
        parts, first = urlsplit(url), urlsplit(self.starts[0])
        path = parts.path
        return (parts.scheme, parts.netloc) == (first.scheme, first.netloc) and path.startswith(self.within_path)


class WebSource:
    """One site, in the course of one visit."""

    def __init__(self, visit: Visit, scope: WebScope, *, clock: Clock = utc_now, sleep: Sleep = usual_sleep) -> None:
        self._visit = visit
        self._scope = scope
        self._clock = clock
        self._pacing = _Pacing(visit, sleep)

    async def changes(self, cursor: str | None) -> AsyncIterator[Changes]:
        """Raises  SourceUnavailable, SourceRefused."""
        at = cursor_of(cursor, self._scope.mark)
        at = at if at is not None and at.waiting else _beginning(self._scope, at, self._clock())
        walk = _Walk(self._visit, self._scope, at, self._clock, self._pacing)
        while True:
            walk.notes = []
            items: list[Found | Gone] = []
            while at.waiting and len(items) < AT_ONCE:
                items += await walk.step()
            yield Changes(
                items=tuple(items),
                cursor=at.text(),
                is_full=True,
                is_last=not at.waiting,
                note="; ".join(walk.notes[:5]) or None,
            )
            if not at.waiting:
                return

    async def read(self, item: Found, most_bytes: int) -> Content:
        """Raises  ItemUnreadable, ItemUnavailable, ItemGone, SourceUnavailable, SourceRefused."""
        page = await self._fetched(item.key, min(most_bytes, self._scope.page_bytes))
        return Content(content=page.content, file_name=page.file_name or "index.html", declared_type=page.declared_type)

    async def _fetched(self, url: str, most_bytes: int) -> Page:
        await self._pacing.wait(url)
        try:
            page = await self._visit.fetch(url, most_bytes=most_bytes)
        except PageUnavailable as unavailable:
            if _is_refusal(unavailable):
                raise ItemGone(str(unavailable)) from unavailable
            if unavailable.status == _TOO_MANY or await _is_away(self._visit, url, unavailable):
                raise SourceUnavailable(str(unavailable)) from unavailable
            raise ItemUnavailable(str(unavailable)) from unavailable
        except PageTooLarge as large:
            raise ItemUnreadable(str(large)) from large
        except (RobotsRefused, UrlRefused, AddressRefused) as refused:
            # When it was gone to it was none of that: the next going says what holds.
            raise ItemUnavailable(str(refused)) from refused
        if isinstance(page, Unchanged) or not self._scope.holds(normal(page.url) or ""):
            raise ItemUnavailable("it leads elsewhere now")
        return page


def _beginning(scope: WebScope, last: WebCursor | None, now: datetime) -> WebCursor:
    """From the first pages on, and then whatever is known from the last time."""
    known = {} if last is None else last.known
    waiting = [(url, 0) for url in scope.starts]
    waiting += [(url, page.depth) for url, page in known.items() if url not in scope.starts]
    return WebCursor(
        scope=scope.mark,
        began_at=now,
        waiting=waiting,
        met={url for url, _ in waiting},
        known=known,
        was_cut=last is not None and last.cuts,
    )


@dataclass(slots=True)
class _Pacing:
    """The pause that a site wants between two requests."""

    visit: Visit
    sleep: Sleep
    _next_at: float = 0.0

    async def wait(self, url: str) -> None:
        """Raises  SourceUnavailable, SourceRefused."""
        try:
            robots = await self.visit.robots(url)
        except RobotsUnavailable as silent:
            raise SourceUnavailable(str(silent)) from silent
        except PageUnavailable as unavailable:
            raise SourceUnavailable(str(unavailable)) from unavailable
        except (AddressRefused, UrlRefused) as refused:
            raise SourceRefused(str(refused)) from refused
        pause = max(PAUSE, timedelta(seconds=robots.delay_s or 0))
        if pause > LONGEST_PAUSE:
            raise SourceRefused(
                f"its robots.txt asks for {pause.total_seconds():g} s between two pages: it is not read"
            )
        now = asyncio.get_running_loop().time()
        if now < self._next_at:
            await self.sleep(self._next_at - now)
        self._next_at = max(now, self._next_at) + pause.total_seconds()


@dataclass(slots=True)
class _Walk:
    """The way through a site; `at` is how far it has come."""

    visit: Visit
    scope: WebScope
    at: WebCursor
    clock: Clock
    pacing: _Pacing
    notes: list[str] = field(default_factory=list[str])
    _refused: int = 0

    async def step(self) -> list[Found | Gone]:
        """The next address. Raises  SourceUnavailable, SourceRefused."""
        url, depth = self.at.waiting[0]
        known = self.at.known.get(url)
        why_not = self._why_not()
        if why_not is not None:
            self.at.waiting.pop(0)
            return self._left_out(url, known, why_not)
        await self.pacing.wait(url)
        asked = known if known is not None and known.digest and not self.at.was_cut else None
        try:
            got = await self.visit.fetch(
                url,
                most_bytes=self.scope.page_bytes,
                etag=asked.etag if asked else None,
                last_modified=asked.last_modified if asked else None,
            )
        except PageUnavailable as unavailable:
            found = await self._unavailable(url, depth, known, unavailable)
        except RobotsUnavailable as silent:
            # Of another site, to which the page leads: this one's was asked before.
            found = self._missed(url, depth, known, silent)
        except (RobotsRefused, PageTooLarge, UrlRefused) as refused:
            self.notes.append(str(refused))
            found = self._gone(url)
        except AddressRefused as refused:
            # One page that leads inside costs itself, and not the site.
            if url in self.scope.starts:
                raise SourceRefused(str(refused)) from refused
            self.notes.append(str(refused))
            found = self._gone(url)
        else:
            self._refused = 0
            found = self._kept(url, known) if isinstance(got, Unchanged) else self._had(url, depth, got)
        # Last: an exception above leaves the address waiting.
        self.at.waiting.pop(0)
        return found

    def _why_not(self) -> str | None:
        """Why nothing more is asked for; None: it is."""
        if self.at.taken >= self.scope.pages:
            return f"more than {self.scope.pages} pages"
        if self.at.taken_bytes >= self.scope.all_bytes:
            return f"more than {self.scope.all_bytes // MIB} MiB"
        if self.clock() - self.at.began_at > self.scope.within:
            return f"more than can be asked for within {self.scope.within}"
        return None

    def _left_out(self, url: str, known: Known | None, why: str) -> list[Found | Gone]:
        """Beyond the bounds: what was known stays as it was, as far as the number of pages goes."""
        self.at.cuts = True
        if f"the site is {why}" not in self.notes:
            self.notes.append(f"the site is {why}; the rest is left out")
        return self._kept(url, known) if self.at.taken < self.scope.pages else self._gone(url)

    async def _unavailable(
        self, url: str, depth: int, known: Known | None, unavailable: PageUnavailable
    ) -> list[Found | Gone]:
        """A page that fails costs itself; without the only first page, or where nothing answers, it is the site.

        Raises  SourceUnavailable.
        """
        if _is_refusal(unavailable):
            return self._gone(url)
        self._refused = self._refused + 1 if unavailable.status == _TOO_MANY else 0
        is_only_start = self.scope.starts == (url,)
        if is_only_start or self._refused >= _MOST_REFUSED or await _is_away(self.visit, url, unavailable):
            raise SourceUnavailable(str(unavailable)) from unavailable
        return self._missed(url, depth, known, unavailable)

    def _missed(self, url: str, depth: int, known: Known | None, why: DomainError) -> list[Found | Gone]:
        """A page that cannot be had this time stays as it was, and is asked for again the next."""
        self.notes.append(f"{url} stays as it was: {why}")
        self.at.known.setdefault(url, Known(depth=depth))
        return self._kept(url, known)

    def _gone(self, url: str) -> list[Found | Gone]:
        self.at.known.pop(url, None)
        return [Gone(key=url)]

    def _kept(self, url: str, known: Known | None) -> list[Found | Gone]:
        """A page as it was; nothing where it never was had."""
        if known is None or not known.digest:
            return []
        self.at.taken += 1
        return [_found(url, known)]

    def _had(self, url: str, depth: int, page: Page) -> list[Found | Gone]:
        """A page that came; one that says it is at home elsewhere is looked for there."""
        self.at.taken_bytes += len(page.content)
        at = normal(page.url)
        is_html = (page.declared_type or "").partition(";")[0].strip().lower() in _HTML
        if at is None or not self.scope.holds(at):
            return self._gone(url)
        said = said_by(page.content, at) if is_html else None
        home = said.canonical if said is not None and said.canonical and self.scope.holds(said.canonical) else at
        if said is not None:
            self._meet(said.links, depth + 1)
        if home != url:
            self._meet((home,), depth)
            return self._gone(url)
        if said is not None and not said.is_indexed:
            return self._gone(url)
        known = Known(
            depth=depth,
            digest=hashlib.sha256(page.content).hexdigest()[:32],
            media_type=page.declared_type,
            size=len(page.content),
            etag=page.etag,
            last_modified=page.last_modified,
        )
        self.at.known[url] = known
        self.at.taken += 1
        return [_found(url, known)]

    def _meet(self, links: tuple[str, ...], depth: int) -> None:
        if depth > self.scope.depth:
            return
        for link in links:
            if link in self.at.met or not self.scope.holds(link):
                continue
            if len(self.at.met) >= 4 * self.scope.pages:
                self.at.cuts = True
                return
            self.at.met.add(link)
            self.at.waiting.append((link, depth))


async def _is_away(visit: Visit, url: str, unavailable: PageUnavailable) -> bool:
    """Whether the site does not answer at all, and not only this page of it."""
    return unavailable.status is None and not await visit.answers(url)


def _is_refusal(unavailable: PageUnavailable) -> bool:
    """Whether the site says no to this page, and not only now."""
    status = unavailable.status
    return status is not None and 400 <= status < 500 and status not in (408, 425, 429)


def _found(url: str, known: Known) -> Found:
    parts = urlsplit(url)
    shown = unquote(f"{parts.netloc}{parts.path}").rstrip("/")
    return Found(
        key=url,
        path=f"{shown}?{parts.query}" if parts.query else shown,
        version=known.digest,
        media_type=(known.media_type or "").partition(";")[0].strip().lower() or None,
        size=known.size,
        readers=EVERYONE,
        url=url,
    )
