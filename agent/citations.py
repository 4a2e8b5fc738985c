"""Passages get numbers as they are found; the numbers that the answer then uses become its citations.

Where the answer quotes the passage word for word before a number, the citation points at just those words; else at the
whole passage. What stands between quotation marks directly before a number must stand in that passage, or in one of
those that are cited with it: else the citation is marked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from agent.events import Citation, CitationFault, Json
from agent.json_values import items, mapping, text, whole

SEARCH = "knowledge_search"
QUOTE_LENGTH = 400

_QUOTED = re.compile('[“"]([^“”"]{12,2000})[”"]')
"""Words between quotation marks, long enough to be found in one place only."""
_DIRECTLY_BEFORE = re.compile(
    r"""(?:“([^“”]{1,2000})”|„([^„“”]{1,2000})[“”]|«([^«»]{1,2000})»|"([^"]{1,2000})")[\s.,;:!?)*_]*\Z"""
)
"""Words between quotation marks that nothing but punctuation parts from the number."""
_LEFT_OUT = re.compile(r"…|\.\.\.|\[[^\]]{0,3}\]")
"""Where a quotation leaves words out."""
_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+")
_BEFORE = 2400
"""Characters before a number in which the words that it stands for are looked for."""
_MARKERS = re.compile(r"(?:\[\d{1,6}(?:\s*,\s*\d{1,6})*\]\s*)+")
"""Numbers that are cited together."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class _Passage:
    """A numbered passage: its text, and the citation of all of it."""

    words: str
    whole: Citation


class CitationBook:
    """The passages that a conversation's model has been given, by number.

    Numbers run on from turn to turn, so that a number means one passage wherever the model sees it.
    """

    def __init__(self) -> None:
        self._by_marker: dict[int, _Passage] = {}
        self._by_chunk: dict[str, int] = {}
        self._highest = 0

    def mark(self, tool: str, result: Json) -> Json:
        """The result with a `marker` on each passage, for the model and for readers; the recorded one has none."""
        if tool != SEARCH:
            return result
        return {**result, "items": [self._marked(passage) for passage in items(result.get("items"))]}

    def remember(self, tool: str, result: Json) -> None:
        """Take up passages that were marked in an earlier turn."""
        if tool == SEARCH:
            for passage in map(mapping, items(result.get("items"))):
                self._enter(passage, whole(passage.get("marker")))

    def recall(self, citations: Iterable[Citation], highest: int) -> None:
        """Take up what turns cited that are not told any more; `highest`: the last number that was given in them."""
        for citation in (replace(each, fault=None) for each in citations):  # what they are held to is read anew
            self._by_chunk[citation.chunk_id] = citation.marker
            self._by_marker[citation.marker] = _Passage(citation.quote, citation)
        self._highest = max(self._highest, highest, *self._by_marker, 0)

    def cited(self, words: str) -> tuple[Citation, ...]:
        """The passages that `words` cite as [n], in order of appearance, each once; unknown numbers stay mere text."""
        citations: dict[int, Citation] = {}
        behind = 0
        for found in _MARKERS.finditer(words):
            said = words[max(behind, found.start() - _BEFORE) : found.start()]
            for citation in self._cited_together(map(int, _NUMBER.findall(found[0])), said):
                before = citations.setdefault(citation.marker, citation)
                if before.fault is None and citation.fault is not None:
                    citations[citation.marker] = citation
            behind = found.end()
        return tuple(citations.values())

    def _cited_together(self, numbers: Iterable[int], said: str) -> Iterator[Citation]:
        known = [self._by_marker[number] for number in dict.fromkeys(numbers) if number in self._by_marker]
        quoted = _DIRECTLY_BEFORE.search(said)
        words = "" if quoted is None else next(group for group in quoted.groups() if group is not None)
        false = bool(words) and not any(_holds(passage.words, words) for passage in known)
        for passage in known:
            yield replace(passage.whole, fault="other_words") if false else _pinpoint(passage, said)

    def _marked(self, passage: object) -> object:
        known = mapping(passage)
        # One that another process has marked keeps its number.
        marker = self._enter(known, whole(known.get("marker")))
        return passage if marker is None else {"marker": marker, **known}

    def _enter(self, passage: Json, given: int | None) -> int | None:
        """The passage's number, a new one where it has none; None for what is no passage."""
        chunk_id = text(passage.get("chunk_id"))
        if not chunk_id or chunk_id in self._by_chunk:
            return self._by_chunk.get(chunk_id)
        marker = given or self._highest + 1
        self._highest = max(self._highest, marker)
        self._by_chunk[chunk_id] = marker
        self._by_marker[marker] = _Passage(text(passage.get("text")), _citation(marker, passage))
        return marker


def _citation(marker: int, passage: Json) -> Citation:
    return Citation(
        marker=marker,
        document_id=text(passage.get("document_id")),
        chunk_id=text(passage.get("chunk_id")),
        title=text(passage.get("title")),
        uri=text(passage.get("uri")),
        start=whole(passage.get("start")) or 0,
        end=whole(passage.get("end")) or 0,
        quote=_quote(text(passage.get("text"))),
        page=whole(passage.get("page")),
        section=text(passage.get("section")) or None,
    )


def _pinpoint(passage: _Passage, said: str) -> Citation:
    """The citation of the words that `said` quotes from the passage, the last ones first; else of all of it."""
    for quoted in reversed(_QUOTED.findall(said)):
        # However the answer broke its lines, the words are those of the passage.
        found = re.search(r"\s+".join(map(re.escape, quoted.split())), passage.words)
        if found is not None:
            start, end = passage.whole.start + found.start(), passage.whole.start + found.end()
            return replace(passage.whole, start=start, end=end, quote=_quote(found[0]))
    return passage.whole


def _holds(passage: str, quoted: str) -> bool:
    """Whether the quoted words stand in the passage in that order; layout, punctuation and case do not matter."""
    said = f" {_words(passage)} "
    at = 0
    for part in map(_words, _LEFT_OUT.split(quoted)):
        if not part:
            continue
        found = said.find(f" {part} ", at)
        if found < 0:
            return False
        at = found + len(part) + 1
    return True


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _quote(words: str) -> str:
    return words if len(words) <= QUOTE_LENGTH else words[: QUOTE_LENGTH - 1] + "…"


FAULTS: Mapping[CitationFault, str] = {
    "other_words": "not confirmed: these words do not stand there",
    "no_document": "not confirmed: the document is not there any more",
    "no_range": "not confirmed: the document does not reach that far",
    "unchecked": "not confirmed: it could not be checked",
}


def fault_words(citation: Json) -> str | None:
    """What a reader is told of a citation that is not good; None: it is."""
    fault = citation.get("fault")
    return None if fault is None else next((words for name, words in FAULTS.items() if name == fault), "not confirmed")
