"""How far a document is trusted, said anew: of all its versions at once, with what lies inside and what finds them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Protocol

from domain.kernel import DomainError, PrincipalId, Trust
from knowledge.model import DocumentId
from knowledge.parse.document import MAIL, is_of_mail
from knowledge.versions import VersionRepository


class TrustFixed(DomainError):
    """Nobody says of the document how far it is trusted, since something else does; the words say what."""

    code: ClassVar[str] = "trust_fixed"

    def __init__(self, why: str) -> None:
        super().__init__(f"document_id: {why}")


class TrustConflict(DomainError):
    """The document would be another's next version, or its double."""

    code: ClassVar[str] = "trust_conflict"

    def __init__(self) -> None:
        super().__init__(
            "trust: another document of its name or content is trusted like that; delete one of them first"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldDocument:
    """A document whose row is held until the transaction ends."""

    document_id: DocumentId
    parent_id: DocumentId | None
    """The archive or message inside of which it came."""
    title: str
    """Of what came inside of another: its path there."""
    media_type: str
    trust: Trust
    uploaded_by: PrincipalId
    of_source: bool
    """A source keeps it as it is there."""
    is_replaced: bool
    is_deleted: bool


class TrustRepository(Protocol):
    """Documents and how far they are trusted, as far as the transaction's principal may see them."""

    async def line(self, document_id: DocumentId) -> Sequence[HeldDocument]:
        """All versions of the document's line, deleted ones too, held; empty: there is no such document."""
        ...

    async def parts(self, document_ids: Collection[DocumentId]) -> Sequence[HeldDocument]:
        """What came inside of these, deleted and replaced ones too, held."""
        ...

    async def change(self, document_ids: Collection[DocumentId], trust: Trust, now: datetime) -> None:
        """Trust these like that from now on, with their passages and postings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustService:
    """Says of a document anew how far it is trusted."""

    trust: TrustRepository
    versions: VersionRepository

    async def hold(self, document_id: DocumentId) -> Sequence[HeldDocument]:
        """All versions of a document, deleted ones too, held until the transaction ends; empty: there is none.

        Whoever indexes one of them holds its row as well, and copies its trust from there.
        """
        await self.versions.hold_names(document_id)
        line = await self.trust.line(document_id)
        return line if any(each.document_id == document_id and not each.is_deleted for each in line) else ()

    async def change(self, line: Sequence[HeldDocument], trust: Trust, now: datetime) -> None:
        """Trusts all versions like that, and what came inside of them; what is trusted so already stays as it is.

        Effect  writes knowledge_documents, knowledge_chunks, knowledge_postings.
        Raises  TrustFixed, TrustConflict.
        """
        if all(each.trust == trust for each in line):
            return
        for each in line:
            _refuse_fixed(each)
        for each in line:
            is_found = not each.is_deleted and not each.is_replaced
            if is_found and await self.versions.is_taken(each.document_id, trust):
                raise TrustConflict
        changed = [each.document_id for each in line]
        changed += _following(await self.trust.parts(changed))
        await self.trust.change(changed, trust, now)


def _refuse_fixed(document: HeldDocument) -> None:
    if document.parent_id is not None:
        raise TrustFixed(f"it lies in document {document.parent_id}, and is trusted as that is, or as mail")
    if document.of_source:
        raise TrustFixed("it comes from a source, which says how far all that comes from there is trusted")
    if document.media_type in MAIL:
        raise TrustFixed("it is mail, which holds what others wrote: it stays external, whoever took it in")


def _following(parts: Sequence[HeldDocument]) -> list[DocumentId]:
    """Those that are trusted like what they came in: all but messages and what came with them."""
    messages: dict[DocumentId | None, set[str]] = {}
    for part in parts:
        if part.media_type in MAIL:
            messages.setdefault(part.parent_id, set()).add(part.title)
    return [
        part.document_id
        for part in parts
        if not is_of_mail(part.title, part.media_type, messages.get(part.parent_id, frozenset()))
    ]
