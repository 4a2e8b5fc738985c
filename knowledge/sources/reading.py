"""Reads of a source what the next step of a sync needs: outside of any transaction; bounded in number, size, time."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from knowledge.parse.document import DEFAULT_LIMITS, Unreadable
from knowledge.parse.media import media_type_of
from knowledge.sources.model import Away, Contents, Fetched, Listed, PendingItem, Read, Refused, SyncState
from knowledge.sources.port import (
    Changes,
    ItemGone,
    ItemUnavailable,
    ItemUnreadable,
    OpenSource,
    Source,
    SourceRefused,
    SourceUnavailable,
)

MOST_LISTED = 1_000
"""Items of one step; a page that a source gives is taken whole."""
MOST_READ = 20
"""Items whose content one step takes in."""
MOST_BYTES = 64 * 1024 * 1024
"""Of them together: as much as a step holds in memory beyond its last item."""
WITHIN_S = 60.0
"""How long one step begins to read."""

Monotonic = Callable[[], float]


async def read_on(state: SyncState, open_source: OpenSource, monotonic: Monotonic = time.monotonic) -> Read:
    """What the next step needs: a part of what changed, or the content of some of what is pending."""
    wanted = [item for item in state.batch if item.needs_content]
    if state.is_removed or (state.source.phase == "applying" and (not wanted or len(wanted) < len(state.batch))):
        return Contents()
    try:
        async with open_source(state.source.settings, state.organization) as source:
            if state.source.phase == "applying":
                return await _contents(source, wanted, monotonic)
            return await _listed(source, state.cursor, monotonic)
    except SourceUnavailable as away:
        return Away(why=str(away), retry_after=away.retry_after)
    except SourceRefused as refused:
        return Refused(why=str(refused))


async def _listed(source: Source, cursor: str | None, monotonic: Monotonic) -> Listed:
    """Pages until there are enough; those that came before a fault are kept, and it comes again with the next step."""
    until, pages, count = monotonic() + WITHIN_S, list[Changes](), 0
    try:
        async with aclosing(cast("AsyncGenerator[Changes]", source.changes(cursor))) as changes:
            async for page in changes:
                pages.append(page)
                count += len(page.items)
                if page.is_last or count >= MOST_LISTED or monotonic() > until:
                    break
    except SourceUnavailable:
        if not pages:
            raise
    return Listed(pages=tuple(pages))


async def _contents(source: Source, wanted: list[PendingItem], monotonic: Monotonic) -> Contents:
    until, items, size = monotonic() + WITHIN_S, list[Fetched](), 0
    for item in wanted[:MOST_READ]:
        try:
            fetched = await _fetched(source, item)
        except SourceUnavailable:
            if not items:
                raise
            break
        items.append(fetched)
        size += 0 if fetched.content is None else len(fetched.content.content)
        if size >= MOST_BYTES or monotonic() > until:
            break
    return Contents(items=tuple(items))


async def _fetched(source: Source, item: PendingItem) -> Fetched:
    key, version = item.found.key, item.found.version
    try:
        content = await source.read(item.found, DEFAULT_LIMITS.size_bytes)
        kind = media_type_of(content.content, content.file_name, content.declared_type)
    except ItemGone as gone:
        return Fetched(key=key, version=version, content=None, media_type=None, why=str(gone), is_gone=True)
    except (ItemUnreadable, Unreadable) as unreadable:
        may_pass = isinstance(unreadable, ItemUnavailable)
        return Fetched(key=key, version=version, content=None, media_type=None, why=str(unreadable), may_pass=may_pass)
    return Fetched(key=key, version=version, content=content, media_type=kind)
