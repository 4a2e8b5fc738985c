"""What a question says besides its words, understood without a model: quoted phrases and filters (docs/search.md).

`"exact words"`, `type:pdf`, `after:2025-03`, `before:2026`, `engagement:NAME`. What only looks like one ("note: see")
is words; what is one and makes no sense is refused, in words that say what would.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final

from domain.kernel import DomainError
from knowledge.languages import COMMON_ANYWHERE
from knowledge.parse.document import DOCX, EML, MSG, PPTX, XLSX, ZIP, MediaType
from knowledge.terms import variants_of, words_of

KINDS: Final[dict[str, MediaType]] = {
    "pdf": "application/pdf",
    "docx": DOCX,
    "docm": DOCX,
    "dotx": DOCX,
    "word": DOCX,
    "xlsx": XLSX,
    "xlsm": XLSX,
    "xltx": XLSX,
    "excel": XLSX,
    "pptx": PPTX,
    "pptm": PPTX,
    "ppsx": PPTX,
    "potx": PPTX,
    "powerpoint": PPTX,
    "csv": "text/csv",
    "tsv": "text/csv",
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "text/html",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "text": "text/plain",
    "txt": "text/plain",
    "log": "text/plain",
    "eml": EML,
    "msg": MSG,
    "zip": ZIP,
}
"""All that is taken in, by the ends of names; those with one value are one kind."""
MOST_PHRASES: Final = 8

_QUOTED = r"\"([^\"]*)\"|“([^”]*)”"
_FILTER = re.compile(rf"(?<!\S)(type|before|after|engagement):(?:{_QUOTED}|(\S+))", re.IGNORECASE)
_PHRASE = re.compile(_QUOTED)
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?\Z")
_RUN = re.compile(r"[^\W_]+")


class InvalidFilter(DomainError):
    """A filter in a question that makes no sense, or a question of nothing but filters."""

    code: ClassVar[str] = "invalid_filter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """Words that must stand in a passage next to one another, in this order, whatever their case and accents."""

    pattern: str
    """What PostgreSQL looks for in the folded text."""
    required: tuple[tuple[str, ...], ...]
    """The terms of some of its words, one of each of which every passage with the phrase is indexed by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question taken apart."""

    words: str
    """What is searched by words and by meaning, the phrases' included."""
    phrases: tuple[Phrase, ...] = ()
    media_types: tuple[MediaType, ...] | None = None
    engagements: tuple[str, ...] = ()
    """Names or ids, as they are written."""
    after: datetime | None = None
    before: datetime | None = None


def understood(text: str) -> Question:
    """A question as it is meant.

    Raises  InvalidFilter.
    """
    given: dict[str, list[str]] = {}

    def take(match: re.Match[str]) -> str:
        key, *values = match.groups()
        given.setdefault(key.lower(), []).append(next(value for value in values if value is not None))
        return " "

    words = _FILTER.sub(take, text)
    phrases = [next(part for part in match.groups() if part is not None) for match in _PHRASE.finditer(words)]
    question = Question(
        words=unquoted(words),
        phrases=_phrases(phrases),
        media_types=_media_types(given.get("type")),
        engagements=tuple(_engagement(name) for name in given.get("engagement", ())),
        after=_date("after", given.get("after")),
        before=_date("before", given.get("before")),
    )
    if given and not question.words:
        raise InvalidFilter("query: say what to look for besides its filters; document_list lists without words")
    if question.after and question.before and question.after >= question.before:
        raise InvalidFilter("after: nothing lies from that day on and before `before:` at once")
    return question


def unquoted(text: str) -> str:
    """A question whose quoted words are words like the others."""
    return " ".join(re.sub(r"[\"“”]", " ", text).split())


def _phrases(written: list[str]) -> tuple[Phrase, ...]:
    phrases = tuple(_phrase(each) for each in dict.fromkeys(written) if _RUN.search(each))
    if len(phrases) > MOST_PHRASES:
        raise InvalidFilter(f"query: {len(phrases)} phrases are quoted, and at most {MOST_PHRASES} are looked for")
    return phrases


def _phrase(written: str) -> Phrase:
    runs = _RUN.findall(folded(written))
    required: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for run in _RUN.findall(unicodedata.normalize("NFC", written)):
        # What is cut up further ("recordTime") may stand in a document in one piece, and then has other terms.
        parts = words_of(run)
        variants = variants_of(parts[0], is_word=not parts[0].isdigit()) if len(parts) == 1 else ()
        if variants and parts[0] not in COMMON_ANYWHERE and not seen.intersection(variants):
            seen.update(variants)
            required.append(variants)
    if not required:
        raise InvalidFilter(f'query: "{written.strip()}" holds only common words; quote some that are not')
    return Phrase(
        pattern=rf"(^|[^[:alnum:]]){'[^[:alnum:]]+'.join(runs)}([^[:alnum:]]|$)",
        required=tuple(required),
    )


def folded(text: str) -> str:
    """Text without case, diacritics and compatibility forms, as knowledge.postgres.search folds it in SQL."""
    decomposed = unicodedata.normalize("NFKD", text)
    return re.sub("[\u0300-\u036f]", "", decomposed).lower().replace("ß", "ss").replace("ς", "σ")


def _media_types(kinds: list[str] | None) -> tuple[MediaType, ...] | None:
    if kinds is None:
        return None
    for kind in kinds:
        if kind.lower() not in KINDS:
            raise InvalidFilter(f"type: there is no kind {kind!r}; give one of {', '.join(KINDS)}")
    return tuple(dict.fromkeys(KINDS[kind.lower()] for kind in kinds))


def _engagement(name: str) -> str:
    if not name.strip():
        raise InvalidFilter("engagement: give its name, its client's or its id")
    return name.strip()


def _date(key: str, days: list[str] | None) -> datetime | None:
    if days is None:
        return None
    if len(set(days)) > 1:
        raise InvalidFilter(f"{key}: is given {len(days)} times; give it once")
    match = _DATE.match(days[0])
    try:
        year, month, day = (int(part or 1) for part in match.groups()) if match else (0, 0, 0)
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        raise InvalidFilter(f"{key}: {days[0]!r} is no date; write 2026, 2026-03 or 2026-03-31") from None
