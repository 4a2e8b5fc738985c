"""The rows of an export, page by page: no connection is held between pages, and no more than a page is in memory."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import cast

import structlog

from domain.kernel import OrganizationId
from domain.ledger.lines import broken_off_line, header_line, key_line, lines_of
from server.database.unit_of_work import Session, is_lost
from server.problems import Problem
from tools.ports import Unavailable

log = structlog.get_logger()

Open = Callable[[], AbstractAsyncContextManager[Session]]
"""A session of whoever exports: what row security shows them, at each page anew."""


async def exported(
    open_session: Open, organization_id: OrganizationId, export: Mapping[str, object], at: datetime
) -> AsyncGenerator[bytes]:
    """What the call `audit_export` has named, some lines at a time.

    Where it cannot be read to its end, the last line says so; of a file without its last head a verifier does.
    """
    size, payloads = cast(int, export["size"]), cast(bool, export["payloads"])
    yield header_line(organization_id, size, at, payloads=payloads)
    try:
        async with open_session() as session:
            keys = await session.work.ledger.keys()
        yield b"".join(key_line(key) for key in keys)
        start = 0
        while start < size:
            async with open_session() as session:
                events, heads = await session.work.ledger.rows(start, size, payloads=payloads)
            if not events:
                return
            yield b"".join(lines_of(events, heads))
            start = events[-1].index + 1
    except Problem as refused:
        log.warning("ledger.export_broken_off", reason=refused.code)
        yield broken_off_line(refused.detail)
    except Exception as fault:
        if not (isinstance(fault, Unavailable) or is_lost(fault)):
            raise
        log.warning("ledger.export_broken_off", reason=type(fault).__name__)
        yield broken_off_line("the database was not available")
