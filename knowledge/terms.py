"""The analyser of lexical search: text to terms, the same for a document and for a question about it.

Letter case, compatibility forms and diacritics are folded. A code, a number or a compound is one term and each of its
parts another, so that "EL-4.2", "IFRS 16.22(b)" and "recordTime" are found whole and by what they are made of. A word
is the stem of its document's language, marked by it ("prufung~de"); codes, numbers and words of an unknown language are
as written. A question is asked in every language at once, its forms of one word counting as one.
Text without spaces between words (Chinese, Thai) stays in runs. What changes here changes what is found: raise
ANALYSIS_VERSION, and documents indexed before are analysed again.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from knowledge.first_stems import first_stem
from knowledge.languages import LANGUAGES, STOP_WORDS, Language, language_of, languages_of_question, stem_of

ANALYSIS_VERSION: Final = 3
"""What is stored with a document says by which analysis it is found; 0 and 1: English endings taken off lightly."""

MAX_QUERY_TERMS: Final = 64
"""Words that a query is searched by, its first; more would be a document, and as slow as one."""

_LONGEST_TERM: Final = 64
"""Characters; what is longer is a key, a hash or an encoded file, and known well enough by its beginning."""
_LONGEST_SAMPLE: Final = 20_000
"""Characters of a text that tell its language."""

_TOKEN = re.compile(r"[^\W_]+(?:(?:[-./_&'’]|(?<=\d),(?=\d{3}(?!\d)))[^\W_]+|\([^\W_]{1,4}\))*")
"""Letters and digits, joined by single signs, with what stands in brackets right behind them."""
_PART = re.compile(r"\d+|[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_ACRONYM = re.compile(r"[A-Z]{2,6}\Z")
_ACRONYMS = re.compile(r"\b([A-Z]{2,6})s\Z")
_POSSESSIVE = re.compile(r"['’]s(?=\W|\Z)", re.IGNORECASE)
_ELISION = re.compile(r"\A(?:[cdjlmnst]|qu|un|(?:ne|da|de|a|su)ll)['’](?=[^\W_]{2})", re.IGNORECASE)
"""The article or preposition that French and Italian write with the word behind it."""
_DIACRITICS = re.compile("[\u0300-\u036f]")
_APOSTROPHES = re.compile("['’]")


@dataclass(frozen=True, slots=True)
class _Atom:
    """A term before any language is known."""

    text: str
    is_word: bool
    """It has endings and may be a common word; else it is as written in every language."""


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A word, code or number of a question, and the terms that documents of each language have it under."""

    written: str
    variants: tuple[str, ...]
    asked: int = 1
    """How often the question says it, in any form; it counts that many times."""


def term_frequencies(text: str, language: Language | None = "en") -> dict[str, int]:
    """How often each term occurs in `text`; the sum is its length in terms. None: no language that is known."""
    counted = Counter(_atoms(text))
    frequencies: Counter[str] = Counter()
    for atom, count in counted.items():
        if (term := _term(atom, language)) is not None:
            frequencies[term] += count
    return dict(frequencies)


def query_terms(query: str) -> tuple[QueryTerm, ...]:
    """The distinct words of a query in its own order, at most 64; empty when it holds only common words or signs."""
    said = Counter(_atoms(query))
    common = common_words([atom.text for atom in said if atom.is_word])
    kept = (atom for atom in said if not (atom.is_word and atom.text in common))
    terms = _each_once(QueryTerm(atom.text, variants_of(atom.text, is_word=atom.is_word), said[atom]) for atom in kept)
    return tuple(itertools.islice(terms, MAX_QUERY_TERMS))


def words_of(text: str) -> list[str]:
    """The folded words, codes and numbers of a text in its order, parts of codes without their whole."""
    folded = _folded_forms(text)
    return [part.casefold() for token in _TOKEN.finditer(folded) for part in _parts(token.group())[1]]


def common_words(words: Sequence[str]) -> frozenset[str]:
    """The words that say nothing in the language of a question of these folded words."""
    return frozenset[str]().union(*(STOP_WORDS[language] for language in languages_of_question(words)))


def detected_language(text: str) -> Language | None:
    """The language that a text is written in, by its common words; None: none of those that are known."""
    sample = text[:_LONGEST_SAMPLE]
    letters = [letter for letter in sample if letter.isalpha()]
    marked = sum(not letter.isascii() for letter in letters) / len(letters) if letters else 0.0
    return language_of([word for word in words_of(sample) if not word.isdigit()], marked)


def variants_of(folded: str, *, is_word: bool) -> tuple[str, ...]:
    """The terms that documents have a folded word or code under, whichever their language."""
    if not is_word:
        return (folded[:_LONGEST_TERM],)
    stems = (_marked(folded, language) for language in LANGUAGES if folded not in STOP_WORDS[language])
    return tuple(dict.fromkeys([folded[:_LONGEST_TERM], first_stem(folded)[:_LONGEST_TERM], *stems]))


def without_mark(term: str) -> str:
    """A term as people read it."""
    return term.partition("~")[0]


def _each_once(terms: Iterable[QueryTerm]) -> Iterator[QueryTerm]:
    """A term that two words have ("sign", "signs") is the first one's alone, which is asked once more by the other."""
    first: dict[str, str] = {}
    asked: Counter[str] = Counter()
    apart: list[QueryTerm] = []
    for term in terms:
        asked.update(
            dict.fromkeys({first[each] for each in term.variants if each in first} | {term.written}, term.asked)
        )
        if fresh := tuple(variant for variant in term.variants if variant not in first):
            first.update(dict.fromkeys(fresh, term.written))
            apart.append(QueryTerm(term.written, fresh))
    return (replace(term, asked=asked[term.written]) for term in apart)


def _term(atom: _Atom, language: Language | None) -> str | None:
    """What a document in this language has the atom under; None: a common word."""
    if not atom.is_word or language is None:
        return atom.text[:_LONGEST_TERM]
    return None if atom.text in STOP_WORDS[language] else _marked(atom.text, language)


def _marked(folded: str, language: Language) -> str:
    return f"{stem_of(folded, language)[:_LONGEST_TERM]}~{language}"


def _atoms(text: str) -> Iterator[_Atom]:
    text = _folded_forms(text)
    acronym, acronym_end = "", -1
    for token in _TOKEN.finditer(text):
        raw = token.group()
        yield from _atoms_of_token(raw)
        if raw[0].isdigit() and acronym_end == token.start() - 1 and text[acronym_end] == " ":
            yield from _atoms_of_standard(acronym, raw)
        acronym, acronym_end = (raw, token.end()) if _ACRONYM.match(raw) else ("", -1)


def _folded_forms(text: str) -> str:
    if text.isascii():
        return text
    decomposed = _DIACRITICS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", decomposed).replace("\u00a0", " ")


def _parts(raw: str) -> tuple[str, list[str]]:
    """A token as it is kept whole, and the words and numbers that it is made of."""
    token = _APOSTROPHES.sub("", _ELISION.sub("", _POSSESSIVE.sub("", raw))).replace(",", "")
    return token, [_ACRONYMS.sub(r"\1", part) for word in _PART.findall(token) for part in _CAMEL.split(word)]


@functools.lru_cache(maxsize=65_536)
def _atoms_of_token(raw: str) -> tuple[_Atom, ...]:
    """The whole of a token where it has parts, and its parts; the cache pays because texts repeat their words."""
    token, parts = _parts(raw)
    atoms = [_Atom(part.casefold(), is_word=not part.isdigit()) for part in parts]
    if len(parts) > 1:
        atoms.insert(0, _Atom(token.casefold(), is_word=False))
    return tuple(atoms)


def _atoms_of_standard(acronym: str, number: str) -> Iterator[_Atom]:
    """ "IFRS 16.22(b)" is also one term, as is "IFRS 16": the numbers alone say little."""
    number = number.replace(",", "")
    yield _Atom((acronym + number).casefold(), is_word=False)
    leading = _PART.match(number)
    if leading and leading.end() < len(number):
        yield _Atom((acronym + leading.group()).casefold(), is_word=False)
