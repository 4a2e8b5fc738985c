"""Activity events in one line each, and transactions of a seeded firm's people that hold a ticket, for tests of SQL."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from domain.activity.model import ActivityEvent, Payload
from domain.activity.postgres import insert_events
from domain.kernel import CallId, EventId, OrganizationId, PrincipalId, Role
from server.database.connection import Connection
from tests.support.firms import FIRM_A, Firm, stand_in

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def later(seconds: float) -> datetime:
    """A moment after NOW."""
    return NOW + timedelta(seconds=seconds)


def event(**changes: Any) -> ActivityEvent:
    """A read by an employee's agent that was done; with changes."""
    plain: dict[str, Any] = {
        "organization_id": OrganizationId(FIRM_A.organization_id),
        "event_id": EventId(uuid4()),
        "kind": "tool.completed",
        "opens": True,
        "occurred_at": NOW,
        "call_id": CallId(uuid4()),
        "tool": "knowledge_search",
        "effect": "read",
        "writes": (),
        "door": "chat",
        "principal_id": PrincipalId(FIRM_A.id("employee")),
        "principal_kind": "person",
        "role": Role.EMPLOYEE,
        "mode": "agent",
        "attended": True,
        "level": 2,
        "engagement_id": None,
        "facts": "{}",
        "decision": "allow",
        "reasons": ("within_role_and_autonomy",),
        "approval_id": None,
        "manifest_digest": b"m",
        "policy_digest": b"p",
        "outcome": "done",
        "error_code": None,
        "error_reference": None,
        "duration_ms": 1.5,
        "cost_micros": 0,
        "conversation_id": None,
        "run_id": None,
        "task_run_id": None,
        "request_id": None,
        "trace_id": None,
        "payload": Payload(salt=b"salt", arguments='{"query":"who signs"}', result='{"items":[]}'),
    }
    return ActivityEvent(**{**plain, **changes})


def ticket(firm: Firm, who: str, tables: tuple[str, ...], **changes: Any) -> ActivityEvent:
    """What a writing call leaves before its work."""
    return event(
        **{
            "organization_id": OrganizationId(firm.organization_id),
            "principal_id": PrincipalId(firm.id(who)),
            "kind": "tool.allowed",
            "tool": "task_create",
            "effect": "prepare",
            "writes": tables,
            "outcome": None,
            "payload": None,
            **changes,
        }
    )


def followed(first: ActivityEvent, **changes: Any) -> ActivityEvent:
    """A later event of the same call."""
    return replace(first, **{"event_id": EventId(uuid4()), "opens": False, "payload": None, **changes})


@asynccontextmanager
async def acting(connection: Connection, who: str, *tables: str, firm: Firm = FIRM_A) -> AsyncGenerator[None]:
    """A transaction of one of the firm's people; with a ticket for the tables that are named."""
    async with connection.transaction():
        await stand_in(connection, firm, who)
        if tables:
            await insert_events(connection, [ticket(firm, who, tables)])
        yield


async def add_member(owner: Connection, role: Role, *, firm: Firm = FIRM_A) -> UUID:
    """One more person of the firm, with this role; its id is `firm.id(role)`."""
    person = firm.id(role)
    await owner.execute(
        "INSERT INTO users (user_id, kind, email, display_name) VALUES ($1, 'person', $2, 'More')",
        person,
        f"{role.lower()}@more-{firm.n}.example",
    )
    await owner.execute(
        "INSERT INTO memberships (organization_id, user_id, role) VALUES ($1, $2, $3)",
        firm.organization_id,
        person,
        role,
    )
    return person
