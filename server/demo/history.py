"""A year of the demo firm's past: calls that its people and its agent made, by the gate, at the times that they say.

Nothing here is written past the gate: each call was decided by the policies in force, on facts of the database, and
left its events like any other. Only the clock is not today's; `request_id` says so, and `recorded_at` says when it was
written. What a start that was killed has left half done stays so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

from domain.kernel import CallId, Door, Mode, OrganizationId, Principal, PrincipalId
from server.database.connection import Connection
from server.demo.firm import DemoHistory, DemoOrganization, PastTask, load_firm
from server.hub import Hub
from server.intake import Unqueued
from tools.gate import Gate
from tools.outcomes import CallOutcome, CallRequest, Json

DEMO_HISTORY = "demo-history"
"""The request that each of these calls names."""
MONTH = timedelta(days=30)
YEAR = 12 * MONTH
MADE = "SELECT call_id FROM activity_events WHERE organization_id = $1 AND request_id = $2 AND opens"


class HistoryFailed(Exception):
    """A call of the past did not end as it should have."""


@dataclass(slots=True)
class Past:
    """The clock of a past day; it moves a little with each look."""

    at: datetime

    def __call__(self) -> datetime:
        self.at += timedelta(milliseconds=7)
        return self.at


@dataclass(slots=True)
class Life:
    """One organization's people and agent, making calls at the times of a clock of their own."""

    gate: Gate
    clock: Past
    organization: DemoOrganization
    made: frozenset[CallId]
    """What an earlier start, that was killed, has made already."""

    async def call(
        self, name: str, who: str, tool: str, arguments: Json, *, mode: Mode = "agent", door: Door = "chat"
    ) -> CallOutcome | None:
        """The call of that name, which has the same id in every installation; None: it was made before."""
        call_id = CallId(self.organization.id("call", name))
        if call_id in self.made:
            return None
        principal = Principal(
            organization_id=OrganizationId(self.organization.id("organization")),
            principal_id=PrincipalId(self.organization.id("user", who)),
            kind="person",
            mode=mode,
            door=door,
        )
        request = CallRequest(call_id=call_id, tool=tool, arguments=arguments, request_id=DEMO_HISTORY)
        outcome = await self.gate.call(request, principal)
        if outcome.outcome not in ("done", "waiting"):
            raise HistoryFailed(f"{name}: {outcome.outcome} {outcome.error}")
        return outcome


async def live_history(hub: Hub, owner: Connection, folder: Path, now: datetime, say: Callable[[str], None]) -> None:
    """Let every organization of the demo that has a past live what is missing of it.

    Raises  HistoryFailed.
    """
    for organization in load_firm(folder).organizations:
        if organization.history is None:
            continue
        rows = await owner.fetch(MADE, organization.id("organization"), DEMO_HISTORY)
        made = frozenset(CallId(row["call_id"]) for row in rows)
        days = _days(organization.history, now)
        if _last(organization, organization.history) in made:
            continue
        say(f"Living a year of {organization.name}, {len(days)} tasks, each call through the gate ...")
        clock = Past(now - YEAR)
        life = Life(
            gate=hub.gate_with(queue=Unqueued(), clock=clock), clock=clock, organization=organization, made=made
        )
        await _begin(life, organization.history)
        for day, number, task in days:
            clock.at = day
            await _task(life, organization.history, number, task)


def _days(history: DemoHistory, now: datetime) -> Sequence[tuple[datetime, int, PastTask]]:
    """When each task was asked for, in order; the last one is decided well before now."""
    return [
        (now - YEAR + month * MONTH + timedelta(days=1 + 2 * place), month * len(history.tasks) + place, task)
        for month in range(12)
        for place, task in enumerate(history.tasks)
    ]


def _last(organization: DemoOrganization, history: DemoHistory) -> CallId:
    return CallId(organization.id("call", f"{12 * len(history.tasks) - 1} created"))


async def _begin(life: Life, history: DemoHistory) -> None:
    setting: Json = {"scope": "tool", "tool": history.tool, "level": history.ceiling, "reason": history.reason}
    await life.call("ceiling", history.sets, "autonomy_set", setting, mode="person", door="rest")


async def _task(life: Life, history: DemoHistory, number: int, task: PastTask) -> None:
    """It is asked for, made by the agent, reported done by the agent, and that is looked at by somebody else."""
    organization, asks = life.organization, history.asks
    asked: Json = {"title": task.title.format(month=f"{life.clock.at:%B %Y}"), "description": task.description}
    if task.engagement is not None:
        asked["engagement_id"] = str(organization.id("engagement", task.engagement))
    await life.call(f"{number} looked up", asks, "knowledge_search", {"query": task.search, "limit": 3})
    made = await life.call(f"{number} created", asks, "task_create", asked)
    if made is None:
        return
    task_id = cast(Json, cast(Json, made.result)["task"])["task_id"]
    life.clock.at += timedelta(days=3, minutes=11 * (number % 17))
    done: Json = {"task_id": task_id, "status": "done"}
    waiting = await life.call(f"{number} reported", asks, "task_update", done)
    if waiting is None or waiting.approval is None:
        raise HistoryFailed(f"{number} reported: nobody was asked")
    life.clock.at += timedelta(minutes=4 + 7 * (number % 23))
    await _decide(life, history, number, waiting.approval.approval_id)
    if number in history.rejected:
        life.clock.at += timedelta(days=1)
        await life.call(f"{number} by hand", asks, "task_update", done, mode="person", door="rest")


async def _decide(life: Life, history: DemoHistory, number: int, approval_id: UUID) -> None:
    answer: Json = {"approval_id": str(approval_id), "decision": "approve"}
    if number in history.rejected:
        answer |= {"decision": "reject", "comment": history.rejected[number]}
    await life.call(f"{number} decided", history.decides, "approval_decide", answer, mode="person", door="rest")
