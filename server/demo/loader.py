"""Loads the demo firm: its people as the owner, its documents through the gate like anybody's; nothing twice."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from domain.kernel import Level, OrganizationId, Principal, PrincipalId, Role
from knowledge.model import DocumentId
from server.database.connection import Connection
from server.database.founding import Founding, FoundingEngagement, FoundingMember, FoundingTask, found
from server.demo.firm import DemoDocument, DemoOrganization, DemoTask, Person, level_of, load_firm
from server.demo.postgres import StoredDocument, stored_documents
from server.intake import Intake, IntakeFile, document_id_of, document_of

SERVICE_FLOOR = Level.L1
"""So that what people upload is indexed even in an organization that is set to L0."""


class DemoFailed(Exception):
    """The demo firm could not be loaded; the words name the document and say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A document of the demo that is not there, or not yet to be found."""

    organization: DemoOrganization
    document: DemoDocument
    content: bytes
    stored: StoredDocument | None
    """None: it is still to be uploaded."""


async def found_demo(owner: Connection, folder: Path, now: datetime) -> None:
    """The organizations, people, mandates and tasks of the demo; what is there stays."""
    for organization in load_firm(folder).organizations:
        await found(owner, _founding(organization), now)


async def wanted_documents(owner: Connection, folder: Path) -> Sequence[Wanted]:
    """What is left to be taken in: all at first, the rest after a start that was killed, and nothing later.

    Documents are known by their content: one that somebody deleted is not brought back, and one that was uploaded but
    not indexed is not uploaded again.
    """
    wanted: list[Wanted] = []
    for organization in load_firm(folder).organizations:
        there = await stored_documents(owner, organization.id("organization"))
        for document in organization.documents:
            content = (folder / "documents" / organization.slug / document.folder / document.file).read_bytes()
            stored = there.get(hashlib.sha256(content).digest())
            if stored is None or not stored.settled:
                wanted.append(Wanted(organization=organization, document=document, content=content, stored=stored))
    return wanted


async def take_in(intake: Intake, wanted: Sequence[Wanted], progress: Callable[[str], None]) -> None:
    """Upload and index what is wanted, one after another.

    Raises  DemoFailed: a call that did not end well.
    """
    for number, each in enumerate(wanted, start=1):
        progress(f"  {number:2}/{len(wanted)}  {each.organization.slug}  {each.document.title}")
        await _index(intake, each, await _uploaded(intake, each))


async def _uploaded(intake: Intake, wanted: Wanted) -> DocumentId:
    if wanted.stored is not None:
        return wanted.stored.document_id
    document = wanted.document
    said = {"uri": f"{document.folder}/{document.file}", "audience": document.audience, "trust": document.trust}
    if document.engagement is not None:
        said["engagement_id"] = str(wanted.organization.id("engagement", document.engagement))
    file = IntakeFile(content=wanted.content, title=document.title, file_name=document.file, said=said)
    outcome = await intake.upload(_uploader(wanted.organization), file)
    if outcome.outcome != "done":
        raise DemoFailed(f"{document.title}: not uploaded: {outcome.outcome} {outcome.error}")
    return document_id_of(outcome)


async def _index(intake: Intake, wanted: Wanted, document_id: DocumentId) -> None:
    outcome = await intake.index(_uploader(wanted.organization), document_id)
    if outcome is None or outcome.outcome != "done":
        why = "no service account" if outcome is None else f"{outcome.outcome} {outcome.error}"
        raise DemoFailed(f"{wanted.document.title}: not indexed: {why}")
    document = document_of(outcome)
    if document["status"] != "ready":
        raise DemoFailed(f"{wanted.document.title}: not readable: {document.get('failure')}")


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
        release_controls={str(name): needs for name, needs in organization.release_controls.items()},
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
