"""Reads what citations point at, in the view of the principal whose answer they stand in."""

from collections.abc import Sequence
from uuid import UUID

from agent.events import Citation
from agent.grounding import StoredPart
from domain.kernel import Principal
from knowledge.model import DocumentId, StoredRange
from server.database.unit_of_work import PostgresTransactions


class PostgresStoredTexts:
    """Satisfies agent.grounding.StoredTexts."""

    def __init__(self, transactions: PostgresTransactions) -> None:
        self._transactions = transactions

    async def parts(self, principal: Principal, citations: Sequence[Citation]) -> list[StoredPart | None]:
        """What stands where each citation points; None: there is no such document for this principal."""
        wanted = [(_id_of(each.document_id), each.start, each.end) for each in citations]
        async with self._transactions.session(principal.organization_id, principal.principal_id) as session:
            found = await session.work.knowledge.ranges(wanted)
        return [None if each is None else _part(each) for each in found]


def _part(found: StoredRange) -> StoredPart:
    chunk_id = None if found.chunk_id is None else str(found.chunk_id)
    return StoredPart(text=found.text, chunk_id=chunk_id, page=found.page, section=found.section)


def _id_of(written: str) -> DocumentId:
    """The id; what is none names no document."""
    try:
        return DocumentId(UUID(written))
    except ValueError:
        return DocumentId(UUID(int=0))
