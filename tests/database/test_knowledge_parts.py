"""What lies inside of an upload is found like any document, by the same people, and goes when the upload goes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from domain.kernel import Role, new_id
from knowledge.model import Document, DocumentId, DocumentQuery, NewDocument, SearchQuery
from knowledge.parse.document import ZIP, Part
from knowledge.prepare import prepare_document
from knowledge.service import DocumentNotFound, KnowledgeService
from server.database.connection import Connection
from tests.support.knowledge import NOW, Firm, founded
from tests.support.office import packed

CONTENT = packed({"2026/letter.md": "# Letter\n\nThe walrus clause.", "notes.txt": "Plain notes.", "x.exe": b"MZ\x90"})
PREPARED = prepare_document(CONTENT, title="client.zip", media_type=ZIP)


@pytest.fixture
async def firm(owner_connection: Connection) -> Firm:
    return await founded(owner_connection)


async def kept(knowledge: KnowledgeService, firm: Firm, content: bytes = CONTENT) -> tuple[Document, list[DocumentId]]:
    """An archive for the client of one mandate, and the documents that came inside of it."""
    new = NewDocument(
        document_id=DocumentId(new_id()),
        title="client.zip",
        media_type=ZIP,
        content=content,
        audience="client",
        engagement_id=firm.engagement,
        trust="client",
        uploaded_by=firm.people[Role.EMPLOYEE],
        created_at=NOW,
    )
    await knowledge.add(new)
    document = await knowledge.store(new.document_id, PREPARED, new_id=new_id, now=NOW)
    return document, await knowledge.keep_parts(new.document_id, PREPARED.parts, new_id=new_id, now=NOW)


async def test_each_file_inside_is_a_document_for_the_same_people(firm: Firm, app_connection: Connection) -> None:
    async with firm.acting(app_connection, writes=True) as knowledge:
        archive, part_ids = await kept(knowledge, firm)
        parts = (await knowledge.list(DocumentQuery(parent_id=archive.document_id))).items
        assert archive.note == "1 file in it was not taken in: x.exe (it is a program)"
        assert {part.document_id for part in parts} == set(part_ids)
        assert {part.title for part in parts} == {"2026/letter.md", "notes.txt"}
        for part in parts:
            assert (part.status, part.parent_id, part.audience, part.engagement_id, part.trust, part.uploaded_by) == (
                "queued",
                archive.document_id,
                "client",
                firm.engagement,
                "client",
                archive.uploaded_by,
            )
            file = await knowledge.file(part.document_id)
            assert file.is_part
            assert file.content in {each.content for each in PREPARED.parts}
        assert not (await knowledge.file(archive.document_id)).is_part
    async with firm.acting(app_connection, Role.CLIENT) as knowledge:
        assert len((await knowledge.list(DocumentQuery(parent_id=archive.document_id))).items) == 2


async def test_an_upload_that_is_deleted_takes_what_came_inside_of_it_along(
    firm: Firm, app_connection: Connection, owner_connection: Connection
) -> None:
    async with firm.acting(app_connection, writes=True) as knowledge:
        archive, part_ids = await kept(knowledge, firm)
        for part_id, part in zip(part_ids, PREPARED.parts, strict=True):
            prepared = prepare_document(part.content, title=part.path, media_type=part.media_type)
            await knowledge.store(part_id, prepared, new_id=new_id, now=NOW)
        assert (await knowledge.search(SearchQuery(text="walrus"))).items
        await knowledge.delete(archive.document_id, now=NOW)
    async with firm.acting(app_connection) as knowledge:
        assert (await knowledge.list(DocumentQuery())).items == ()
        assert (await knowledge.search(SearchQuery(text="walrus"))).items == ()
        for part_id in part_ids:
            with pytest.raises(DocumentNotFound):
                await knowledge.file(part_id)
    assert await owner_connection.fetchval("SELECT count(*) FROM knowledge_postings") == 0


async def test_an_upload_that_is_read_again_keeps_what_is_the_same_and_lets_go_of_what_has_gone(
    firm: Firm, app_connection: Connection
) -> None:
    later = NOW + timedelta(minutes=1)
    async with firm.acting(app_connection, writes=True) as knowledge:
        archive, (letter, notes) = await kept(knowledge, firm)
        again = await knowledge.keep_parts(archive.document_id, PREPARED.parts, new_id=new_id, now=later)
        assert again == []
        changed = (PREPARED.parts[0], Part(path="notes.txt", media_type="text/plain", content=b"Other notes."))
        (added,) = await knowledge.keep_parts(archive.document_id, changed, new_id=new_id, now=later)
        listed = (await knowledge.list(DocumentQuery(parent_id=archive.document_id))).items
        assert {part.document_id for part in listed} == {letter, added}
        with pytest.raises(DocumentNotFound):
            await knowledge.get(notes)


async def test_a_part_has_no_parts_and_a_stranger_s_upload_takes_none(
    firm: Firm, app_connection: Connection, owner_connection: Connection
) -> None:
    stranger = await founded(owner_connection, "borealis")
    async with firm.acting(app_connection, writes=True) as knowledge:
        archive, (letter, _) = await kept(knowledge, firm)
    for who, parent_id in ((firm, letter), (stranger, archive.document_id)):
        with pytest.raises(Exception, match=r"row-level security|foreign key"):
            async with who.acting(app_connection, writes=True) as knowledge:
                await knowledge.keep_parts(parent_id, PREPARED.parts, new_id=new_id, now=NOW)
    assert await owner_connection.fetchval("SELECT count(*) FROM knowledge_documents") == 3
