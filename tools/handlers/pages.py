"""A page of the web taken into the documents: fetched with no transaction held, kept like an upload."""

import html
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from domain.kernel import Audience, EngagementId, Role, Trust
from domain.taint import less_trusted
from knowledge.fetching.model import Page
from knowledge.keeping import Keep, in_the_transaction
from knowledge.model import DocumentId, NewDocument
from knowledge.parse.document import MediaType
from knowledge.parse.media import media_type_of
from knowledge.service import document_title
from tools.handlers.arguments import Arguments
from tools.handlers.documents import EngagementNeeded
from tools.outcomes import Json
from tools.views.knowledge import document_json
from tools.work import CallContext, Handler, Job, PrepareContext

Fetch = Callable[[str], Awaitable[Page]]
"""Fetches a page of the public web. Raises  a DomainError that says why not."""

_TITLE = re.compile(rb"<title[^<>]{0,200}>([^<]{1,1000})</title>", re.IGNORECASE)
_TITLE_WITHIN = 65_536


class DocumentFromUrl(Arguments):
    url: str
    title: str | None = None
    audience: Audience = "firm"
    engagement_id: UUID | None = None
    trust: Trust = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A page, and what it turned out to be."""

    page: Page
    media_type: MediaType


def page_handlers(fetch: Fetch, keep: Keep = in_the_transaction) -> Mapping[str, Handler[Any]]:
    """The tool that takes a page in. `keep`: where files are kept, before a document has them."""

    async def fetch_page(arguments: DocumentFromUrl, context: PrepareContext) -> Fetched:
        """Raises  EngagementNeeded, Unreadable, and what `fetch` raises."""
        if arguments.audience == "client" and arguments.engagement_id is None:
            raise EngagementNeeded
        page = await fetch(arguments.url)
        media_type = media_type_of(page.content, page.file_name, page.declared_type)
        await keep(context.principal.organization_id, [page.content])
        return Fetched(page=page, media_type=media_type)

    return {"document_from_url": Handler(arguments=DocumentFromUrl, work=document_from_url, prepare=fetch_page)}


async def document_from_url(arguments: DocumentFromUrl, context: CallContext) -> Json:
    """Effect  writes knowledge_documents, knowledge_files; the worker indexes it after the commit.

    Raises  NotYourVersion.
    """
    fetched = cast(Fetched, context.prepared)
    engagement_id = arguments.engagement_id
    new = NewDocument(
        document_id=DocumentId(context.new_id()),
        title=arguments.title or title_of(fetched.page, fetched.media_type),
        media_type=fetched.media_type,
        content=fetched.page.content,
        audience=arguments.audience,
        engagement_id=None if engagement_id is None else EngagementId(engagement_id),
        trust=less_trusted(arguments.trust, context.trust),
        uploaded_by=context.principal.principal_id,
        created_at=context.now,
        uri=fetched.page.url,
    )
    document = await context.work.knowledge.add(new, may_replace=context.role.rank >= Role.MANAGER.rank)
    if document.document_id != new.document_id:
        return {"document": document_json(document)}  # the page says what it said
    organization_id = context.principal.organization_id
    context.jobs.append(Job(kind="document_index", organization_id=organization_id, subject_id=document.document_id))
    return {"document": document_json(document)}


def title_of(page: Page, media_type: MediaType) -> str:
    """What a page calls itself; else the end of its address, or its site."""
    found = _TITLE.search(page.content[:_TITLE_WITHIN]) if media_type == "text/html" else None
    said = None if found is None else html.unescape(found[1].decode("utf-8", "replace"))
    return document_title(said, page.file_name or urlsplit(page.url).hostname)
