"""Founds an organization: what exists before anybody can call a tool, written as the owner, who needs no ticket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from domain.kernel import Audience, Level, PrincipalKind, Role
from server.database.connection import Connection

ORGANIZATION = """
INSERT INTO organizations (organization_id, slug, name, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
USER = """
INSERT INTO users (user_id, kind, email, display_name, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
"""
MEMBERSHIP = """
INSERT INTO memberships (organization_id, user_id, role, autonomy_floor, autonomy_ceiling, created_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
ENGAGEMENT = """
INSERT INTO engagements (organization_id, engagement_id, name, client_name, kind, created_at)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
"""
ENGAGEMENT_MEMBER = """
INSERT INTO engagement_members (organization_id, engagement_id, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
RELEASE_CONTROL = """
INSERT INTO release_controls (organization_id, name, needs) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
TASK = """
INSERT INTO tasks (organization_id, task_id, title, description, kind, status, audience, engagement_id, assignee_id,
    due_on, created_by, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingMember:
    """A person or service account, with its place in the organization."""

    user_id: UUID
    kind: PrincipalKind
    email: str
    display_name: str
    role: Role
    floor: Level
    ceiling: Level
    engagements: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingEngagement:
    engagement_id: UUID
    name: str
    client_name: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingTask:
    """A task from the time before the record began."""

    task_id: UUID
    title: str
    description: str
    kind: str | None
    status: str
    audience: Audience
    engagement_id: UUID | None
    assignee_id: UUID | None
    due_on: date | None
    created_by: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """A whole organization, as it is before its first call."""

    organization_id: UUID
    slug: str
    name: str
    members: Sequence[FoundingMember]
    engagements: Sequence[FoundingEngagement]
    tasks: Sequence[FoundingTask]
    release_controls: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Which kinds of sign-off each needs."""


async def found(owner: Connection, founding: Founding, now: datetime) -> None:
    """Write what is not there yet, in one transaction; what is there stays as it is."""
    organization_id = founding.organization_id
    async with owner.transaction():
        await owner.execute(ORGANIZATION, organization_id, founding.slug, founding.name, now)
        for engagement in founding.engagements:
            await owner.execute(
                ENGAGEMENT,
                organization_id,
                engagement.engagement_id,
                engagement.name,
                engagement.client_name,
                engagement.kind,
                now,
            )
        for member in founding.members:
            await _add_member(owner, organization_id, member, now)
        for control, needs in founding.release_controls.items():
            await owner.execute(RELEASE_CONTROL, organization_id, control, list(needs))
        for task in founding.tasks:
            await _add_task(owner, organization_id, task, now)


async def _add_member(owner: Connection, organization_id: UUID, member: FoundingMember, now: datetime) -> None:
    await owner.execute(USER, member.user_id, member.kind, member.email, member.display_name, now)
    await owner.execute(
        MEMBERSHIP, organization_id, member.user_id, str(member.role), int(member.floor), int(member.ceiling), now
    )
    for engagement_id in member.engagements:
        await owner.execute(ENGAGEMENT_MEMBER, organization_id, engagement_id, member.user_id)


async def _add_task(owner: Connection, organization_id: UUID, task: FoundingTask, now: datetime) -> None:
    await owner.execute(
        TASK,
        organization_id,
        task.task_id,
        task.title,
        task.description,
        task.kind,
        task.status,
        task.audience,
        task.engagement_id,
        task.assignee_id,
        task.due_on,
        task.created_by,
        now,
    )
