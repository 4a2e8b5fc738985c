"""What a search of one's conversations looks for, and what of a message it shows."""

import re
from collections.abc import Sequence

MOST_TERMS = 8
LONGEST_TERM = 100
AROUND = 80
"""Characters before and behind the first word that was found."""
_PARTS = re.compile(r"[^\W_]+")
_UNPARTED = re.compile(r"[\w.@/+~-]+")
"""Of what an address, a number or the name of a file may be made."""


def terms_of(words: str) -> list[str]:
    """What stands between blanks, as far as it has letters or digits: words, dates, numbers, names of files."""
    return [term[:LONGEST_TERM] for term in words.split() if _PARTS.search(term)][:MOST_TERMS]


def query_of(term: str) -> str:
    """A term from which a message may go on, for PostgreSQL's to_tsquery, which parts it as it parted the messages.

    2024-01-31 is no single word there, and lena@acme.example is one.
    """
    return f"'{_quoted(term)}':*"


def words_of(term: str) -> str:
    """A term as a query that is parted no more: what is typed to its half, lena@acm, would be parted as no whole is."""
    return " & ".join(f"'{_quoted(word)}':*" for word in _UNPARTED.findall(term.lower()))


def _quoted(words: str) -> str:
    return words.replace("\\", "\\\\").replace("'", "''")


def snippet_of(text: str, terms: Sequence[str]) -> str:
    """The text around the first place where a word begins with the first word of one of the terms, in one line."""
    begins = [found.group() for found in map(_PARTS.search, terms) if found is not None]
    found = re.search(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, begins))})", text, re.IGNORECASE)
    at = 0 if found is None else found.start()
    first, last = max(0, at - AROUND), min(len(text), at + AROUND)
    words = " ".join(text[first:last].split())
    return f"{'…' if first else ''}{words}{'…' if last < len(text) else ''}"
