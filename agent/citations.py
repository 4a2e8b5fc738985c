"""Passages get numbers as they are found or read; the numbers that the answer then uses become its citations.

Where the answer quotes the passage word for word before a number, the citation points at just those words; else at the
whole passage. What stands between quotation marks directly before a number must stand in what was given under that
number, or under one of those that are cited with it: else the citation is marked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.events import Citation, CitationFault, Json
from agent.json_values import items, mapping, text, whole

SEARCH = "knowledge_search"
READ = "knowledge_read"
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
class _Stretch:
    """Words of a document as they were given, and where in it they begin."""

    start: int
    words: str

    @property
    def end(self) -> int:
        return self.start + len(self.words)


@dataclass(frozen=True, slots=True)
class _Passage:
    """What was given under a number: the citation of all of it, and the stretches of its document."""

    whole: Citation
    stretches: tuple[_Stretch, ...]

    def with_more(self, stretch: _Stretch, found: Citation) -> "_Passage":
        """Held to these words too; a search may find the same chunk with more around it than the one before."""
        stretches = _joined(self.stretches, stretch)
        widest = stretches[-1]
        if widest.start <= self.whole.start and self.whole.end <= widest.end:
            return _Passage(replace(found, start=widest.start, end=widest.end, quote=_quote(widest.words)), stretches)
        return _Passage(self.whole, stretches)


class CitationBook:
    """The passages that a conversation's model has been given, by number.

    Numbers run on from turn to turn, so that a number means one passage wherever the model sees it.
    """

    def __init__(self) -> None:
        self._by_marker: dict[int, _Passage] = {}
        self._by_place: dict[str, int] = {}
        self._highest = 0

    def mark(self, tool: str, result: Json) -> Json:
        """The result with a `marker` on each passage, for the model and for readers; the recorded one has none."""
        if tool == READ:
            return mapping(self._marked(result))
        if tool != SEARCH:
            return result
        return {**result, "items": [self._marked(passage) for passage in items(result.get("items"))]}

    def remember(self, tool: str, result: Json) -> None:
        """Take up passages that were marked in an earlier turn."""
        for passage in passages_told(tool, result):
            marker = whole(passage.get("marker"))
            if marker is not None:  # of what was read before reads were numbered
                self._enter(passage, marker)

    def recall(self, citations: Iterable[Citation], highest: int) -> None:
        """Take up what turns cited that are not told any more; `highest`: the last number that was given in them."""
        for citation in (replace(each, fault=None) for each in citations):  # what they are held to is read anew
            self._by_place[citation.chunk_id or _read_from(citation.document_id, citation.start)] = citation.marker
            words = citation.quote[:-1] if is_cut(citation.quote) else citation.quote
            self._by_marker[citation.marker] = _Passage(citation, (_Stretch(citation.start, words),))
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
        false = bool(words) and not any(
            _holds(stretch.words, words) for passage in known for stretch in passage.stretches
        )
        for passage in known:
            yield replace(passage.whole, fault="other_words") if false else _pinpoint(passage, said)

    def _marked(self, passage: object) -> object:
        known = mapping(passage)
        # One that another process has marked keeps its number.
        marker = self._enter(known, whole(known.get("marker")))
        return passage if marker is None else {"marker": marker, **known}

    def _enter(self, passage: Json, given: int | None) -> int | None:
        """The passage's number, a new one where it has none; None for what is no passage."""
        place = _place(passage)
        if not place:
            return None
        marker = self._by_place.setdefault(place, given or self._highest + 1)
        self._highest = max(self._highest, marker)
        found, known = _citation(marker, passage), self._by_marker.get(marker)
        stretch = _Stretch(found.start, text(passage.get("text")))
        # Numbers are of this book or of one that this conversation had before: of one document each.
        if known is None or known.whole.document_id != found.document_id:
            known = _Passage(found, (stretch,))
        self._by_marker[marker] = known.with_more(stretch, found)
        return marker


def passages_told(tool: str, result: Json) -> Sequence[Json]:
    """The passages in a tool's result: those that a search found, or the one that was read."""
    if tool == READ:
        return (result,)
    return [mapping(each) for each in items(result.get("items"))] if tool == SEARCH else ()


def is_cut(quote: str) -> bool:
    """Whether a citation's quote is the beginning only of what it points at."""
    return len(quote) == QUOTE_LENGTH and quote.endswith("…")


def _place(passage: Json) -> str:
    """What a passage is known again by; empty for what is no passage."""
    if chunk_id := text(passage.get("chunk_id")):
        return chunk_id
    document_id, start = text(passage.get("document_id")), whole(passage.get("start"))
    return "" if not document_id or start is None else _read_from(document_id, start)


def _read_from(document_id: str, start: int) -> str:
    return f"{document_id}:{start}"


def _joined(known: Iterable[_Stretch], more: _Stretch) -> tuple[_Stretch, ...]:
    """The stretches with one more, last; those that touch it and say the same where they do are one with it."""
    apart: list[_Stretch] = []
    for each in known:
        first, second = (each, more) if each.start <= more.start else (more, each)
        at = second.start - first.start
        shared = first.words[at : at + len(second.words)]
        if first.end < second.start or not second.words.startswith(shared):
            apart.append(each)
        else:
            words = first.words[:at] + second.words + first.words[at + len(second.words) :]
            more = _Stretch(first.start, words)
    return (*apart, more)


def _citation(marker: int, passage: Json) -> Citation:
    return Citation(
        marker=marker,
        document_id=text(passage.get("document_id")),
        chunk_id=text(passage.get("chunk_id")) or None,
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
        words = re.compile(r"\s+".join(map(re.escape, quoted.split())))
        for stretch in passage.stretches:
            if found := words.search(stretch.words):
                start, end = stretch.start + found.start(), stretch.start + found.end()
                pinpoint = replace(passage.whole, start=start, end=end, quote=_quote(found[0]))
                # What was read may run over many pages: the check says on which of them the words stand.
                return pinpoint if pinpoint.chunk_id else replace(pinpoint, page=None)
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
