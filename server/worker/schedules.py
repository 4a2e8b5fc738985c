"""Starts what is due: each due time of a schedule is one call of `task_run`, as the organization's service account.

The call's id follows from the schedule and the due time, so that any number of workers, and whoever takes over from one
that was killed, make it once. Where the schedule has come to is written after the call: until then it stays due.
"""

import re
from datetime import datetime
from uuid import uuid5
from zoneinfo import ZoneInfo

import orjson
import structlog

from domain.kernel import CallId, Clock, Principal
from domain.schedules.model import Firing, Schedule, ScheduleId, StoredSchedule
from domain.schedules.service import ScheduleNotFound
from server.database.identities import PostgresIdentities
from server.database.unit_of_work import PostgresTransactions
from server.worker.again import Again
from server.worker.once import OnceOnly
from server.worker.principals import service_account_of
from tools.gate import Gate
from tools.outcomes import CallRequest
from tools.work import Job

log = structlog.get_logger()

_DUE_TIME = re.compile(r"schedule/[^\[]*\[(?P<zone>[^\]]+)\]")


class ScheduleWorker:
    """Takes one schedule that is due to its next due time."""

    def __init__(
        self, *, gate: Gate, transactions: PostgresTransactions, identities: PostgresIdentities, clock: Clock
    ) -> None:
        self._calls = OnceOnly(gate=gate, transactions=transactions)
        self._transactions = transactions
        self._identities = identities
        self._clock = clock

    async def work(self, job: Job) -> Again | None:
        """Start what is due by now. What was missed while nothing ran is started once, not for each time.

        The sweep comes again when it is due next.
        """
        principal = await service_account_of(self._identities, job.organization_id, scheduled=True)
        if principal is None:
            log.error("schedule.no_service_account", orgId=str(job.organization_id))
            return Again()
        schedule = await self._find(principal, ScheduleId(job.subject_id))
        due_at = None if schedule is None else schedule.stored.next_run_at
        now = self._clock()
        if schedule is None or due_at is None or due_at > now:
            return None
        call_id = await self._calls.call(principal, lambda attempt: _request(schedule, due_at, attempt))
        await self._fired(principal, schedule, due_at, now, call_id)
        return None

    async def _fired(
        self, principal: Principal, schedule: Schedule, due_at: datetime, now: datetime, call_id: CallId
    ) -> None:
        timing = schedule.stored.timing
        firing = Firing(
            schedule_id=schedule.stored.schedule_id,
            due_at=due_at,
            started_at=now,
            missed=timing.missed(due_at, now),
            call_id=call_id,
            next_run_at=timing.after(now),
        )
        organization_id, principal_id = principal.organization_id, principal.principal_id
        async with self._transactions.session(organization_id, principal_id, read_only=False) as session:
            await session.schedule_progress.fired(firing)

    async def _find(self, principal: Principal, schedule_id: ScheduleId) -> Schedule | None:
        async with self._transactions.session(principal.organization_id, principal.principal_id) as session:
            try:
                return await session.work.schedules.get(schedule_id)
            except ScheduleNotFound:
                return None


def call_id_of(schedule_id: ScheduleId, due_at: datetime, attempt: int = 0) -> CallId:
    """The id of the call that a due time is: the same in every process."""
    name = due_at.isoformat()
    return CallId(uuid5(schedule_id, f"{name}#{attempt}" if attempt else name))


def due_time_of(schedule: StoredSchedule, due_at: datetime) -> str:
    """What asked for a call, for the record: which due time of which schedule, on whose clock. Source  RFC 9557."""
    zone = schedule.timing.time_zone
    return f"schedule/{schedule.schedule_id}/{due_at.astimezone(ZoneInfo(zone)).isoformat()}[{zone}]"


def time_zone_of(request_id: str | None) -> str:
    """The zone of the due time that asked for a call; UTC where nothing but a person or a model did.

    No door that hears from outside takes an id with a bracket in it.
    """
    found = None if request_id is None else _DUE_TIME.fullmatch(request_id)
    return "UTC" if found is None else found["zone"]


def _request(schedule: Schedule, due_at: datetime, attempt: int) -> CallRequest:
    stored = schedule.stored
    return CallRequest(
        call_id=call_id_of(stored.schedule_id, due_at, attempt),
        tool="task_run",
        arguments={"task_id": str(stored.task_id), "input": orjson.loads(stored.input)},
        request_id=due_time_of(stored, due_at),
    )
