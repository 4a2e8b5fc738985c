"""The demo firm's questions find the passage that answers them, asked as the people who would ask."""

from __future__ import annotations

from typing import TypedDict, cast

import pytest
import yaml

from domain.kernel import Role, new_id
from domain.resources import resource_folder
from knowledge.model import DocumentId, NewDocument, Passage, SearchQuery
from knowledge.parse.media import media_type_of
from knowledge.prepare import prepare_document
from server.database.connection import Connection
from tests.support.knowledge import NOW, Firm, founded


class _Question(TypedDict):
    question: str
    organization: str
    document: str
    answer: str


class _Document(TypedDict):
    file: str
    folder: str
    title: str


class _Organization(TypedDict):
    slug: str
    documents: list[_Document]


def questions_of(slug: str) -> list[_Question]:
    listed = cast("list[_Question]", _yaml("questions.yaml")["questions"])
    return [question for question in listed if question["organization"] == slug]


def documents_of(slug: str) -> list[_Document]:
    organizations = cast("list[_Organization]", _yaml("firm.yaml")["organizations"])
    return next(organization["documents"] for organization in organizations if organization["slug"] == slug)


def _yaml(name: str) -> dict[str, object]:
    return cast("dict[str, object]", yaml.safe_load((resource_folder("demo") / name).read_text("utf-8")))


def content_of(slug: str, uri: str) -> bytes:
    return (resource_folder("demo") / "documents" / slug / uri).read_bytes()


def on_one_line(text: str) -> str:
    return " ".join(text.split())


async def indexed(connection: Connection, firm: Firm, content: bytes, uri: str, title: str) -> None:
    new = NewDocument(
        document_id=DocumentId(new_id()),
        title=title,
        media_type=media_type_of(content, uri),
        content=content,
        audience="firm",
        engagement_id=None,
        trust="internal",
        uploaded_by=firm.people[Role.EMPLOYEE],
        created_at=NOW,
        uri=uri,
    )
    prepared = prepare_document(content, title=title, media_type=new.media_type)
    async with firm.acting(connection, writes=True) as knowledge:
        await knowledge.add(new)
        await knowledge.store(new.document_id, prepared, new_id=new_id, now=NOW)


def answers(passage: Passage, question: _Question) -> bool:
    beginning = on_one_line(question["answer"])[:60]
    return passage.uri == question["document"] and beginning in on_one_line(passage.text)


@pytest.mark.parametrize("slug", ["acme-audit", "borealis-tax"])
async def test_each_question_finds_its_answer_among_the_first_two(
    owner_connection: Connection, app_connection: Connection, slug: str
) -> None:
    firm = await founded(owner_connection, slug)
    for document in documents_of(slug):
        uri = f"{document['folder']}/{document['file']}"
        await indexed(app_connection, firm, content_of(slug, uri), uri, document["title"])
    async with firm.acting(app_connection) as knowledge:
        for question in questions_of(slug):
            found = await knowledge.search(SearchQuery(text=question["question"], limit=2))
            assert any(answers(passage, question) for passage in found.items), question["question"]
