"""What a question asks for: the kind of answer it expects, and the other words in which a document may say it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.offline.sentences import terms_of


def _either(*forms: str) -> re.Pattern[str]:
    return re.compile("|".join(forms), re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOfAnswer:
    """How a kind of question is asked, and how a sentence looks that may answer it."""

    asks: re.Pattern[str]
    answers: re.Pattern[str]
    plainly: re.Pattern[str] | None = None
    """How the likeliest of those sentences look."""


_NUMBER = (
    r"(?:\d[\d,.]*|(?:twenty|thirty|forty|fifty|sixty|ninety)(?:-\w+)?|one|two|three|four|five|six|seven|eight|nine|ten"
    r"|eleven|twelve|fifteen|eighteen|first|second|third|\d+(?:st|nd|rd|th))"
)
_UNIT = r"(?:minute|hour|day|week|month|quarter|year)s?"
_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_DURATION = rf"\b{_NUMBER}[ -](?:(?:calendar|working|consecutive|full|financial) )?{_UNIT}\b"
_SPAN = (
    _DURATION,
    rf"\b(?:each|every|once an?) (?:\w+ )?(?:{_UNIT}|{_MONTH}|\w+day)\b",
    r"\b(?:dai|week|month|quarter|year|annual)ly\b",
    rf"\b\d{{1,2}} {_MONTH}\b|\b{_MONTH} \d|\b\d{{4}}-\d\d-\d\d\b",
)
_MOMENT = (*_SPAN, r"\b(?:before|after|until|as soon as|on the (?:same )?day|at the latest|if|once)\b")
_ROLE = (
    r"(?:partner|manager|director|reviewer|owner|client|employee|auditor|committee|associate|administrator|controller"
    r"|head of \w+|member of staff|team|office|lawyer|firm)s?"
)
_AMOUNT = (r"(?:EUR|USD|GBP|CHF|[€$£]) ?\d", r"\d ?(?:percent|per cent|%)", r"\b\d{1,3}(?:,\d{3})+\b", r"\bnil\b")

_KINDS = (
    KindOfAnswer(
        asks=_either(r"\bhow long\b", rf"\bhow many (?:\w+ )?{_UNIT}\b"),
        answers=_either(_DURATION),
        plainly=_either(rf"\b(?:for|within|after|every|at least|until|than) {_NUMBER}\b"),
    ),
    KindOfAnswer(
        asks=_either(r"\bhow (?:often|soon|quickly|fast)\b", r"\bdeadline\b", r"\bdue date\b", r"\bfrequency\b"),
        answers=_either(*_SPAN),
        plainly=_either(rf"\b(?:within|after|every|at least|until|on the) {_NUMBER}\b"),
    ),
    # "when" within a sentence mostly names a condition: "What happens when a letter lapses?"
    KindOfAnswer(asks=_either(r"^\W*(?:by |since |until )?when\b", r"\band when\b"), answers=_either(*_MOMENT)),
    KindOfAnswer(
        asks=_either(
            r"\bhow (?:much|high|large)\b",
            r"^what (?:is|are|was|were)\b.*\b(?:limit|amount|total|materiality|payable|threshold|fee|surcharge)\b",
            r"\b(?:what|which) (?:amount|threshold|limit|percent\w*|share)\b",
        ),
        answers=_either(*_AMOUNT),
    ),
    KindOfAnswer(asks=_either(rf"\bhow many (?!(?:\w+ )?{_UNIT}\b)"), answers=_either(rf"\b{_NUMBER}\b")),
    KindOfAnswer(
        asks=_either(r"^\W*(?:by |from |to )?who(?:se|m)?\b", r"\b(?:and|by) who(?:se|m)?\b"),
        # A field of a form or of a document's head names a person.
        answers=_either(rf"\b(?:{_ROLE}|persons?)\b", r"\b(?:owner|by)[ :|·]+(?-i:[A-Z]\w+ [A-Z])"),
        plainly=_either(
            rf"\bby (?:\w+ ){{0,3}}{_ROLE}\b",
            rf"^(?:[A-Z]+-?[\d.]+ +|[\d.]+ +)?(?:the|an?|every|each) (?:\w+ ){{0,2}}{_ROLE} (?!of\b)",
            rf"\bis for the (?:\w+ ){{0,2}}{_ROLE}\b",
        ),
    ),
    KindOfAnswer(
        asks=_either(r"^\W*who(?: is|'s|’s) (?:the|our)\b[\w ]*\W*$"),
        answers=_either(r"(?-i:\b[A-Z][a-z]+ [A-Z][a-z]+\b)"),
    ),
    KindOfAnswer(
        asks=_either(r"^\W*why\b", r"\band why\b", r"\breason (?:for|why)\b"),
        answers=_either(r"\b(?:because|since|so that|therefore|reasons?|due to|caused?)\b"),
    ),
)

_OTHER_WORDS = {
    "keep kept retain retained store stored archive archived archiving retention": "kept retention",
    "workpapers papers": "files",
    "rotate rotated rotates rotation": "rotates rotation leaves consecutive",
    "stay serve": "leaves consecutive",
    "EQR": "reviewer",
    "extend extended extension prolong prolonged": "renewed",
    "deadline": "due",
    "threshold limit": "limit above",
    "percentage share": "percent",
    "approves approve authorise authorises": "consent approval",
    "destroy destroyed shred shredded": "destruction destroyed",
    "penalty fine": "surcharge",
    "own owns owned": "belong",
    "backup backups": "back-ups",
    "finalise finalised finalize close": "assembled",
}
"""Words of questions, and those that the documents of an audit firm have for the same."""

_HOW_IT_IS_ASKED = frozenset(
    terms_of(
        """
        allowed amount back came cannot come count enough fast give given good happen happens inside itself need
        needed quickly soon step steps sum tell there told use used wrong
        """
    )
)
"""Words by which questions ask ("how soon", "may I use", "what happens when"), and answers seldom answer."""

_BY_TERM = {term: words for asked, words in _OTHER_WORDS.items() for term in terms_of(asked)}
_COUNTED = re.compile(rf"\bhow many (?:\w+ )?{_UNIT}\b", re.IGNORECASE)


def kinds_asked(question: str) -> Sequence[KindOfAnswer]:
    """The kinds of answer that `question` expects; none where its form does not tell."""
    return [kind for kind in _KINDS if kind.asks.search(question)]


def asked_terms(question: str) -> dict[str, frozenset[str]]:
    """The terms that a question is about, each with the terms that say the same.

    Words by which it only asks are left out, unless there are no others.
    """
    # The unit that is counted is the kind of the answer, and not what the question is about.
    terms = terms_of(_COUNTED.sub(" ", question)) or terms_of(question)
    about = [term for term in terms if term not in _HOW_IT_IS_ASKED] or terms
    return {term: frozenset(terms_of(_BY_TERM.get(term, ""))) - {term} for term in about}


def widened(question: str) -> str:
    """The question as it is searched for: with the words that documents have for its own."""
    said = frozenset(terms_of(question))
    found = dict.fromkeys(_BY_TERM[term] for term in terms_of(question) if term in _BY_TERM)
    more = dict.fromkeys(word for words in found for word in words.split() if not said.issuperset(terms_of(word)))
    return " ".join((question, *more))
