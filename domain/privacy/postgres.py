"""Export and erasure in SQL. What row security hides, and what nobody may remove, is left to functions there."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

import orjson

from domain.approvals.model import Approval
from domain.approvals.postgres import approval_of
from domain.kernel import CallId, EventId, PrincipalId
from domain.privacy.model import Batch, Erasure, ErasureId, Going, PartPage, Person
from domain.storage.postgres import Connection, Row

PAGE_ROWS = 200
PAGE_BYTES = 4 << 20
"""Of a page of an export; a row that is larger makes a page of its own."""
ENDED_AT_ONCE = 100

_PERSON = """
SELECT u.user_id, u.email, u.kind FROM memberships m JOIN users u USING (user_id)
WHERE m.organization_id = glow.organization_id() AND
"""
_BY_EMAIL = _PERSON + "lower(u.email) = lower($1)"
_BY_ID = _PERSON + "u.user_id = $1"

_ROWS = "SELECT key, body FROM glow.person_rows($1, $2, $3, $4, $5)"

# One a person: what is under way is not begun anew.
_ASK = """
INSERT INTO erasures AS e (organization_id, erasure_id, user_id, requested_by, call_id, requested_at)
VALUES (glow.organization_id(), $1, $2, $3, $4, $5)
ON CONFLICT (organization_id, user_id) DO UPDATE
SET state = CASE WHEN e.state = 'done' THEN 'asked' ELSE e.state END, finished_at = NULL,
    requested_by = CASE WHEN e.state = 'done' THEN excluded.requested_by ELSE e.requested_by END,
    call_id = CASE WHEN e.state = 'done' THEN excluded.call_id ELSE e.call_id END,
    requested_at = CASE WHEN e.state = 'done' THEN excluded.requested_at ELSE e.requested_at END
RETURNING erasure_id
"""

_ERASURES = """
SELECT e.erasure_id, e.user_id, coalesce(u.email, e.requested_by::text) AS requester, e.requested_at, e.call_id,
       e.state, e.removed::text AS removed, e.finished_at
FROM erasures e LEFT JOIN users u ON u.user_id = e.requested_by
WHERE e.organization_id = glow.organization_id()
"""
_LIST = _ERASURES + "ORDER BY e.requested_at DESC, e.erasure_id DESC LIMIT 1000"
_GET = _ERASURES + "AND e.erasure_id = $1"

_STEP = "SELECT state, waits, gone::text AS gone, erased FROM glow.erase_step($1, $2, $3)"
_GOING = "SELECT kind, subject_id FROM glow.going_of_erased($1, $2)"
_CANCEL = "SELECT * FROM glow.cancel_approvals_of_erased($1, $2, $3, $4)"


class PostgresPrivacy:
    """PrivacyRepository over the call's own connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def person(self, email: str) -> Person | None:
        return _person(await self._connection.fetchrow(_BY_EMAIL, email))

    async def by_id(self, user_id: PrincipalId) -> Person | None:
        return _person(await self._connection.fetchrow(_BY_ID, user_id))

    async def rows(self, call_id: CallId, part: str, behind: str | None) -> PartPage:
        rows = await self._connection.fetch(_ROWS, call_id, part, behind, PAGE_ROWS, PAGE_BYTES)
        return PartPage(rows=tuple(row["body"] for row in rows), behind=rows[-1]["key"] if rows else None)

    async def ask(
        self, erasure_id: ErasureId, person: PrincipalId, by: PrincipalId, call_id: CallId, now: datetime
    ) -> ErasureId:
        return ErasureId(cast(UUID, await self._connection.fetchval(_ASK, erasure_id, person, by, call_id, now)))

    async def list(self) -> Sequence[Erasure]:
        return [_erasure(row) for row in await self._connection.fetch(_LIST)]

    async def get(self, erasure_id: ErasureId) -> Erasure | None:
        row = await self._connection.fetchrow(_GET, erasure_id)
        return None if row is None else _erasure(row)

    async def step(self, erasure_id: ErasureId, most: int, now: datetime) -> Batch:
        (row,) = await self._connection.fetch(_STEP, erasure_id, most, now)
        erased = [EventId(event_id) for event_id in row["erased"]]
        return Batch(state=row["state"], waits=row["waits"], removed=_counts(row["gone"]), erased=erased)

    async def going(self, erasure_id: ErasureId) -> Sequence[tuple[Going, UUID]]:
        rows = await self._connection.fetch(_GOING, erasure_id, ENDED_AT_ONCE)
        return [(row["kind"], row["subject_id"]) for row in rows]

    async def cancel_approvals(self, erasure_id: ErasureId, why: str, now: datetime) -> Sequence[Approval]:
        rows = await self._connection.fetch(_CANCEL, erasure_id, why, now, ENDED_AT_ONCE)
        return [approval_of(row) for row in rows]


def _person(row: Row | None) -> Person | None:
    return None if row is None else Person(user_id=PrincipalId(row["user_id"]), email=row["email"], kind=row["kind"])


def _erasure(row: Row) -> Erasure:
    return Erasure(
        erasure_id=ErasureId(row["erasure_id"]),
        user_id=PrincipalId(row["user_id"]),
        requested_by=row["requester"],
        requested_at=row["requested_at"],
        call_id=CallId(row["call_id"]),
        state=row["state"],
        removed=_counts(row["removed"]),
        finished_at=row["finished_at"],
    )


def _counts(text: str) -> dict[str, int]:
    """Of tables that lost a row."""
    return {table: count for table, count in cast("dict[str, int]", orjson.loads(text)).items() if count}
