"""A document on its way from queued to ready or failed, for whoever follows it from any process: numbered frames."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import orjson

from domain.kernel import Principal
from knowledge.model import Document, DocumentId
from knowledge.progress import progress_of
from knowledge.service import DocumentNotFound
from server.database.unit_of_work import PostgresTransactions
from tools.outcomes import Json
from tools.views.knowledge import document_json

LOOK_EVERY_S = 0.5
"""How often a document is looked at; the job that embeds it writes once a step."""

FrameType = Literal["document.progress", "document.ready", "document.failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFrame:
    """Where a document stood at one moment. Numbers only grow; what a slow reader missed is contained in the next."""

    sequence: int
    type: FrameType
    data: str = field(repr=False)

    @property
    def terminal(self) -> bool:
        return self.type != "document.progress"


class DocumentFeed:
    """Reads a principal's view of a document over and over, and holds no connection in between.

    How many one principal follows at once is the door's to bound.
    """

    def __init__(self, transactions: PostgresTransactions) -> None:
        self._transactions = transactions
        self._ending = asyncio.Event()

    async def look(self, principal: Principal, document_id: DocumentId) -> DocumentFrame:
        """Where the document stands now.

        Raises  DocumentNotFound: no such document that this principal may see.
        """
        async with self._transactions.session(principal.organization_id, principal.principal_id) as session:
            return frame_of(await session.work.knowledge.get(document_id))

    async def pages(
        self, principal: Principal, document_id: DocumentId, after: int
    ) -> AsyncGenerator[Sequence[DocumentFrame], None]:
        """What becomes of the document behind `after`: to its end, until it is deleted, or this process is to stop."""
        while True:
            try:
                frame = await self.look(principal, document_id)
            except DocumentNotFound:
                return
            if frame.sequence > after:
                yield (frame,)
                after = frame.sequence
            if frame.terminal or self._ending.is_set():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._ending.wait()

    def end_all(self) -> None:
        """Whoever follows a document is left with where it stands; readers come back with Last-Event-ID."""
        self._ending.set()


def frame_of(document: Document) -> DocumentFrame:
    """The frame that shows a document as it stands."""
    progress, kind = progress_of(document), _type_of(document)
    told: Json = {
        "type": kind,
        "sequence": progress.sequence,
        **document_json(document),
        "progress": progress.share,
        "message": progress.words,
    }
    return DocumentFrame(sequence=progress.sequence, type=kind, data=orjson.dumps(told).decode())


def _type_of(document: Document) -> FrameType:
    match document.status:
        case "queued" | "parsing" | "embedding":
            return "document.progress"
        case "ready":
            return "document.ready"
        case "failed":
            return "document.failed"
