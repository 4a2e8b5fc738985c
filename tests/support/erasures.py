"""What docs/privacy.md says of each column, what the catalogue has, and where in all tables some words are found."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from server.database.connection import Connection

DOCUMENT = Path(__file__).parents[2] / "docs" / "privacy.md"
Column = tuple[str, str]
"""A table's name and a column's."""

_ROW = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`\w+`(?:, )?)+) \|(.*)$", re.MULTILINE)
_NAME = re.compile(r"`(\w+)`")

# Every column that refers to a person, and every one that can hold words: but those of a few fixed words, and ids.
COLUMNS = """
SELECT c.relname AS table_name, a.attname AS column_name
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'queue') AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
  AND (a.atttypid = ANY ('{text,text[],json,jsonb,bytea,tsvector,varchar,name,xml}'::regtype[])
       AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'
                       AND k.conkey = ARRAY[a.attnum] AND pg_get_constraintdef(k.oid) ~ '= ANY \\(ARRAY\\[')
       OR a.atttypid = 'uuid'::regtype AND a.attname <> 'scanned_to'
          AND a.attname ~ '(_by|_from|_to|(user|owner|principal|assignee|person|member|delegate)_id)$'
       OR EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'
                  AND k.confrelid IN ('users'::regclass, 'memberships'::regclass)
                  AND a.attnum = ANY (k.conkey) AND a.attname <> 'organization_id'))
"""
TABLES = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'queue') AND c.relkind IN ('r', 'p') ORDER BY 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What the document says."""

    erased: frozenset[Column]
    kept: Mapping[Column, str]
    """With the reason."""
    of_nobody: frozenset[Column]


def listed() -> Listed:
    """The document's three tables."""
    text = DOCUMENT.read_text(encoding="utf-8")
    erased, kept, nobody = (_section(text, title) for title in ("Erased", "Kept, and why", "Nothing of a person"))
    return Listed(erased=frozenset(dict(erased)), kept=dict(kept), of_nobody=frozenset(dict(nobody)))


def _section(text: str, title: str) -> list[tuple[Column, str]]:
    body = text.partition(f"### {title}\n")[2].partition("\n### ")[0]
    return [
        ((table, column), rest.strip(" |"))
        for tables, columns, rest in _ROW.findall(body)
        for table in _NAME.findall(tables)
        for column in _NAME.findall(columns)
    ]


async def columns_of(inspector: Connection) -> set[Column]:
    """Those that a person may be found by or in."""
    return {(row["table_name"], row["column_name"]) for row in await inspector.fetch(COLUMNS)}


async def found_in(inspector: Connection, words: str) -> set[Column]:
    """Where the words stand, in whatever case; a superuser sees every row."""
    found = set[Column]()
    for (table,) in await inspector.fetch(TABLES):
        # The table's name comes from the catalogue.
        for (row,) in await inspector.fetch(f"SELECT to_jsonb(t)::text FROM {table} t"):
            found |= {(table.partition(".")[2], column) for column in _holding(orjson.loads(row), words.casefold())}
    return found


def _holding(row: dict[str, object], words: str) -> Iterator[str]:
    for column, value in row.items():
        text = orjson.dumps(value).decode().casefold()
        if words in text or words.encode().hex() in text:
            yield column
