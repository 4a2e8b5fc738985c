"""What a source has said, worked in as whoever syncs works it in: nothing but what the port promises is relied on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from knowledge.sources.port import Changes, Found, Gone, Source


@dataclass(slots=True)
class Followed:
    """The items of a source by their keys, and how far it was read."""

    items: dict[str, Found] = field(default_factory=dict[str, Found])
    cursor: str | None = None
    pages: list[Changes] = field(default_factory=list[Changes])
    _named: set[str] = field(default_factory=set[str])
    _is_listing: bool = False

    async def read(self, source: Source, most_pages: int = 1_000) -> bool:
        """Work in what comes next; False: there is more."""
        async with aclosing(cast("AsyncGenerator[Changes]", source.changes(self.cursor))) as changes:
            async for page in changes:
                self.take(page)
                most_pages -= 1
                if page.is_last:
                    return True
                if most_pages < 1:
                    return False
        raise AssertionError("it ended without a last page")

    def take(self, page: Changes) -> None:
        """Work in one page."""
        self.pages.append(page)
        if page.is_full and not self._is_listing:
            self._named, self._is_listing = set(), True
        for item in page.items:
            match item:
                case Found():
                    self.items[item.key] = item
                    self._named.add(item.key)
                case Gone():
                    self.items.pop(item.key, None)
                    self._named.discard(item.key)
        self.cursor = page.cursor
        if page.is_last and self._is_listing:
            self.items = {key: item for key, item in self.items.items() if key in self._named}
            self._is_listing = False
