"""Opens a site of the web for a source: what it may name is the public network's, and what it reads is bounded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Final, cast
from urllib.parse import urlsplit

from knowledge.sources.port import SourceRefused
from knowledge.sources.web.links import normal
from knowledge.sources.web.source import Sleep, WebScope, WebSource, usual_sleep

if TYPE_CHECKING:
    from knowledge.fetching.fetcher import WebFetcher

MOST_STARTS: Final = 20
MOST_PAGES: Final = 1000
MOST_DEPTH: Final = 20
_KEYS: Final = frozenset({"urls", "path", "pages", "depth"})


class OpenWeb:
    """OpenSource for `web`."""

    lasting: ClassVar[frozenset[str]] = frozenset({"urls"})

    def __init__(self, fetcher: WebFetcher | None = None, *, sleep: Sleep = usual_sleep) -> None:
        """`fetcher`: None: within the usual bounds, and made when it is needed."""
        self._fetcher = fetcher
        self._sleep = sleep

    def check(self, settings: Mapping[str, object], organization: str) -> Mapping[str, object]:
        """`urls`: the first pages, of one site; `path`: how the paths of all that is read begin; `pages`, `depth`.

        Raises  SourceRefused.
        """
        unknown = sorted(set(settings) - _KEYS)
        if unknown:
            raise SourceRefused(f"settings: {unknown[0]!r} is none of a site's; there are {', '.join(sorted(_KEYS))}")
        starts = _starts(settings.get("urls"))
        path = settings.get("path", "/")
        if not isinstance(path, str) or not path.startswith("/") or len(path) > 300:
            raise SourceRefused("settings: path is the beginning of paths, like /docs/")
        kept: dict[str, object] = {
            "urls": list(starts),
            "path": path,
            "pages": _count("pages", settings.get("pages", WebScope.usual_pages), MOST_PAGES),
            "depth": _count("depth", settings.get("depth", WebScope.usual_depth), MOST_DEPTH),
        }
        scope = _scope(kept)
        outside = next((url for url in starts if not scope.holds(url)), None)
        if outside is not None:
            raise SourceRefused(f"settings: {outside} is of another site than the first, or not below {path}")
        return kept

    @asynccontextmanager
    async def __call__(self, settings: Mapping[str, object], organization: str) -> AsyncGenerator[WebSource]:
        """Raises  SourceRefused."""
        scope = _scope(self.check(settings, organization))
        from knowledge.fetching.fetcher import WebFetcher

        async with (self._fetcher or WebFetcher()).visit() as visit:
            yield WebSource(visit, scope, sleep=self._sleep)


def _scope(kept: Mapping[str, object]) -> WebScope:
    return WebScope(
        starts=tuple(cast("list[str]", kept["urls"])),
        within_path=cast(str, kept["path"]),
        pages=cast(int, kept["pages"]),
        depth=cast(int, kept["depth"]),
    )


def _starts(urls: object) -> tuple[str, ...]:
    """Raises  SourceRefused."""
    if not isinstance(urls, list) or not 0 < len(cast("list[object]", urls)) <= MOST_STARTS:
        raise SourceRefused(f"settings: urls is a list of 1 to {MOST_STARTS} addresses")
    found: list[str] = []
    for url in cast("list[object]", urls):
        parsed = normal(url) if isinstance(url, str) and urlsplit(url).scheme in ("http", "https") else None
        if parsed is None:
            raise SourceRefused("settings: urls holds what is no address of http or https, or one with a name in it")
        found.append(parsed)
    return tuple(dict.fromkeys(found))


def _count(name: str, value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most or (name == "pages" and value == 0):
        raise SourceRefused(f"settings: {name} is a number up to {most}")
    return value
