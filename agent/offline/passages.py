"""Finding, in the passages of a search, the sentences that say most about a question."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agent.json_values import items, mapping, text, whole
from agent.offline.questions import KindOfAnswer, asked_terms, kinds_asked
from agent.offline.sentences import blocks_of, terms_of

_POINTS_BACK = re.compile(
    r"^(?:[A-Z]{1,4}-?[\d.]+ )?(?:It|They|This|These|That|Those|Such|He|She|Both|Otherwise|Then)\b"
)
_COLUMN = re.compile(r"\S {2,}(?=\S)")
_COMPOUND = re.compile(r"(?<=[a-z])-(?=[a-z])")
_CLAUSE = re.compile(r"(?:[A-Z]{1,4}-?)?[\d.]+")
_LONGEST_SENTENCE = 600
_LONGEST_QUOTE = 450
_MOST_QUOTES = 3
_SAID = 0.5
"""What a term counts for again once a chosen sentence holds it."""
_WORTH_MORE = 0.45
"""The share of the question's weight that a further quote must add."""
_CLEAR = 0.6
"""The share of the question's weight that the quotes and their headings must hold to count as an answer."""
_OF_ITS_OWN = 0.45
"""The share that the first quote must hold without its headings."""
_SAME_MEANING = 0.9
"""What another word for a term counts for."""
_SUBJECT_WORDS = 6
"""A sentence's first words mostly tell what it is about."""
_DENIES = re.compile(r"\b(?:(?:do|does|did) not|neither|no further)\b", re.IGNORECASE)
"""Who does not do something, and when, is seldom what was asked."""
_LONG = 35
"""Words; a sentence of more, or a table that was taken for one, holds many terms by chance."""
_FRONT_MATTER = re.compile(
    r"\b(?:Owner|Version|In force from|Applies to|Replaces|Standards|Prepared by|Reviewed by|Field Entry)\b[: ]"
)
_FRONT_MATTER_ROW = re.compile(
    r"^\|? ?(?:Owner|Version|In force from|Applies to|Replaces|Standards|Prepared by|Reviewed by|Client|Field)\b ?[:|]"
)
_ASKS_FOR_FRONT_MATTER = re.compile(r"\b(?:own(?:s|er)|version|in force|applies|prepared|reviewed by)\b", re.IGNORECASE)


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
    paragraph: str

    @cached_property
    def terms(self) -> frozenset[str]:
        # A compound is found by its parts too: who asks for "sign off" means the sign-off.
        return frozenset((*terms_of(self.text), *terms_of(_COMPOUND.sub(" ", self.text))))

    @cached_property
    def subject(self) -> frozenset[str]:
        """The terms of its first words, a clause's number aside."""
        words = [word for word in self.text.split() if not _CLAUSE.fullmatch(word)]
        return frozenset(terms_of(" ".join(words[:_SUBJECT_WORDS])))


def extract(question: str, passages: Sequence[Passage]) -> Extract:
    """The sentences of `passages` (best first) that hold most of what `question` asks for."""
    sentences = [one for rank, passage in enumerate(passages) for one in _sentences(passage, rank)]
    asked = _Question(question, sentences)
    chosen: list[_Sentence] = []
    runs: list[list[_Sentence]] = []
    while len(chosen) < _MOST_QUOTES and (best := asked.best(chosen)) is not None:
        chosen.append(best)
        runs.append(_with_neighbours(best, sentences))
        asked.hold(runs[-1])
    return Extract(quotes=tuple(_quote(run) for run in runs), clear=asked.answered_by(runs))


def _sentences(passage: Passage, rank: int) -> list[_Sentence]:
    around = frozenset(terms_of(f"{passage.title} {passage.section}"))
    before: frozenset[str] = frozenset()
    found: list[_Sentence] = []
    for block, sentences in enumerate(blocks_of(passage.text)):
        for sentence in sentences:
            said, paragraph = _cut(sentence.strip()), " ".join(sentences)[:_LONGEST_SENTENCE]
            one = _Sentence(passage, rank, len(found), block, said, around | before, paragraph)
            found.append(one)
            before = one.terms
    return found


def _cut(sentence: str) -> str:
    """As much of it as is quoted at most, cut between two words."""
    return sentence if len(sentence) <= _LONGEST_SENTENCE else sentence[:_LONGEST_SENTENCE].rsplit(maxsplit=1)[0]


class _Question:
    """What is asked for, and what of it the chosen quotes hold by now."""

    def __init__(self, words: str, sentences: Sequence[_Sentence]) -> None:
        self._sentences = sentences
        self._kinds = kinds_asked(words)
        self._front_matter = _ASKS_FOR_FRONT_MATTER.search(words) is not None
        self._denial = _DENIES.search(words) is not None
        self._asked = asked_terms(words)
        seen = {term: sum(1 for one in sentences if self._says(term, one.terms)) for term in self._asked}
        # The rarer a term is among the sentences, the more it says; one that is nowhere, as much as the rarest.
        self._weights = {term: math.log(1 + len(sentences) / max(seen[term], 1)) for term in self._asked}
        self._whole = sum(self._weights.values())
        self._held: set[str] = set()

    def hold(self, run: Sequence[_Sentence]) -> None:
        """Notes what a quote says, for the next to say something else."""
        terms = frozenset(term for one in run for term in one.terms)
        self._held |= {term for term in self._asked if self._says(term, terms)}

    def best(self, chosen: Sequence[_Sentence]) -> _Sentence | None:
        """The sentence that adds most to what is chosen; None when none adds enough to be worth reading."""
        scored = [
            (self._score(one, chosen), -one.rank, -one.position, one)
            for one in self._sentences
            if self._share(one.terms) and not _beside(one, chosen)
        ]
        if not scored:
            return None
        score, _, _, best = max(scored, key=lambda entry: entry[:3])
        return best if not chosen or score >= _WORTH_MORE * self._whole else None

    def answered_by(self, runs: Sequence[Sequence[_Sentence]]) -> bool:
        """Whether the quotes say enough of what is asked, and what they say is of the kind that is asked for."""
        if not runs:
            return False
        own = frozenset(term for one in runs[0] for term in one.terms)
        around = frozenset(term for run in runs for one in run for term in one.terms | one.context)
        said = " ".join(one.text for one in runs[0])
        fits = all(kind.answers.search(said) for kind in self._kinds)
        return fits and self._share(own) >= _OF_ITS_OWN and self._share(around) >= _CLEAR

    def _says(self, term: str, terms: frozenset[str]) -> float:
        """How well `terms` say `term`: 1 by the word itself, less by another for it, else 0."""
        return 1.0 if term in terms else _SAME_MEANING if self._asked[term] & terms else 0.0

    def _share(self, terms: frozenset[str]) -> float:
        held = sum(weight * self._says(term, terms) for term, weight in self._weights.items())
        return held / self._whole if self._whole else 0.0

    def _score(self, one: _Sentence, chosen: Sequence[_Sentence]) -> float:
        score = sum(self._worth(term, one) for term in self._weights) * self._fit(one) / (1 + 0.12 * one.rank)
        if _is_front_matter(one):
            score *= 1.5 if self._front_matter else 0.2
        elif _is_row(one):
            score *= 0.9 if self._kinds and all(kind.answers.search(one.text) for kind in self._kinds) else 0.6
        elif _is_heading(one):
            score *= 0.4
        if not self._denial and _DENIES.search(one.text):
            score *= 0.8
        score /= 1 + 0.012 * max(0, len(one.text.split()) - _LONG)
        return score * 1.2 if any(one.passage == other.passage for other in chosen) else score

    def _worth(self, term: str, one: _Sentence) -> float:
        """What the sentence says of `term`: most where it begins with it, least where only its surroundings do."""
        if own := self._says(term, one.terms):
            again = _SAID if term in self._held else 1.0
            return self._weights[term] * own * again * (1.3 if self._says(term, one.subject) else 1.0)
        return 0.0 if term in self._held else 0.4 * self._weights[term] * self._says(term, one.context)

    def _fit(self, one: _Sentence) -> float:
        """How far the sentence, or else its paragraph, is of the kinds of answer that are asked for."""
        fits = [_fit_to(kind, one) for kind in self._kinds]
        return sum(fits) / len(fits) if fits else 1.0


def _fit_to(kind: KindOfAnswer, one: _Sentence) -> float:
    if kind.answers.search(one.text):
        return 1.3 if kind.plainly is not None and kind.plainly.search(one.text) else 1.15
    return 0.9 if kind.answers.search(one.paragraph) else 0.4


def _is_front_matter(one: _Sentence) -> bool:
    """What a document says about itself before it begins."""
    return _FRONT_MATTER_ROW.match(one.text) is not None or len(_FRONT_MATTER.findall(one.text)) > 1


def _beside(one: _Sentence, chosen: Sequence[_Sentence]) -> bool:
    """True where a chosen sentence says the same, or stands in the same paragraph, which is quoted whole."""
    return any(one.text == other.text or (one.rank, one.block) == (other.rank, other.block) for other in chosen)


def _is_row(one: _Sentence) -> bool:
    return one.text.count("|") > 1 or len(_COLUMN.findall(one.text)) > 1


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
    return Quote(passage=run[0].passage, text=unnumbered(said))


def unnumbered(words: str) -> str:
    """A document's words without bracketed numbers: one would be read as one of our citation markers."""
    return re.sub(r"\[(\d+(?:\s*,\s*\d+)*)\]", r"(\1)", words)
