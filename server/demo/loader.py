"""Loads the demo firm: its people as the owner, its documents through the gate like anybody's; nothing twice."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from domain.kernel import CallId, Level, OrganizationId, Principal, PrincipalId, Role
from domain.paging import page_request
from knowledge.model import DocumentQuery
from server.database.connection import Connection
from server.database.founding import Founding, FoundingEngagement, FoundingMember, FoundingTask, found
from server.demo.firm import DemoDocument, DemoOrganization, DemoTask, Person, level_of, load_firm
from server.hub import Hub
from tools.outcomes import CallRequest

SERVICE_FLOOR = Level.L1
"""So that what people upload is indexed even in an organization that is set to L0."""


class DemoFailed(Exception):
    """The demo firm could not be loaded; the words name the document and say why."""


async def found_demo(owner: Connection, folder: Path, now: datetime) -> None:
    """The organizations, people, mandates and tasks of the demo; what is there stays."""
    for organization in load_firm(folder).organizations:
        await found(owner, _founding(organization), now)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoDocuments:
    """Takes the demo's documents in, each by two calls: upload, then index."""

    hub: Hub
    folder: Path

    async def load(self, progress: Callable[[str], None]) -> None:
        """Upload and index what is not there yet.

        Raises  DemoFailed: a call that did not end well.
        """
        for organization in load_firm(self.folder).organizations:
            there = await self._titles(organization)
            for document in organization.documents:
                if document.title not in there:
                    progress(f"{organization.slug}: {document.title}")
                    await self._take_in(organization, document)

    async def _titles(self, organization: DemoOrganization) -> set[str]:
        uploader = _uploader(organization)
        async with self.hub.transactions.session(uploader.organization_id, uploader.principal_id) as session:
            page = await session.work.knowledge.list(DocumentQuery(page=page_request(limit=100)))
        return {document.title for document in page.items if document.status == "ready"}

    async def _take_in(self, organization: DemoOrganization, document: DemoDocument) -> None:
        path = self.folder / "documents" / organization.slug / document.folder / document.file
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        arguments: dict[str, object] = {
            "title": document.title,
            "file_name": document.file,
            "uri": f"{document.folder}/{document.file}",
            "content_sha256": digest,
            "size_bytes": len(content),
            "audience": document.audience,
            "trust": document.trust,
        }
        if document.engagement is not None:
            arguments["engagement_id"] = str(organization.id("engagement", document.engagement))
        async with self.hub.staging.holding(content):
            request = CallRequest(call_id=CallId(self.hub.new_id()), tool="document_upload", arguments=arguments)
            outcome = await self.hub.gate.call(request, _uploader(organization))
        if outcome.outcome != "done" or outcome.result is None:
            raise DemoFailed(f"{document.title}: {outcome.outcome} {outcome.error}")
        await self._index(organization, document, outcome.result)

    async def _index(self, organization: DemoOrganization, document: DemoDocument, uploaded: dict[str, object]) -> None:
        stored = uploaded["document"]
        assert isinstance(stored, dict)
        service = Principal(
            organization_id=OrganizationId(organization.id("organization")),
            principal_id=PrincipalId(organization.id("service")),
            kind="service_account",
            mode="agent",
            door="worker",
        )
        arguments = {"document_id": stored["document_id"]}
        request = CallRequest(call_id=CallId(self.hub.new_id()), tool="document_index", arguments=arguments)
        outcome = await self.hub.gate.call(request, service)
        if outcome.outcome != "done":
            raise DemoFailed(f"{document.title}: not indexed: {outcome.outcome} {outcome.error}")


def _uploader(organization: DemoOrganization) -> Principal:
    """A PARTNER's own hand at the command line."""
    partner = next(person for person in organization.users if person.role is Role.PARTNER)
    return Principal(
        organization_id=OrganizationId(organization.id("organization")),
        principal_id=PrincipalId(organization.id("user", partner.email)),
        kind="person",
        mode="person",
        door="cli",
    )


def _founding(organization: DemoOrganization) -> Founding:
    return Founding(
        organization_id=organization.id("organization"),
        slug=organization.slug,
        name=organization.name,
        members=[_member(organization, person) for person in organization.users] + [_service(organization)],
        engagements=[
            FoundingEngagement(
                engagement_id=organization.id("engagement", engagement.slug),
                name=engagement.name,
                client_name=engagement.client,
                kind=engagement.kind,
            )
            for engagement in organization.engagements
        ],
        tasks=[_task(organization, task) for task in organization.tasks],
    )


def _member(organization: DemoOrganization, person: Person) -> FoundingMember:
    return FoundingMember(
        user_id=organization.id("user", person.email),
        kind="person",
        email=person.email,
        display_name=person.name,
        role=person.role,
        floor=level_of(person.autonomy.floor),
        ceiling=level_of(person.autonomy.ceiling),
        engagements=tuple(organization.id("engagement", slug) for slug in person.engagements),
    )


def _service(organization: DemoOrganization) -> FoundingMember:
    return FoundingMember(
        user_id=organization.id("service"),
        kind="service_account",
        email=organization.service_email,
        display_name=organization.service_account.display_name,
        role=Role.SERVICE_ACCOUNT,
        floor=SERVICE_FLOOR,
        ceiling=Level.L2,
    )


def _task(organization: DemoOrganization, task: DemoTask) -> FoundingTask:
    def user(email: str | None) -> UUID | None:
        return None if email is None else organization.id("user", email)

    return FoundingTask(
        task_id=organization.id("task", task.title),
        title=task.title,
        description=task.description,
        kind=task.kind,
        status=task.status,
        audience=task.audience,
        engagement_id=None if task.engagement is None else organization.id("engagement", task.engagement),
        assignee_id=user(task.assignee),
        due_on=task.due_on,
        created_by=user(task.created_by) or organization.id("user", organization.users[0].email),
    )
