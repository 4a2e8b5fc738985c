"""What a call that waits says, laid out row by row, and what of it differs from the last like call that was made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

import orjson

from domain.kernel import CallId

Change = Literal["same", "changed", "added", "removed"]
MOST_ROWS = 500
"""What is laid out; the arguments themselves are always whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LikeCall:
    """The last call of the same tool that was made before this one was asked for, as far as it may be seen."""

    call_id: CallId
    made_at: datetime
    made_by: str
    """An e-mail address."""
    same_requester: bool
    """Whoever asks now made that one too; else it is the organization's last."""
    arguments: str
    """Canonical JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentRow:
    """One argument, or one member of it, by its path: `evidence[0].version`."""

    argument: str
    change: Change | None
    """None: there is nothing to compare with."""
    value: object = None
    """As JSON has it; None where it is removed."""
    last_value: object = None
    """None where it is added, or there is nothing to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The arguments laid out, in their order; what was there last and is no more stands at the end."""

    last: LikeCall | None
    rows: tuple[ArgumentRow, ...]
    rows_left_out: int = 0

    @property
    def differing(self) -> tuple[ArgumentRow, ...]:
        """The rows that are not as they were."""
        return tuple(row for row in self.rows if row.change not in (None, "same"))


def compared(arguments: str, last: LikeCall | None) -> Comparison:
    """Lay the arguments out, each member beside what it was in the last like call."""
    now = dict(leaves(orjson.loads(arguments)))
    before = None if last is None else dict(leaves(orjson.loads(last.arguments)))
    rows = list(_rows(now, before))
    return Comparison(last=last, rows=tuple(rows[:MOST_ROWS]), rows_left_out=max(0, len(rows) - MOST_ROWS))


def _rows(now: Mapping[str, object], before: Mapping[str, object] | None) -> Iterator[ArgumentRow]:
    for path, value in now.items():
        if before is None:
            yield ArgumentRow(argument=path, change=None, value=value)
        elif path not in before:
            yield ArgumentRow(argument=path, change="added", value=value)
        else:
            change: Change = "same" if _text(before[path]) == _text(value) else "changed"
            yield ArgumentRow(argument=path, change=change, value=value, last_value=before[path])
    for path, value in (before or {}).items():
        if path not in now:
            yield ArgumentRow(argument=path, change="removed", last_value=value)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """What no more lies within arguments, by its path; a list of plain values is one value."""
    if isinstance(value, dict) and (value or not path):
        for name, member in cast("dict[str, object]", value).items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(each, (dict, list)) for each in cast("list[object]", value)):
        for number, member in enumerate(cast("list[object]", value)):
            yield from leaves(member, f"{path}[{number}]")
    else:
        yield path, value


def _text(value: object) -> bytes:
    """Told apart by what JSON tells apart: 1 is not "1", nor true."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
