"""Which rows of an export have lost what their calls carried or gave, and what in the record says why."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast

import orjson

from domain.ledger.findings import Bad, ErasedRow, Fault, LostRows

LISTED = 10
"""Of rows that a sentence names."""
_BATCH = "privacy_erase_step"
_PREFERENCES = ("preference_set", "preference_forget")

Event = Mapping[str, object]


class Erasures:
    """Ties each row that has lost something to the erasure that took it.

    A batch of an erasure is a call, whose result names the events that it took from; that result is what its digest
    says. One recorded before results did so says how many there were. Whoever replaces or forgets a preference has the
    earlier words erased by that call, whose own words may be erased in turn: so nothing is named there, and what counts
    is that the same person has made another such call.
    """

    def __init__(self) -> None:
        self._named: list[ErasedRow] = []
        self._last_unnaming: int | None = None
        self._lost: dict[str, int] = {}
        self._names: dict[str, int] = {}
        """By event: the row that has lost something, the row of the batch that names it; until the two meet."""
        self._words: dict[int, tuple[str, str]] = {}
        """Of a preference's lost words, by row: whose they are, and the call."""
        self._word_calls: defaultdict[str, set[str]] = defaultdict(set)
        """By person: calls about preferences, two at most."""
        self._not_named = 0

    def lose(self, row: int, event: Event, *, has_salt: bool) -> None:
        """Takes a row of which something is not there. Raises  Bad: another row is the same event."""
        event_id = str(event.get("event_id"))
        batch = self._names.pop(event_id, None)
        if batch is not None:
            self._named.append(ErasedRow(row=row, by=batch))
        elif self._lost.setdefault(event_id, row) != row:
            _bad(f"row {row} is the same event as row {self._lost[event_id]}", row)
        elif has_salt and event.get("tool") == "preference_set":
            self._words[row] = (str(event.get("principal_id")), str(event.get("call_id")))

    def follow(self, row: int, event: Event, result: str | None) -> None:
        """Takes what a row says of other rows' payloads. `result`: as its digest has it; None: it is gone itself."""
        if event.get("kind") != "tool.completed":
            return
        if event.get("tool") in _PREFERENCES:
            calls = self._word_calls[str(event.get("principal_id"))]
            if len(calls) < 2:
                calls.add(str(event.get("call_id")))
        elif event.get("tool") == _BATCH and result is not None:
            self._follow_batch(row, _object(result))

    def settled(self) -> LostRows:
        """What took from which rows, once every row has been seen. Raises  Bad: nothing covers one of them."""
        lost = sorted(self._lost.values())
        own_words = [row for row in lost if self._is_own_word(row)]
        kept = set(own_words)
        unnamed = [row for row in lost if row not in kept]
        if len(unnamed) > self._not_named:
            words = f"what {_rows(unnamed)} carried or gave is not there, and no erasure in the record covers it"
            if self._not_named:
                words = f"{words}: those that name no rows took it from {self._not_named}"
            _bad(words, unnamed[0], unnamed[-1] if self._not_named else None)
        return LostRows(
            by_batches=sorted(self._named, key=lambda each: (each.row, each.by)),
            own_words=own_words,
            unnamed=unnamed,
            last_unnaming=self._last_unnaming,
        )

    def _follow_batch(self, row: int, result: Event) -> None:
        names, removed = result.get("erased"), result.get("removed")
        if isinstance(names, list):
            for event_id in map(str, cast("list[object]", names)):
                lost = self._lost.pop(event_id, None)
                if lost is None:
                    self._names[event_id] = row
                else:
                    self._words.pop(lost, None)
                    self._named.append(ErasedRow(row=lost, by=row))
        elif isinstance(removed, dict):
            took = cast(Event, removed).get("activity_payloads")
            if type(took) is int and took >= 0:
                self._not_named += took
                self._last_unnaming = row

    def _is_own_word(self, row: int) -> bool:
        if row not in self._words:
            return False
        person, call = self._words[row]
        return bool(self._word_calls[person] - {call})


def told_of(lost: LostRows, most: int) -> Sequence[str]:
    """Which rows have lost something by which erasure, so many of each kind."""
    words: list[str] = []
    if lost.by_batches:
        batches = sorted({each.by for each in lost.by_batches})
        words.append(f"Erased by what {_rows(batches)} did: {_rows([each.row for each in lost.by_batches])}.")
        if most > LISTED:
            words += [f"Row {each.row}: erased by row {each.by}." for each in lost.by_batches]
    if lost.own_words:
        words.append(f"A preference's words, erased when the same person changed it: {_rows(lost.own_words, most)}.")
    if lost.unnamed:
        words.append(
            f"{len(lost.unnamed)} erased before row {lost.last_unnaming}, by erasures that do not name their rows: "
            f"{_rows(lost.unnamed, most)}."
        )
    return words


def _bad(words: str, row: int, last_row: int | None = None) -> NoReturn:
    raise Bad(Fault(code="payload", words=words, row=row, last_row=last_row))


def _object(text: str) -> Event:
    try:
        value: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return cast(Event, value) if isinstance(value, dict) else {}


def _rows(rows: Sequence[int], most: int = LISTED) -> str:
    listed = ", ".join(map(str, rows[:most]))
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return f"row{'' if len(rows) == 1 else 's'} {listed}{more}"
