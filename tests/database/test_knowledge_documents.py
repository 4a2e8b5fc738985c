"""Documents are taken in, indexed, read and deleted under row level security, and never without a ticket."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from domain.kernel import PrincipalId, Role, new_id
from domain.paging import page_request
from knowledge.model import DocumentId, DocumentQuery, NewDocument, SearchFilters, SearchQuery, TextRange
from knowledge.parse.document import ParsedDocument
from knowledge.parse.pdf import document_of_pages
from knowledge.prepare import PreparedDocument, prepare_document
from knowledge.service import (
    READ_LIMIT,
    DocumentNotFound,
    DocumentNotReady,
    KnowledgeService,
    NoSuchPart,
    document_title,
)
from server.database.connection import Connection, connected
from server.logins import Login
from tests.support.database import Database
from tests.support.knowledge import NOW, Firm, founded


@pytest.fixture
async def firm(owner_connection: Connection) -> Firm:
    return await founded(owner_connection)


def without_chunks(document: ParsedDocument) -> PreparedDocument:
    return PreparedDocument(
        text=document.text, page_starts=document.page_starts, chunks=(), language=None, prepared_as=""
    )


async def test_a_new_document_is_queued_and_keeps_its_bytes(firm: Firm, app_connection: Connection) -> None:
    document = await firm.add(app_connection, "# Hä\r\n\nText.", index=False)
    assert (document.status, document.failure, document.token_count, document.page_count) == ("queued", None, 0, None)
    assert document.size_bytes == 13
    assert document.content_sha256 == hashlib.sha256("# Hä\r\n\nText.".encode()).digest()
    assert document.uploaded_by == "employee@acme.example"
    async with firm.acting(app_connection) as knowledge:
        assert (await knowledge.file(document.document_id)).content == "# Hä\r\n\nText.".encode()
        with pytest.raises(DocumentNotReady, match="queued"):
            await knowledge.read(document.document_id, TextRange())


async def test_an_indexed_document_is_ready_and_read_by_characters(firm: Firm, app_connection: Connection) -> None:
    document = await firm.add(app_connection, "# Hä 😀\n\nText.")
    assert (document.status, document.version) == ("ready", 1)
    assert document.token_count > 3
    async with firm.acting(app_connection) as knowledge:
        whole = await knowledge.read(document.document_id, TextRange())
        assert (whole.text, whole.start, whole.end, whole.length) == ("# Hä 😀\n\nText.", 0, 13, 13)
        assert (await knowledge.read(document.document_id, TextRange(start=5, end=6))).text == "😀"
        assert (await knowledge.read(document.document_id, TextRange(start=8, end=999))).text == "Text."


async def test_a_read_gives_so_much_at_once_and_says_where_it_ended(firm: Firm, app_connection: Connection) -> None:
    document = await firm.add(app_connection, "word " * 10_000)
    async with firm.acting(app_connection) as knowledge:
        first = await knowledge.read(document.document_id, TextRange(start=10))
        assert (len(first.text), first.end, first.length) == (READ_LIMIT, READ_LIMIT + 10, 50_000)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (TextRange(page=1, start=0), "not both"),
        (TextRange(page=1), "has no pages"),
        (TextRange(start=5, end=5), "holds nothing"),
        (TextRange(start=900), "holds nothing"),
        (TextRange(start=-1), "holds nothing"),
    ],
)
async def test_a_part_that_is_not_there_is_refused(
    firm: Firm, app_connection: Connection, part: TextRange, words: str
) -> None:
    document = await firm.add(app_connection, "Some text.")
    async with firm.acting(app_connection) as knowledge:
        with pytest.raises(NoSuchPart, match=words):
            await knowledge.read(document.document_id, part)


async def test_a_document_with_pages_is_read_by_page(firm: Firm, app_connection: Connection) -> None:
    document = await firm.add(app_connection, "unused", index=False)
    pages = without_chunks(document_of_pages(["One.", "Two 😀.", ""]))
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.store(document.document_id, pages, new_id=new_id, now=NOW)
        second = await knowledge.read(document.document_id, TextRange(page=2))
        assert (second.text.strip(), second.page, second.page_count) == ("Two 😀.", 2, 3)
        assert (await knowledge.read(document.document_id, TextRange(page=3))).text == ""
        assert (await knowledge.read(document.document_id, TextRange(start=second.start))).page == 2
        with pytest.raises(NoSuchPart, match="there is no page 4; the document has 3"):
            await knowledge.read(document.document_id, TextRange(page=4))


async def test_indexing_again_replaces_what_was_found_before(firm: Firm, app_connection: Connection) -> None:
    document = await firm.add(app_connection, "The old letter.")
    prepared = prepare_document(b"The new contract.", title="Policy", media_type="text/markdown")
    async with firm.acting(app_connection, writes=True) as knowledge:
        again = await knowledge.store(document.document_id, prepared, new_id=new_id, now=NOW)
        assert again.version == 2
        assert (await knowledge.search(SearchQuery(text="letter"))).items == ()
        assert len((await knowledge.search(SearchQuery(text="contract"))).items) == 1


async def test_a_document_that_cannot_be_read_says_why_and_is_not_found(firm: Firm, app_connection: Connection) -> None:
    document = await firm.add(app_connection, "The letter.")
    async with firm.acting(app_connection, writes=True) as knowledge:
        failed = await knowledge.fail(document.document_id, "it is protected by a password", now=NOW)
        assert (failed.status, failed.failure) == ("failed", "it is protected by a password")
        assert (await knowledge.search(SearchQuery(text="letter"))).items == ()
        with pytest.raises(DocumentNotReady, match="failed"):
            await knowledge.read(document.document_id, TextRange())


async def test_a_deleted_document_is_gone_from_lists_reads_and_search_but_not_from_the_books(
    firm: Firm, app_connection: Connection, owner_connection: Connection
) -> None:
    document = await firm.add(app_connection, "The letter.")
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.delete(document.document_id, now=NOW)
    async with firm.acting(app_connection, writes=True) as knowledge:
        assert (await knowledge.list(DocumentQuery())).items == ()
        assert (await knowledge.search(SearchQuery(text="letter"))).items == ()
        for refused in (
            knowledge.get(document.document_id),
            knowledge.file(document.document_id),
            knowledge.read(document.document_id, TextRange()),
            knowledge.delete(document.document_id, now=NOW),
            knowledge.fail(document.document_id, "x", now=NOW),
        ):
            with pytest.raises(DocumentNotFound):
                await refused
    kept = await owner_connection.fetchrow("SELECT deleted_at, text FROM knowledge_documents")
    assert kept is not None
    assert (kept["deleted_at"], kept["text"]) == (NOW, "The letter.")
    assert await owner_connection.fetchval("SELECT count(*) FROM knowledge_postings") == 0


async def test_a_document_deleted_while_it_was_prepared_is_not_indexed(firm: Firm, app_connection: Connection) -> None:
    document = await firm.add(app_connection, "The letter.")
    prepared = prepare_document(b"The letter.", title="Policy", media_type="text/markdown")
    async with firm.acting(app_connection, writes=True) as knowledge:
        await knowledge.delete(document.document_id, now=NOW)
        with pytest.raises(DocumentNotFound):
            await knowledge.store(document.document_id, prepared, new_id=new_id, now=NOW)


async def test_lists_are_paged_newest_first_and_filtered(firm: Firm, app_connection: Connection) -> None:
    for number in range(5):
        await firm.add(
            app_connection,
            "x",
            title=f"D{number}",
            created_at=NOW + timedelta(minutes=number),
            engagement_id=firm.engagement if number == 2 else None,
            index=number < 4,
        )
    async with firm.acting(app_connection) as knowledge:
        first = await knowledge.list(DocumentQuery(page=page_request(limit=3)))
        second = await knowledge.list(DocumentQuery(page=page_request(first.next_cursor, limit=3)))
        assert [document.title for document in first.items + second.items] == ["D4", "D3", "D2", "D1", "D0"]
        assert second.next_cursor is None
        of_mandate = await knowledge.list(DocumentQuery(engagement_id=firm.engagement))
        assert [document.title for document in of_mandate.items] == ["D2"]
        queued = await knowledge.list(DocumentQuery(status="queued"))
        assert [document.title for document in queued.items] == ["D4"]


async def test_strangers_and_other_clients_get_the_answer_for_no_document(
    firm: Firm, owner_connection: Connection, app_connection: Connection
) -> None:
    stranger = await founded(owner_connection, "borealis")
    hidden = await firm.add(app_connection, "The letter.", audience="client", engagement_id=firm.other_engagement)
    for who, role in ((stranger, Role.EMPLOYEE), (stranger, Role.CLIENT), (firm, Role.CLIENT)):
        async with who.acting(app_connection, role, writes=True) as knowledge:
            assert (await knowledge.list(DocumentQuery())).items == ()
            for refused in (
                knowledge.get(hidden.document_id),
                knowledge.file(hidden.document_id),
                knowledge.read(hidden.document_id, TextRange()),
                knowledge.delete(hidden.document_id, now=NOW),
                knowledge.get(DocumentId(new_id())),
            ):
                with pytest.raises(DocumentNotFound):
                    await refused


async def test_a_client_cannot_put_a_document_where_it_does_not_see(firm: Firm, app_connection: Connection) -> None:
    new = NewDocument(
        document_id=DocumentId(new_id()),
        title="T",
        media_type="text/plain",
        content=b"x",
        audience="firm",
        engagement_id=None,
        trust="client",
        uploaded_by=PrincipalId(firm.people[Role.CLIENT]),
        created_at=NOW,
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with firm.acting(app_connection, Role.CLIENT, writes=True) as knowledge:
            await knowledge.add(new)


async def test_documents_indexed_at_once_share_their_new_terms(
    firm: Firm, app_connection: Connection, database: Database
) -> None:
    words = [f"term{number}x" for number in range(300)]
    async with connected(database.dsn(Login.APP)) as other:
        await asyncio.gather(
            *(
                firm.add(connection, " ".join(order))
                for connection, order in ((app_connection, words), (other, words[::-1]))
            )
        )
    async with firm.acting(app_connection) as knowledge:
        found = await knowledge.search(SearchQuery(text="term150x", limit=2))
        assert len({passage.document_id for passage in found.items}) == 2


@pytest.mark.parametrize(
    ("given", "filename", "title"),
    [
        ("  Fee\nlist ", "x.pdf", "Fee list"),
        (None, "C:\\papers\\Fee list.v2.pdf", "Fee list.v2"),
        ("\x00\ud800", "a.txt", "\ufffd"),
        ("", "", "Untitled document"),
        ("x" * 999, None, "x" * 300),
    ],
)
def test_a_title_is_one_line_that_can_be_stored(given: str | None, filename: str | None, title: str) -> None:
    assert document_title(given, filename) == title


async def test_odd_words_in_titles_queries_and_filters_do_no_harm(firm: Firm, app_connection: Connection) -> None:
    odd = "let\x00ter \ud800 %_' \\"
    document = await firm.add(app_connection, "The letter.", title=odd)
    assert document.title == "letter \ufffd %_' \\"
    async with firm.acting(app_connection) as knowledge:
        found = await knowledge.search(SearchQuery(text=f"letter {odd}", filters=SearchFilters(title=odd)))
        assert [passage.title for passage in found.items] == [document.title]


PREPARED = prepare_document(b"New words.", title="Policy", media_type="text/markdown")
WRITES: dict[str, Callable[[KnowledgeService, DocumentId], Awaitable[object]]] = {
    "store": lambda knowledge, document_id: knowledge.store(document_id, PREPARED, new_id=new_id, now=NOW),
    "fail": lambda knowledge, document_id: knowledge.fail(document_id, "x", now=NOW),
    "delete": lambda knowledge, document_id: knowledge.delete(document_id, now=NOW),
}


@pytest.mark.parametrize("act", WRITES)
async def test_nothing_is_written_without_a_ticket(firm: Firm, app_connection: Connection, act: str) -> None:
    document = await firm.add(app_connection, "The letter.")
    async with firm.acting(app_connection) as knowledge:
        with pytest.raises(asyncpg.PostgresError, match="no ticket"):
            await WRITES[act](knowledge, document.document_id)
