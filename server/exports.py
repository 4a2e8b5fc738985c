"""The rows of an export, page by page: no connection is held between pages, and no more than a page is in memory."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import datetime
from typing import cast

import structlog

from domain.kernel import OrganizationId
from domain.ledger import ocsf
from domain.ledger.lines import broken_off_line, header_line, key_line, lines_of
from domain.ledger.model import Page
from server.database.unit_of_work import Session, is_lost
from server.problems import Problem
from tools.ports import Unavailable

log = structlog.get_logger()

ERASED_BEYOND = "something was erased after these rows were sealed; once that is sealed too, in a moment, export again"

Open = Callable[[], AbstractAsyncContextManager[Session]]
"""A session of whoever exports: what row security shows them, at each page anew."""


async def exported(
    open_session: Open, organization_id: OrganizationId, export: Mapping[str, object], at: datetime
) -> AsyncGenerator[bytes]:
    """What the call `audit_export` has named, some lines at a time.

    Where it cannot be read to its end, the last line says so; of a file without its last head a verifier does.
    """
    for_siem = export.get("format") == "ocsf"
    lines = _for_siem(open_session, export) if for_siem else _ledger(open_session, organization_id, export, at)
    try:
        async with aclosing(lines):
            async for some in lines:
                yield some
    except Exception as fault:
        why = _why_broken_off(fault)
        if why is None:
            raise
        yield ocsf.broken_off_line(at, why) if for_siem else broken_off_line(why)


async def _ledger(
    open_session: Open, organization_id: OrganizationId, export: Mapping[str, object], at: datetime
) -> AsyncGenerator[bytes]:
    size, payloads = cast(int, export["size"]), cast(bool, export["payloads"])
    yield header_line(organization_id, size, at, payloads=payloads)
    async with open_session() as session:
        keys = await session.work.ledger.keys()
    yield b"".join(key_line(key) for key in keys)
    async for page in _pages(open_session, 0, size, payloads=payloads):
        yield b"".join(lines_of(page))
    if payloads:
        async with open_session() as session:
            # Asked last: what was erased while pages were read is known by now.
            if await session.work.ledger.is_erased_beyond(size):
                log.warning("ledger.export_broken_off", reason="erased_beyond")
                yield broken_off_line(ERASED_BEYOND)


async def _for_siem(open_session: Open, export: Mapping[str, object]) -> AsyncGenerator[bytes]:
    async for page in _pages(open_session, cast(int, export["since"]), cast(int, export["size"]), payloads=False):
        yield b"".join(ocsf.ocsf_line(event) for event in page.events)


async def _pages(open_session: Open, start: int, size: int, *, payloads: bool) -> AsyncGenerator[Page]:
    while start < size:
        async with open_session() as session:
            page = await session.work.ledger.rows(start, size, payloads=payloads)
        if not page.events:
            return
        yield page
        start = page.events[-1].index + 1


def _why_broken_off(fault: Exception) -> str | None:
    """For whoever reads the file; None: a fault of ours, which goes on."""
    if isinstance(fault, Problem):
        log.warning("ledger.export_broken_off", reason=fault.code)
        return fault.detail
    if isinstance(fault, Unavailable) or is_lost(fault):
        log.warning("ledger.export_broken_off", reason=type(fault).__name__)
        return "the database was not available"
    return None
