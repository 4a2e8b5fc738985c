"""The demo firm is loaded whole and once, through the gate; what a killed start left is finished, nothing doubled."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from domain.kernel import utc_now
from domain.paging import page_request
from domain.resources import resource_folder
from knowledge.model import Document, DocumentQuery
from server.auth import Caller
from server.database.connection import Connection
from server.demo.firm import load_firm
from server.demo.loader import DemoFailed, Wanted, found_demo, take_in, wanted_documents
from server.hub import Hub
from server.intake import Intake, IntakeFile
from tests.support.database import Database
from tests.support.doors import in_a_task, opened_hub

FOLDER = resource_folder("demo")
SHORT = 3
"""Documents of which a test takes in no more, for speed."""


@pytest.fixture
async def hub(database: Database) -> AsyncIterator[Hub]:
    """The hub over the demo firm's people, without its documents."""
    async with in_a_task(opened_hub(database)) as opened:
        yield opened


async def test_every_document_is_taken_in_and_a_second_start_wants_none(hub: Hub, owner_connection: Connection) -> None:
    wanted = await wanted_documents(owner_connection, FOLDER)
    said: list[str] = []
    await take_in(Intake(hub), wanted, said.append)
    assert len(said) == len(wanted) == 23
    assert await wanted_documents(owner_connection, FOLDER) == []
    for organization in load_firm(FOLDER).organizations:
        documents = await _documents(hub, organization.slug)
        assert {document.title for document in documents} == {each.title for each in organization.documents}
        assert {document.status for document in documents} == {"ready"}


async def test_each_document_came_through_the_gate_by_two_calls(hub: Hub, owner_connection: Connection) -> None:
    wanted = await wanted_documents(owner_connection, FOLDER)
    await take_in(Intake(hub), wanted[:SHORT], _silent)
    rows = await owner_connection.fetch(
        "SELECT tool, door, mode, count(*) AS calls FROM activity_events WHERE outcome = 'done' "
        "GROUP BY tool, door, mode ORDER BY tool"
    )
    assert [tuple(row) for row in rows] == [
        ("document_index", "worker", "agent", SHORT),
        ("document_upload", "cli", "person", SHORT),
    ]


async def test_founding_again_changes_nothing(hub: Hub, owner_connection: Connection) -> None:
    before = await _counts(owner_connection)
    await found_demo(owner_connection, FOLDER, utc_now())
    assert await _counts(owner_connection) == before


async def test_a_start_killed_between_upload_and_index_is_finished_without_a_second_upload(
    hub: Hub, owner_connection: Connection
) -> None:
    first, *_ = await wanted_documents(owner_connection, FOLDER)
    await _upload_alone(hub, first)
    again, *rest = await wanted_documents(owner_connection, FOLDER)
    assert again.document == first.document
    assert again.stored is not None
    assert len(rest) == 22
    await take_in(Intake(hub), [again], _silent)
    (document,) = await _documents(hub, first.organization.slug)
    assert (document.document_id, document.status) == (again.stored.document_id, "ready")


async def test_a_document_that_somebody_deleted_is_not_brought_back(hub: Hub, owner_connection: Connection) -> None:
    first, *_ = await wanted_documents(owner_connection, FOLDER)
    await take_in(Intake(hub), [first], _silent)
    await owner_connection.execute("UPDATE knowledge_documents SET deleted_at = now(), purge_at = now()")
    assert first.document not in [wanted.document for wanted in await wanted_documents(owner_connection, FOLDER)]


async def test_a_document_that_cannot_be_read_stops_the_start_and_is_named(
    hub: Hub, owner_connection: Connection
) -> None:
    first, *_ = await wanted_documents(owner_connection, FOLDER)
    with pytest.raises(DemoFailed, match=r"Engagement letter policy \(EL\): not readable"):
        await take_in(Intake(hub), [replace(first, content=b"%PDF-1.4 broken")], _silent)


async def _upload_alone(hub: Hub, wanted: Wanted) -> None:
    principal_id = await hub.identities.principal_by_email("employee@acme.example")
    assert principal_id is not None
    member = await hub.identities.member(wanted.organization.slug, principal_id)
    assert member is not None
    file = IntakeFile(content=wanted.content, title=wanted.document.title, file_name=wanted.document.file, said={})
    outcome = await Intake(hub).upload(Caller(member=member, audience="api").principal("cli"), file)
    assert outcome.outcome == "done"


async def _documents(hub: Hub, slug: str) -> tuple[Document, ...]:
    """What the organization's partner sees."""
    organization = next(each for each in load_firm(FOLDER).organizations if each.slug == slug)
    partner = await hub.identities.principal_by_email(organization.users[0].email)
    assert partner is not None
    member = await hub.identities.member(slug, partner)
    assert member is not None
    async with hub.transactions.session(member.organization_id, partner) as session:
        return tuple((await session.work.knowledge.list(DocumentQuery(page=page_request(limit=100)))).items)


async def _counts(owner: Connection) -> list[int]:
    tables = ("organizations", "users", "memberships", "engagements", "engagement_members", "tasks")
    return [await owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


def _silent(_line: str) -> None:
    """Nobody looks."""
