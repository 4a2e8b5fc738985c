"""A firm with documents, for tests of knowledge: its people, its mandates, and transactions as each of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid4

from domain.kernel import Audience, EngagementId, OrganizationId, PrincipalId, Role, Trust, new_id
from knowledge.model import Document, DocumentId, NewDocument
from knowledge.postgres import knowledge_service
from knowledge.prepare import prepare_document
from knowledge.service import KnowledgeService
from server.database.connection import Connection

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
WRITTEN_TABLES = [
    "knowledge_documents",
    "knowledge_files",
    "knowledge_chunks",
    "knowledge_terms",
    "knowledge_postings",
    "knowledge_embeddings",
    "knowledge_kept_vectors",
    "knowledge_staged",
    "document_figures",
]

_TICKET = """
INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, call_id, tool, effect, writes, door,
    principal_id, principal_kind, mode, attended, facts)
VALUES (glow.organization_id(), $1, 'tool.allowed', true, now(), $1, 'document_index', 'prepare', $2, 'worker',
    glow.principal_id(), 'person', 'person', false, '{}')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firm:
    """One organization with two mandates, and a person in each role it needs."""

    organization_id: OrganizationId
    engagement: EngagementId
    other_engagement: EngagementId
    people: dict[Role, PrincipalId]

    @asynccontextmanager
    async def acting(
        self, connection: Connection, role: Role = Role.EMPLOYEE, *, writes: bool = False
    ) -> AsyncGenerator[KnowledgeService]:
        """The service in a transaction of the person with that role; with a ticket where it `writes`."""
        async with connection.transaction():
            await connection.fetchval("SELECT glow.begin_session($1, $2)", self.organization_id, self.people[role])
            if writes:
                await connection.execute(_TICKET, uuid4(), WRITTEN_TABLES)
            yield knowledge_service(connection)

    async def add(
        self,
        connection: Connection,
        text: str,
        *,
        title: str = "Policy",
        audience: Audience = "firm",
        engagement_id: EngagementId | None = None,
        trust: Trust = "internal",
        index: bool = True,
        created_at: datetime = NOW,
    ) -> Document:
        """A Markdown document of this firm's, ready to be found."""
        new = NewDocument(
            document_id=DocumentId(new_id()),
            title=title,
            media_type="text/markdown",
            content=text.encode(),
            audience=audience,
            engagement_id=engagement_id,
            trust=trust,
            uploaded_by=self.people[Role.EMPLOYEE],
            created_at=created_at,
        )
        async with self.acting(connection, writes=True) as knowledge:
            document = await knowledge.add(new)
            if index:
                prepared = prepare_document(new.content, title=title, media_type="text/markdown")
                document = await knowledge.store(document.document_id, prepared, new_id=new_id, now=created_at)
        return document


async def founded(owner: Connection, slug: str = "acme") -> Firm:
    """A firm written by the owner, who needs no ticket."""
    firm = Firm(
        organization_id=OrganizationId(uuid4()),
        engagement=EngagementId(uuid4()),
        other_engagement=EngagementId(uuid4()),
        people={role: PrincipalId(uuid4()) for role in (Role.EMPLOYEE, Role.CLIENT, Role.READONLY)},
    )
    await owner.execute("INSERT INTO organizations VALUES ($1, $2, $2)", firm.organization_id, slug)
    for role, person in firm.people.items():
        await _hired(owner, firm.organization_id, role, person, f"{role.lower()}@{slug}.example")
    for engagement in (firm.engagement, firm.other_engagement):
        await owner.execute(
            "INSERT INTO engagements VALUES ($1, $2, 'Audit', 'Client', 'audit')", firm.organization_id, engagement
        )
    await owner.execute(
        "INSERT INTO engagement_members VALUES ($1, $2, $3)",
        firm.organization_id,
        firm.engagement,
        firm.people[Role.CLIENT],
    )
    return firm


async def _hired(owner: Connection, organization_id: UUID, role: Role, person: UUID, email: str) -> None:
    await owner.execute("INSERT INTO users VALUES ($1, 'person', $2, $2)", person, email)
    await owner.execute("INSERT INTO memberships VALUES ($1, $2, $3)", organization_id, person, role)
