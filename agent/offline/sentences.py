"""Text as the offline model compares it: terms cut to stems, paragraphs cut to sentences."""

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about after all am an and any are as at be been before being but by can could did do does find for from had
        has have how i if in into is it its long many may me much must my no not of off often on or our please search
        shall she should so tell than that the their them then there these they this those to under up was we were what
        when where which while who whom whose why will with would you your
        """,
    )
)
_WORKING_PAPER = re.compile(r"\bwork(?:ing)?[ -]papers?\b", re.IGNORECASE)
_ENDING = re.compile(r"(?<=\w{3})(?:ations?|ments?|ings?|als?|ers?|ie[sd]|e[sd]|[sey])$")
_ABBREVIATIONS = r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bp\.p\.)(?<!\bNo\.)(?<!\bcf\.)(?<!\bvs\.)"
_SENTENCE_END = re.compile(_ABBREVIATIONS + r"(?:(?<=[.!?])|(?<=[.!?][\"”»)]))\s+(?=[\"“«(]?[A-Z0-9])")
_OWN_LINE = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)]|#{1,6}|\||(?:[A-Z]{1,4}-)?\d{1,3}(?:\.\d{1,3}){1,3})\s")
"""How a line begins that starts something of its own: a list item, a heading, a table row, a numbered clause."""
_LEADING = re.compile(r"^(?:[-*•]\s+|#{1,6}\s+)")
_RULE = re.compile(r"^[\s|:=+_*-]*$")


def terms_of(words: str) -> list[str]:
    """The words that carry meaning, cut to crude stems: renewed, renewal and renews are all `renew`."""
    lowered = (word.lower() for word in _WORD.findall(_WORKING_PAPER.sub("workpaper", words)))
    return [_stem(word) for word in lowered if word not in _STOPWORDS]


def _stem(word: str) -> str:
    return _ENDING.sub("", word.removesuffix("'s").removesuffix("’s"))


def blocks_of(passage: str) -> list[list[str]]:
    """The paragraphs, list items, headings and table rows of a text, each as its sentences; soft line ends joined."""
    split = ([one for one in _SENTENCE_END.split(block) if one.strip()] for block in _blocks(passage))
    return [sentences for sentences in split if sentences]


def sentences_of(passage: str) -> list[str]:
    """The sentences of a text, in order."""
    return [sentence for block in blocks_of(passage) for sentence in block]


def _blocks(passage: str) -> Iterable[str]:
    held: list[str] = []
    for line in passage.splitlines():
        apart = _OWN_LINE.match(line) is not None
        if (apart or _RULE.match(line)) and held:
            yield " ".join(held)
            held = []
        if _RULE.match(line):
            continue
        held.append(_LEADING.sub("", line.strip()))
        if apart and line.lstrip().startswith(("#", "|")):
            yield " ".join(held)
            held = []
    if held:
        yield " ".join(held)
