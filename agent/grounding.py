"""Whether an answer stands on the firm's documents: its citations held to the stored text, and "not found" said.

An answer after a search of the documents, in a run that did nothing but search and read them, rests on them or on
nothing: where no citation of it survives the check, it says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agent.citations import READ, SEARCH, is_cut
from agent.events import Citation, CitationFault
from domain.kernel import Outcome, Principal

NOT_FOUND = "Not found in the documents."
UNSUPPORTED = f"{NOT_FOUND} Nothing that the search found is cited for this answer, so it rests on no document."

_READING = frozenset({SEARCH, READ, "document_list", "agent_handover"})
"""Calls after which an answer still rests on documents, or on nothing."""
_OPENS = NOT_FOUND.rstrip(".").casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """What stands in a document where a citation points; `text` is None where its text does not reach that far."""

    text: str | None
    chunk_id: str | None = None
    """The passage in which it begins, where the document has passages."""
    page: int | None = None
    section: str | None = None


class StoredTexts(Protocol):
    """The documents' text as it is stored now, as far as the principal may see it."""

    async def parts(self, principal: Principal, citations: Sequence[Citation]) -> Sequence[StoredPart | None]:
        """What stands where each citation points; None: there is no such document for this principal.

        Raises  Unavailable.
        """
        ...


def says_not_found(answer: str) -> bool:
    """Whether the answer begins with the word that the documents do not hold it, or the loop added that it rests on
    none."""
    return answer.lstrip(" \n*_#>").casefold().startswith(_OPENS) or answer.rstrip().endswith(UNSUPPORTED)


def owes_not_found(answer: str, calls: Sequence[tuple[str, Outcome]], citations: Sequence[Citation]) -> bool:
    """Whether the answer must say that nothing supports it, and does not: `calls` are those of its run."""
    done = [tool for tool, outcome in calls if outcome == "done"]
    rests_on_documents = SEARCH in done and _READING.issuperset(done)
    # Of one that could not be checked nobody knows, and "not found" would be as much of a claim.
    survives = any(citation.fault in (None, "unchecked") for citation in citations)
    return rests_on_documents and not survives and not says_not_found(answer)


def held_to(citations: Sequence[Citation], stored: Sequence[StoredPart | None]) -> tuple[Citation, ...]:
    """The citations, those marked that the stored text does not bear out; of what was read, with its place."""
    return tuple(
        citation if citation.fault is not None else replace(citation, fault=_fault(citation, part))
        for citation, part in zip(map(_placed, citations, stored), stored, strict=True)
    )


def _placed(citation: Citation, part: StoredPart | None) -> Citation:
    """A search says of its passages where they stand; what was read may run over many pages and headings."""
    if part is None or citation.chunk_id is not None:
        return citation
    return replace(citation, chunk_id=part.chunk_id, page=part.page, section=part.section)


def unchecked(citations: Sequence[Citation]) -> tuple[Citation, ...]:
    """The citations, marked as held to nothing."""
    return tuple(replace(citation, fault=citation.fault or "unchecked") for citation in citations)


def _fault(citation: Citation, part: StoredPart | None) -> CitationFault | None:
    if part is None:
        return "no_document"
    if part.text is None or not part.text:
        return "no_range"
    stands = part.text.startswith(citation.quote[:-1]) if is_cut(citation.quote) else part.text == citation.quote
    return None if stands else "other_words"
