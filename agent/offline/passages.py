"""Finding, in the passages of a search, the sentences that say most about a question."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agent.json_values import items, mapping, text, whole
from agent.offline.sentences import blocks_of, terms_of

_POINTS_BACK = re.compile(
    r"^(?:[A-Z]{1,4}-?[\d.]+ )?(?:It|They|This|These|That|Those|Such|He|She|Both|Otherwise|Then)\b"
)
_LONGEST_SENTENCE = 600
_LONGEST_QUOTE = 450
_MOST_QUOTES = 3
_SAID = 0.5
"""What a term counts for again once a chosen sentence holds it."""
_WORTH_MORE = 0.37
"""The share of the question's weight that a further quote must add."""
_CLEAR = 0.5
"""The share of the question's weight that the quoted sentences must hold for them to count as an answer."""


def _either(*forms: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(forms)})\b", re.IGNORECASE)


_KINDS_OF_ANSWER = (
    (
        _either("when", "how (?:long|often|soon)", "deadline", "due", "how many (?:days|months|years)"),
        _either(
            r"\d+", "every", "within", "before", "after", "until", "annual\\w*", "(?:day|week|month|quarter|year)\\w*"
        ),
    ),
    (_either("how (?:much|many)", "limit", "amount", "total", "materiality", "payable"), _either(r"\d+")),
    (
        _either("who(?:se|m)?"),
        _either("partner", "manager", "director", "reviewer", "owner", "client", "employee", "auditor", "committee"),
    ),
    (_either("why"), _either("because", "since", "so that", "therefore", "reason", "due to", "as")),
)
"""What a question asks for, and what a sentence that answers it is likely to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One hit of the search; `marker` is the number by which an answer cites it."""

    marker: int
    title: str
    text: str
    section: str = ""
    page: int | None = None

    @property
    def place(self) -> str:
        """Where it stands, for people: title, then section or page."""
        # A document's first heading is mostly its title, which is said already.
        section = " > ".join(heading for heading in self.section.split(" > ") if heading != self.title)
        page = f"page {self.page}" if self.page is not None else ""
        return ", ".join(part for part in (self.title, section, page) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a passage says to the question, word for word but for its marks of layout."""

    passage: Passage
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """The quotes, best first; `clear` says whether they hold enough of the question to be called an answer."""

    quotes: tuple[Quote, ...]
    clear: bool


def passages_of(result: dict[str, object]) -> list[Passage]:
    """The passages of a `knowledge_search` result; those without text are left out."""
    found = (mapping(item) for item in items(result.get("items")))
    return [_passage(item, position) for position, item in enumerate(found, 1) if text(item.get("text")).strip()]


def _passage(item: dict[str, object], position: int) -> Passage:
    return Passage(
        marker=whole(item.get("marker")) or position,
        title=text(item.get("title")) or "untitled",
        text=text(item.get("text")),
        section=text(item.get("section")),
        page=whole(item.get("page")),
    )


@dataclass(frozen=True)
class _Sentence:
    passage: Passage
    rank: int
    position: int
    block: int
    text: str
    context: frozenset[str]
    """The terms of what stands around it: title, section, heading, the sentence before."""

    @cached_property
    def terms(self) -> frozenset[str]:
        return frozenset(terms_of(self.text))


def extract(question: str, passages: Sequence[Passage]) -> Extract:
    """The sentences of `passages` (best first) that hold most of what `question` asks for."""
    sentences = [one for rank, passage in enumerate(passages) for one in _sentences(passage, rank)]
    asked = _Question(question, sentences)
    chosen: list[_Sentence] = []
    runs: list[list[_Sentence]] = []
    while len(chosen) < _MOST_QUOTES and (best := asked.best(chosen)) is not None:
        chosen.append(best)
        runs.append(_with_neighbours(best, sentences))
        asked.held |= {term for one in runs[-1] for term in one.terms}
    return Extract(quotes=tuple(_quote(run) for run in runs), clear=asked.answered_by(runs))


def _sentences(passage: Passage, rank: int) -> list[_Sentence]:
    around = frozenset(terms_of(f"{passage.title} {passage.section}"))
    before: frozenset[str] = frozenset()
    found: list[_Sentence] = []
    for block, sentences in enumerate(blocks_of(passage.text)):
        for sentence in sentences:
            one = _Sentence(passage, rank, len(found), block, sentence.strip()[:_LONGEST_SENTENCE], around | before)
            found.append(one)
            before = one.terms
    return found


class _Question:
    """What is asked for, and what of it the chosen quotes hold by now."""

    def __init__(self, words: str, sentences: Sequence[_Sentence]) -> None:
        self._sentences = sentences
        self._fits = [answers for asks, answers in _KINDS_OF_ANSWER if asks.search(words)]
        asked = frozenset(terms_of(words))
        seen = Counter(term for sentence in sentences for term in sentence.terms & asked)
        # The rarer a term is among the sentences, the more it says; one that is nowhere, the most.
        self._weights = {term: math.log(1 + len(sentences) / (seen[term] or 0.5)) for term in asked}
        self._whole = sum(self._weights.values())
        self.held: set[str] = set()

    def best(self, chosen: Sequence[_Sentence]) -> _Sentence | None:
        """The sentence that adds most to what is chosen; None when none adds enough to be worth reading."""
        scored = [
            (self._score(one, chosen), -one.rank, -one.position, one)
            for one in self._sentences
            if one.terms & self._weights.keys() and not _beside(one, chosen)
        ]
        if not scored:
            return None
        score, _, _, best = max(scored, key=lambda entry: entry[:3])
        return best if not chosen or score >= _WORTH_MORE * self._whole else None

    def answered_by(self, runs: Sequence[Sequence[_Sentence]]) -> bool:
        """Whether the quotes, with what stands around them, hold enough of the question to be called an answer."""
        around = {term for run in runs for one in run for term in one.terms | one.context}
        held = sum(weight for term, weight in self._weights.items() if term in around)
        return bool(runs) and held >= _CLEAR * self._whole

    def _score(self, one: _Sentence, chosen: Sequence[_Sentence]) -> float:
        own = sum(self._worth(term) for term in self._weights if term in one.terms)
        near = sum(self._weights.get(term, 0.0) for term in one.context - one.terms - self.held)
        fitting = sum(1 for answers in self._fits if answers.search(one.text))
        score = (own + 0.4 * near) * (1 + 0.15 * fitting) / (1 + 0.12 * one.rank)
        if one.text.count("|") > 1:
            score *= 0.6
        elif _is_heading(one):
            score *= 0.4
        return score * 1.2 if any(one.passage == other.passage for other in chosen) else score

    def _worth(self, term: str) -> float:
        return self._weights[term] * (_SAID if term in self.held else 1.0)


def _beside(one: _Sentence, chosen: Sequence[_Sentence]) -> bool:
    """True where a chosen sentence says the same, or stands in the same paragraph, which is quoted whole."""
    return any(one.text == other.text or (one.rank, one.block) == (other.rank, other.block) for other in chosen)


def _is_heading(one: _Sentence) -> bool:
    """Headings and labels repeat the question's words but say nothing of their own."""
    return (
        len(one.text) < 90 and not one.text.rstrip().endswith((".", "!", ":", "|", ";")) and len(one.text.split()) < 14
    )


def _with_neighbours(one: _Sentence, sentences: Sequence[_Sentence]) -> list[_Sentence]:
    """The sentence with what surrounds it in its paragraph, as far as a quote may be long.

    A paragraph is what its writer meant to be read together: "It is signed by ..." says little alone.
    """
    block = [other for other in sentences if (other.rank, other.block) == (one.rank, one.block)]
    after = [other for other in block if other.position > one.position]
    before = [other for other in reversed(block) if other.position < one.position]
    run, room = [one], _LONGEST_QUOTE - len(one.text)
    for neighbours in (before, after) if _POINTS_BACK.match(one.text) else (after, before):
        for other in neighbours:
            room -= len(other.text)
            if room < 0:
                break
            run.append(other)
    return sorted(run, key=lambda other: other.position)


def _quote(run: Sequence[_Sentence]) -> Quote:
    said = re.sub(r"\*\*|__|`", "", " ".join(one.text for one in run))
    said = said.strip("| ").replace(" | ", " · ") if "|" in said else said
    # A bracketed number in a document would be read as one of our citation markers.
    return Quote(passage=run[0].passage, text=re.sub(r"\[(\d+(?:\s*,\s*\d+)*)\]", r"(\1)", said))
