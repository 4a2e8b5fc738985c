"""The analyser of lexical search: text to terms, the same for a document and for a question about it.

Letter case, compatibility forms and diacritics are folded. A code, a number or a compound is one term and each of its
parts another, so that "EL-4.2", "IFRS 16.22(b)" and "recordTime" are found whole and by what they are made of.
English endings are taken off lightly, common English words left out. Other languages are indexed as they are written;
text without spaces between words (Chinese, Thai) stays in runs. What changes here changes what is found: documents
indexed before must then be indexed again.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Final

MAX_QUERY_TERMS: Final = 64
"""Terms that a query is searched by, its first; more would be a document, and as slow as one."""

_LONGEST_TERM: Final = 64
"""Characters; what is longer is a key, a hash or an encoded file, and known well enough by its beginning."""

_TOKEN = re.compile(r"[^\W_]+(?:(?:[-./_&'’]|(?<=\d),(?=\d{3}(?!\d)))[^\W_]+|\([^\W_]{1,4}\))*")
"""Letters and digits, joined by single signs, with what stands in brackets right behind them."""
_PART = re.compile(r"\d+|[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_ACRONYM = re.compile(r"[A-Z]{2,6}\Z")
_POSSESSIVE = re.compile(r"['’]s(?=\W|\Z)", re.IGNORECASE)
_DIACRITICS = re.compile("[\u0300-\u036f]")

# fmt: off
STOP_WORDS: Final = frozenset((
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "by", "can", "could", "did", "do", "does",
    "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "not",
    "of", "on", "or", "our", "please", "shall", "should", "so", "such", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "to", "us", "was", "we", "were", "what", "when", "where", "which", "who",
    "whom", "whose", "why", "will", "with", "would", "you", "your",
))
# fmt: on
"""English words that say nothing about a passage; words of duty ("must", "may") are kept, for policies turn on them."""


def term_frequencies(text: str) -> dict[str, int]:
    """How often each term occurs in `text`; the sum is its length in terms."""
    return dict(Counter(_terms(text)))


def query_terms(query: str) -> list[str]:
    """The distinct terms of a query in its own order, at most 64; empty when it holds only common words or signs."""
    terms = dict.fromkeys(_terms(query))
    return list(terms)[:MAX_QUERY_TERMS]


def _terms(text: str) -> Iterator[str]:
    text = _folded_forms(text)
    acronym, acronym_end = "", -1
    for token in _TOKEN.finditer(text):
        raw = token.group()
        yield from _terms_of_token(raw)
        if raw[0].isdigit() and acronym_end == token.start() - 1 and text[acronym_end] == " ":
            yield from _terms_of_standard(acronym, raw)
        acronym, acronym_end = (raw, token.end()) if _ACRONYM.match(raw) else ("", -1)


def _folded_forms(text: str) -> str:
    if text.isascii():
        return text
    decomposed = _DIACRITICS.sub("", unicodedata.normalize("NFKD", text))
    return unicodedata.normalize("NFKC", decomposed).replace("\u00a0", " ")


@functools.lru_cache(maxsize=65_536)
def _terms_of_token(raw: str) -> tuple[str, ...]:
    """The whole of a token where it has parts, and its parts; the cache pays because texts repeat their words."""
    token = _POSSESSIVE.sub("", raw).replace("'", "").replace("’", "").replace(",", "")
    parts = [part for word in _PART.findall(token) for part in _CAMEL.split(word)]
    terms = [_stemmed(folded) for part in parts if (folded := part.casefold()) not in STOP_WORDS]
    if len(parts) > 1:
        terms.insert(0, token.casefold())
    return tuple(term[:_LONGEST_TERM] for term in terms)


def _terms_of_standard(acronym: str, number: str) -> Iterator[str]:
    """ "IFRS 16.22(b)" is also one term, as is "IFRS 16": the numbers alone say little."""
    number = number.replace(",", "")
    yield (acronym + number).casefold()[:_LONGEST_TERM]
    leading = _PART.match(number)
    if leading and leading.end() < len(number):
        yield (acronym + leading.group()).casefold()[:_LONGEST_TERM]


def _stemmed(word: str) -> str:
    """`word` without its plural, past or progressive ending: "signs", "signed" and "signing" are "sign"."""
    if len(word) < 4 or not (word.isascii() and word.isalpha()):
        return word
    word = _without_past(_singular(word))
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_past(word: str) -> str:
    if word.endswith("ied") and len(word) > 4:
        return word[:-3] + "y"
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and not word.endswith("eed") and any(vowel in root for vowel in "aeiouy"):
            doubled = root[-1] == root[-2] and root[-1] not in "lsz"
            return root[:-1] if doubled else root
    return word
