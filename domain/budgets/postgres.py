"""Budgets in SQL: settings and counters in a principal's context; reservations each in one statement of its own."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import cast
from uuid import UUID

import orjson

from domain.budgets.model import (
    BudgetScope,
    BudgetSetting,
    BudgetSettingId,
    BudgetSettingQuery,
    BudgetState,
    Exhausted,
    Held,
    Measure,
    NewBudgetSetting,
    Payer,
    Wanted,
    renewal,
)
from domain.kernel import Clock, NewId, PrincipalId, RunId
from domain.storage.postgres import Connection, Row

Acquire = Callable[[], AbstractAsyncContextManager[Connection]]

_MEMBER = """
SELECT m.user_id FROM memberships m JOIN users u ON u.user_id = m.user_id
WHERE m.organization_id = glow.organization_id() AND lower(u.email) = lower($1)
"""

# Later than every setting before, whatever the clocks of several servers say: the newest is in force.
_ADD = """
INSERT INTO budget_settings (organization_id, setting_id, scope, member_id, measure, most, changed_by, changed_at,
    reason)
SELECT glow.organization_id(), $1, $2, $3, $4, $5, $6, greatest($7, max(s.changed_at) + interval '1 microsecond'), $8
FROM budget_settings s WHERE s.organization_id = glow.organization_id()
"""

_SETTINGS = """
SELECT s.setting_id, s.scope, s.measure, s.most, s.reason, coalesce(c.email, s.changed_by::text) AS changed_by,
       s.changed_at, coalesce(m.email, s.member_id::text) AS member
FROM budget_settings s
LEFT JOIN users c ON c.user_id = s.changed_by
LEFT JOIN users m ON m.user_id = s.member_id
WHERE s.organization_id = glow.organization_id() AND glow.role() <> 'CLIENT'
"""

_SETTING = _SETTINGS + "  AND s.setting_id = $1"

_HISTORY = (
    _SETTINGS
    + """
  AND ($1::timestamptz IS NULL OR (s.changed_at, s.setting_id) < ($1, $2::uuid))
  AND ($3::text IS NULL OR s.scope = $3)
ORDER BY s.changed_at DESC, s.setting_id DESC
LIMIT $4
"""
)

_STATES = """
SELECT n.scope, coalesce(m.email, n.member_id::text) AS member, n.measure, n.most, coalesce(u.used, 0) AS used,
       coalesce(u.reserved, 0) AS reserved
FROM (SELECT DISTINCT ON (s.scope, s.member_id, s.measure) s.scope, s.member_id, s.measure, s.most
      FROM budget_settings s WHERE s.organization_id = glow.organization_id()
      ORDER BY s.scope, s.member_id, s.measure, s.changed_at DESC, s.setting_id DESC) n
LEFT JOIN users m ON m.user_id = n.member_id
LEFT JOIN budget_use u ON u.organization_id = glow.organization_id() AND u.scope = n.scope AND u.measure = n.measure
    AND u.subject = CASE n.scope WHEN 'organization' THEN glow.organization_id()
                                 WHEN 'member' THEN n.member_id
                                 ELSE glow.charged_run(glow.organization_id(), $1) END
    AND u.period = CASE n.scope WHEN 'run' THEN 'run' ELSE glow.budget_day() END
WHERE n.most IS NOT NULL AND glow.role() <> 'CLIENT'
ORDER BY glow.budget_place(n.scope), m.email, n.measure
LIMIT 1000
"""

# One row without a measure, where nothing is used of any; row security shows a run to its owner.
_TAKEN_IN = """
SELECT u.measure, u.used + u.reserved AS taken
FROM runs r LEFT JOIN budget_use u ON u.organization_id = r.organization_id AND u.scope = 'run' AND u.period = 'run'
    AND u.subject = glow.charged_run(r.organization_id, r.run_id)
WHERE r.organization_id = glow.organization_id() AND r.run_id = $1
"""

# The runs of the agent that do one task pay as that task's run: an attempt more has no budget of its own.
_RESERVE = "SELECT glow.reserve_budget($1, $2, glow.charged_run($1, $3), $4::jsonb, $5, $6, $7)::text"
_LACKING = "SELECT glow.lacking_budget($1, $2, glow.charged_run($1, $3), $4::jsonb, $5)::text"
_SETTLE = "SELECT glow.settle_budget($1, $2, $3::jsonb, $4::jsonb)"
_RETURN = "SELECT glow.return_budgets($1, glow.charged_run($1, $2))"


class PostgresBudgets:
    """BudgetRepository over a connection in the principal's context."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def member(self, email: str) -> PrincipalId | None:
        found = await self._connection.fetchval(_MEMBER, email)
        return None if found is None else PrincipalId(found)

    async def add(self, setting: NewBudgetSetting) -> None:
        await self._connection.execute(
            _ADD,
            setting.setting_id,
            setting.scope,
            setting.member_id,
            setting.measure,
            setting.most,
            setting.changed_by,
            setting.changed_at,
            setting.reason,
        )

    async def setting(self, setting_id: BudgetSettingId) -> BudgetSetting:
        return _setting(cast(Row, await self._connection.fetchrow(_SETTING, setting_id)))

    async def history(self, query: BudgetSettingQuery) -> Sequence[BudgetSetting]:
        rows = await self._connection.fetch(_HISTORY, *query.page.behind, query.scope, query.page.limit + 1)
        return [_setting(row) for row in rows]

    async def states(self, run_id: RunId | None) -> Sequence[BudgetState]:
        rows = await self._connection.fetch(_STATES, run_id)
        return [
            BudgetState(
                scope=cast(BudgetScope, row["scope"]),
                member=row["member"],
                measure=cast(Measure, row["measure"]),
                most=row["most"],
                used=row["used"],
                reserved=row["reserved"],
            )
            for row in rows
        ]

    async def taken_in(self, run_id: RunId) -> Mapping[Measure, int] | None:
        rows = await self._connection.fetch(_TAKEN_IN, run_id)
        return {cast(Measure, row["measure"]): row["taken"] for row in rows if row["measure"]} if rows else None


class PostgresReservations:
    """Reservations as the application; each statement is a transaction of its own."""

    def __init__(self, acquire: Acquire, patiently: Acquire, clock: Clock, new_id: NewId) -> None:
        """`patiently`: for what would else be held until its time is over."""
        self._acquire = acquire
        self._patiently = patiently
        self._clock = clock
        self._new_id = new_id

    async def reserve(self, wanted: Wanted) -> Held | Exhausted | None:
        """What a process that is gone still held is taken back before anybody is refused."""
        answer = await self._reserve(wanted)
        if isinstance(answer, Exhausted) and answer.wanted is not None and await self._take_back(wanted):
            answer = await self._reserve(wanted)
        return answer

    async def lacking(self, wanted: Wanted) -> Exhausted | None:
        """What a process that is gone still held is taken back before anything is told to be lacking."""
        found = await self._lacking(wanted)
        if found is not None and await self._take_back(wanted):
            found = await self._lacking(wanted)
        return found

    async def settle(self, held: Held, really: Mapping[Measure, int | None]) -> None:
        async with self._patiently() as connection:
            await connection.fetchval(
                _SETTLE,
                held.payer.organization_id,
                held.reservation_id,
                held.parts,
                orjson.dumps(dict(really)).decode(),
            )

    async def taken_over(self, payer: Payer) -> None:
        async with self._acquire() as connection:
            await connection.fetchval(_RETURN, payer.organization_id, payer.run_id)

    async def _reserve(self, wanted: Wanted) -> Held | Exhausted | None:
        reservation_id, payer = self._new_id(), wanted.payer
        async with self._acquire() as connection:
            text = await connection.fetchval(
                _RESERVE,
                payer.organization_id,
                payer.principal_id,
                payer.run_id,
                orjson.dumps(dict(wanted.amounts)).decode(),
                reservation_id,
                wanted.call_id,
                wanted.held_for,
            )
        return None if text is None else _answer(text, reservation_id, wanted, self._clock())

    async def _lacking(self, wanted: Wanted) -> Exhausted | None:
        payer, amounts = wanted.payer, orjson.dumps(dict(wanted.amounts)).decode()
        async with self._acquire() as connection:
            text = await connection.fetchval(
                _LACKING, payer.organization_id, payer.principal_id, payer.run_id, amounts, wanted.call_id
            )
        return None if text is None else _exhausted(orjson.loads(text), self._clock())

    async def _take_back(self, wanted: Wanted) -> bool:
        async with self._acquire() as connection:
            return bool(await connection.fetchval(_RETURN, wanted.payer.organization_id, None))


class PostgresBudgetReturns:
    """Takes back, for all organizations, what nobody is left to settle; as glow_service."""

    def __init__(self, acquire: Acquire) -> None:
        self._acquire = acquire

    async def take_back(self) -> int:
        """How many parts of reservations were taken back."""
        async with self._acquire() as connection:
            return cast(int, await connection.fetchval(_RETURN, None, None))


def _answer(text: str, reservation_id: UUID, wanted: Wanted, now: datetime) -> Held | Exhausted:
    answer = cast("dict[str, object]", orjson.loads(text))
    refused = cast("dict[str, object] | None", answer.get("refused"))
    if refused is None:
        parts = orjson.dumps(answer["parts"]).decode()
        return Held(reservation_id=reservation_id, payer=wanted.payer, amounts=wanted.amounts, parts=parts)
    return _exhausted(refused, now)


def _exhausted(told: dict[str, object], now: datetime) -> Exhausted:
    scope = cast(BudgetScope, told["scope"])
    return Exhausted(
        scope=scope,
        measure=cast(Measure, told["measure"]),
        most=cast(int, told["most"]),
        left=cast(int, told["left"]),
        wanted=cast("int | None", told["wanted"]),
        renews_at=renewal(scope, now),
    )


def _setting(row: Row) -> BudgetSetting:
    return BudgetSetting(
        setting_id=BudgetSettingId(row["setting_id"]),
        scope=cast(BudgetScope, row["scope"]),
        member=row["member"],
        measure=cast(Measure, row["measure"]),
        most=row["most"],
        reason=row["reason"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
    )
