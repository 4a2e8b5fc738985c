"""A judged set in the BEIR layout: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv in one folder.

A question's `metadata.answers` may say more than BEIR does: the words that answer it, and in which document they stand.
Then passages are measured too, and not documents alone.
"""

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CORPUS, QUERIES, JUDGEMENTS = "corpus.jsonl", "queries.jsonl", "qrels"
SPLIT = "test"
"""The split that is read where a set has several."""

LONGEST_QUERY = 2000
"""Characters; as much as a search takes."""


class SetUnreadable(Exception):
    """A folder that holds no judged set; the words name the file and the line."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True, coerce_numbers_to_str=True)

    id: str = Field(alias="_id", min_length=1, max_length=300)


class CorpusDocument(_Line):
    """One document of the corpus."""

    text: str
    title: str = ""


class Answer(BaseModel):
    """Words that answer a question, as they stand in the document (blanks and line ends count as one blank)."""

    model_config = ConfigDict(frozen=True)

    document: str
    words: str = Field(min_length=1)


class _Metadata(BaseModel):
    answers: tuple[Answer, ...] = ()


class _Query(_Line):
    text: str = Field(min_length=1, max_length=LONGEST_QUERY)
    metadata: _Metadata = _Metadata()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedQuery:
    """A question with its judgements; without any it cannot be answered from the corpus."""

    query_id: str
    text: str
    relevant: Mapping[str, int]
    """By document: how relevant it is, 1 or more."""
    answers: tuple[Answer, ...]

    @property
    def answerable(self) -> bool:
        """Whether any document is relevant to it."""
        return bool(self.relevant)


@dataclass(frozen=True)
class JudgedSet:
    """A judged set, its corpus still on disk."""

    name: str
    folder: Path
    queries: tuple[JudgedQuery, ...]

    def corpus(self) -> Iterator[CorpusDocument]:
        """Its documents, one after another.

        Raises  SetUnreadable.
        """
        return _lines(self.folder / CORPUS, CorpusDocument)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over questions and judgements, as hex: figures of two sets are never compared."""
        digest = hashlib.sha256()
        for query in self.queries:
            words = [query.query_id, query.text, *(f"{document} {grade}" for document, grade in query.relevant.items())]
            words += [f"{answer.document} {answer.words}" for answer in query.answers]
            digest.update("\0".join(words).encode("utf-8", "surrogatepass") + b"\n")
        return digest.hexdigest()


def read_judged_set(folder: Path, name: str | None = None) -> JudgedSet:
    """The set in `folder`.

    Raises  SetUnreadable: a file is missing, or a line of it says something else than the layout has.
    """
    judgements = _judgements(_split(folder))
    queries = [
        JudgedQuery(
            query_id=query.id,
            text=query.text,
            relevant=judgements.get(query.id, {}),
            answers=query.metadata.answers,
        )
        for query in _lines(folder / QUERIES, _Query)
    ]
    judged = _judged(queries, judgements)
    if not judged:
        raise SetUnreadable(f"{folder / QUERIES}: it holds no question of the split that is judged")
    return JudgedSet(name or folder.resolve().name, folder, tuple(judged))


def _judged(queries: list[JudgedQuery], judgements: Mapping[str, Mapping[str, int]]) -> list[JudgedQuery]:
    """The questions of the split; those that nobody judged are of another, unless all of the set's others are judged.

    Only a set that says what answers its questions says of the rest that nothing does.
    """
    if any(query.answers for query in queries):
        return queries
    return [query for query in queries if query.query_id in judgements]


def _split(folder: Path) -> Path:
    found = sorted((folder / JUDGEMENTS).glob("*.tsv"))
    if not found:
        raise SetUnreadable(f"{folder / JUDGEMENTS}: there is no .tsv file with judgements")
    return next((path for path in found if path.stem == SPLIT), found[0])


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    """By question and document; those of 0 and below say that a document is not relevant, and are left out."""
    judged: dict[str, dict[str, int]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
                if not row or (number == 1 and not _grade(row)):
                    continue
                grade = _grade(row)
                if grade is None:
                    raise SetUnreadable(f"{path}: line {number} is no question, document and grade")
                documents = judged.setdefault(row[0], {})
                if grade > 0:
                    documents[row[1]] = grade
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise SetUnreadable(f"{path}: {fault}") from fault
    return judged


def _grade(row: list[str]) -> int | None:
    try:
        return int(row[2]) if len(row) == 3 else None
    except ValueError:
        return None


Line = TypeVar("Line", bound=_Line)


def _lines(path: Path, kind: type[Line]) -> Iterator[Line]:
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    read = kind.model_validate_json(line)
                except ValidationError as fault:
                    what = fault.errors()[0]
                    where = ".".join(map(str, what["loc"]))
                    raise SetUnreadable(f"{path}: line {number}: {where}: {what['msg']}") from fault
                if read.id in seen:
                    raise SetUnreadable(f"{path}: line {number}: there is a {read.id!r} before")
                seen.add(read.id)
                yield read
    except (OSError, UnicodeDecodeError) as fault:
        raise SetUnreadable(f"{path}: {fault}") from fault
