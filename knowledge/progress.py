"""How far a document has come on its way to being found: a share, a sentence, and a number that only grows."""

from dataclasses import dataclass
from typing import Final

from knowledge.model import Document

READ: Final = 0.3
"""The share that reading and indexing a file are counted as; the rest is what embeds its passages."""
STARTED: Final = 0.1
A_VERSION: Final = 10_000
"""Numbers that one version of a document has room for."""
_PERMILLE: Final = 1_000
_LAST: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The same for the same state, whoever asks and wherever: it is made of nothing but the document's rows."""

    sequence: int
    """Grows with the share, and with each version."""
    share: float
    """0 to 1."""
    words: str
    is_over: bool


def progress_of(document: Document) -> Progress:
    """Where a document stands."""
    place, share, words = _stand(document)
    return Progress(sequence=document.version * A_VERSION + place, share=share, words=words, is_over=place == _LAST)


def _stand(document: Document) -> tuple[int, float, str]:
    match document.status:
        case "queued":
            return 1, 0.0, "It waits to be read."
        case "parsing":
            return 2, STARTED, "It is being read."
        case "embedding":
            done, count = min(document.embedded_count, document.chunk_count), document.chunk_count
            share = READ + (1 - READ) * (done / count if count else 0)
            words = f"{done} of its {count} passages can be found by their meaning."
            return 10 + int(share * _PERMILLE), round(share, 3), words
        case "ready":
            return _LAST, 1.0, document.failure or "It is ready."
        case "failed":
            return _LAST, 1.0, document.failure or "It could not be read."
