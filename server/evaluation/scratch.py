"""A judged set's corpus in an organization of its own, taken in through the gate; what is there is not taken in again.

A firm's own documents are never mixed with a set's: they would change what is found, and in what order.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from domain.kernel import CallId, Level, OrganizationId, Principal, PrincipalId, Role
from knowledge.evaluation.judged import CorpusDocument, JudgedSet
from knowledge.model import DocumentId
from server.database.connection import Connection
from server.database.founding import Founding, FoundingMember, found
from server.evaluation.sets import scratch_slug
from server.hub import Hub
from server.intake import Intake, IntakeFile, document_id_of, document_of
from tools.outcomes import CallRequest

_NAMESPACE = UUID("6f1d5f0e-7a38-4bd5-9a40-8f4b3d1c9e57")
_TITLE = 300

# The organization of that slug may be a firm's own.
OF_SLUG = "SELECT organization_id FROM organizations WHERE slug = $1"
STORED = """
SELECT document_id, uri, content_sha256, status FROM knowledge_documents
WHERE organization_id = $1 AND deleted_at IS NULL ORDER BY created_at, document_id
"""


class ScratchFailed(Exception):
    """The corpus could not be taken in; the words name the document and say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document that is there already."""

    document_id: DocumentId
    sha256: bytes
    ready: bool


async def found_scratch(owner: Connection, judged: JudgedSet, now: datetime) -> str:
    """The set's organization with somebody to take its documents in; its slug.

    Raises  ScratchFailed: an organization of another's making has that slug.
    """
    slug = scratch_slug(judged)
    organization_id = _id(slug, "organization")
    there: UUID | None = await owner.fetchval(OF_SLUG, slug)
    if there is not None and there != organization_id:
        raise ScratchFailed(f"there is an organization {slug!r} that no evaluation made; rename the set's folder")
    people = ((_email(slug), "person", Role.PARTNER), (f"hub@{slug}.example", "service_account", Role.SERVICE_ACCOUNT))
    members = [
        FoundingMember(
            user_id=_id(slug, email),
            kind="person" if kind == "person" else "service_account",
            email=email,
            display_name=f"Evaluation of {judged.name}"[:100],
            role=role,
            floor=Level.L0 if kind == "person" else Level.L1,
            ceiling=Level.L2,
        )
        for email, kind, role in people
    ]
    name = f"Evaluation: {judged.name}"[:100]
    await found(
        owner,
        Founding(organization_id=organization_id, slug=slug, name=name, members=members, engagements=(), tasks=()),
        now,
    )
    return slug


async def stored_in(owner: Connection, slug: str) -> dict[str, Stored]:
    """By the document's id in the corpus: what the organization holds."""
    rows = await owner.fetch(STORED, _id(slug, "organization"))
    return {
        row["uri"]: Stored(
            document_id=DocumentId(row["document_id"]), sha256=row["content_sha256"], ready=row["status"] == "ready"
        )
        for row in rows
    }


async def take_in(
    hub: Hub, judged: JudgedSet, slug: str, there: dict[str, Stored], progress: Callable[[str], None]
) -> Sequence[str]:
    """Uploads and indexes what is missing or changed, and deletes what the corpus has no more; the ids taken in.

    Raises  ScratchFailed, SetUnreadable.
    """
    intake, taken, left = Intake(hub), list[str](), dict(there)
    for document in judged.corpus():
        content = _text_of(document).encode("utf-8", "replace")
        stored = left.pop(document.id, None)
        if not content.strip():
            continue
        if stored is not None and stored.sha256 != hashlib.sha256(content).digest():
            await _delete(hub, slug, stored.document_id)
            stored = None
        if stored is None or not stored.ready:
            await _take_in(intake, slug, document, content, stored)
            taken.append(document.id)
            progress(document.id)
    for stored in left.values():
        await _delete(hub, slug, stored.document_id)
    return taken


async def _take_in(intake: Intake, slug: str, document: CorpusDocument, content: bytes, stored: Stored | None) -> None:
    principal = _uploader(slug)
    document_id = None if stored is None else stored.document_id
    if document_id is None:
        title = (" ".join(document.title.split()) or document.id)[:_TITLE]
        file = IntakeFile(content=content, title=title, file_name="document.txt", said={"uri": document.id})
        uploaded = await intake.upload(principal, file)
        if uploaded.outcome != "done":
            raise ScratchFailed(f"{document.id}: not uploaded: {uploaded.outcome} {uploaded.error}")
        document_id = document_id_of(uploaded)
    indexed = await intake.index(principal, document_id)
    if indexed is None or document_of(indexed).get("status") != "ready":
        raise ScratchFailed(f"{document.id}: not indexed: {indexed and (indexed.error or document_of(indexed))}")


async def _delete(hub: Hub, slug: str, document_id: DocumentId) -> None:
    arguments = {"document_id": str(document_id)}
    request = CallRequest(call_id=CallId(hub.new_id()), tool="document_delete", arguments=arguments)
    outcome = await hub.gate.call(request, _uploader(slug))
    if outcome.outcome != "done":
        raise ScratchFailed(f"{document_id}: not deleted: {outcome.outcome} {outcome.error}")


def _text_of(document: CorpusDocument) -> str:
    """A document without a text is its title."""
    return document.text if document.text.strip() else document.title


def _uploader(slug: str) -> Principal:
    return Principal(
        organization_id=OrganizationId(_id(slug, "organization")),
        principal_id=PrincipalId(_id(slug, _email(slug))),
        kind="person",
        mode="person",
        door="cli",
    )


def _email(slug: str) -> str:
    return f"evaluator@{slug}.example"


def _id(slug: str, of: str) -> UUID:
    return uuid5(_NAMESPACE, f"{slug}/{of}")
