"""Counts the agent's calls again from an export of the ledger alone, and says what the stored records should be."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, cast
from uuid import UUID

import orjson

from domain.earned.counting import UNDOES, EventSeen, counts_as_reversed, found_in, tally_of
from domain.earned.model import CountedCall, CountingRules, Earning, Ended, ToolRecord, Undoing
from domain.kernel import CallId, Effect, PrincipalId
from domain.ledger.wire import EventLine, HeaderLine, read_line

Kind = Literal["tool.completed", "tool.failed", "tool.rejected"]
Json = dict[str, object]
ENDINGS = frozenset({"tool.completed", "tool.failed", "tool.rejected"})
REVIEW = "autonomy_review"


class NotAnExport(Exception):
    """A line is none of an export of the ledger with payloads; `number` from 1."""

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number} is none of an export of the ledger with its payloads")


@dataclass(frozen=True, slots=True)
class Recorded:
    """In which transaction, and when, the database recorded an event."""

    xact: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who answered a question, and when the database recorded that."""

    event_id: str
    recorded: Recorded
    by: PrincipalId
    stands_in: bool
    """For whoever asked."""


@dataclass(slots=True)
class Recount:
    """Takes the lines of an export one by one; `glow audit verify` says whether they are what was sealed."""

    size: int = 0
    """How many rows there were."""
    _lines: int = 0
    _seen: list[tuple[EventSeen, Recorded]] = field(default_factory=list[tuple[EventSeen, Recorded]])
    _tickets: dict[CallId, Recorded] = field(default_factory=dict[CallId, Recorded])
    """Of calls that had been asked about."""
    _decisions: dict[str, list[Decision]] = field(default_factory=dict[str, list[Decision]])
    """By their transaction."""
    _arguments: dict[CallId, str] = field(default_factory=dict[CallId, str])
    _noted: list[tuple[CallId, CallId]] = field(default_factory=list[tuple[CallId, CallId]])
    """What reviews said that they had found undone: it stays when the payloads that showed it are erased."""

    def take(self, line: bytes) -> None:
        """Raises  NotAnExport."""
        self._lines += 1
        found = read_line(line.rstrip(b"\n"))
        if found is None or (isinstance(found, HeaderLine) and not found.payloads):
            raise NotAnExport(self._lines)
        if not isinstance(found, EventLine):
            return
        self.size = max(self.size, found.index + 1)
        if found.event is not None:
            payload = found.payload
            self._take(
                found.index,
                found.event,
                None if payload is None else payload.arguments,
                None if payload is None else payload.result,
            )

    def records(self, rules: CountingRules, through: int) -> Sequence[ToolRecord]:
        """What the first `through` events come to, by the tool's name."""
        findings = [found_in(event) for event in self._events(through)]
        ended = {each.call_id: each for each in reversed(findings) if isinstance(each, Ended)}
        undone = self._undone(ended, [each for each in findings if isinstance(each, Undoing)], through)
        by_index = sorted(ended.values(), key=lambda each: each.index)
        tools: dict[str, Earning] = {each.tool: each.effect for each in by_index}
        return [
            ToolRecord(
                tool=tool,
                effect=effect,
                tally=tally_of(_counted([e for e in ended.values() if e.tool == tool], undone, rules), rules),
            )
            for tool, effect in sorted(tools.items())
        ]

    def _take(self, index: int, event: Json, arguments: str | None, result: str | None) -> None:
        kind, tool, mode = event["kind"], cast(str, event["tool"]), event["mode"]
        call_id, principal = _call(event["call_id"]), PrincipalId(UUID(cast(str, event["principal_id"])))
        recorded = Recorded(cast(str, event["xact_id"]), datetime.fromisoformat(cast(str, event["recorded_at"])))
        asked = event["approval_id"] is not None
        if kind == "tool.allowed":
            if asked:
                self._tickets[call_id] = recorded
            if tool == "approval_decide":
                self._decisions.setdefault(recorded.xact, []).append(
                    Decision(
                        event_id=cast(str, event["event_id"]),
                        recorded=recorded,
                        by=principal,
                        stands_in=_stands_in(cast(str, event["facts"])),
                    )
                )
            if mode == "person" and tool in UNDOES and arguments is not None:
                self._arguments[call_id] = arguments
        if kind not in ENDINGS:
            return
        if tool == REVIEW and mode == "agent" and result is not None:
            self._noted += _noted_in(result)
        seen = EventSeen(
            index=index,
            kind=cast(Kind, kind),
            call_id=call_id,
            tool=tool,
            effect=cast("Effect | None", event["effect"]),
            mode=cast("Literal['agent', 'person']", mode),
            at=datetime.fromisoformat(cast(str, event["occurred_at"])),
            principal_id=principal,
            asked=asked,
            decided_by=None,
            stands_in=False,
            arguments=None,
            result=result,
        )
        if kind == "tool.completed" or mode == "agent":
            self._seen.append((seen, recorded))

    def _events(self, through: int) -> Iterable[EventSeen]:
        for seen, recorded in self._seen:
            if seen.index < through:
                decision = self._decision(self._tickets.get(seen.call_id, recorded)) if seen.asked else None
                yield replace(
                    seen,
                    decided_by=None if decision is None else decision.by,
                    stands_in=decision is not None and decision.stands_in,
                    arguments=self._arguments.get(seen.call_id),
                )

    def _decision(self, recorded: Recorded) -> Decision | None:
        """The decision of the same transaction.

        A number that another cluster has come to again, in a restored database, is told apart by the hour.
        """
        decisions = self._decisions.get(recorded.xact, [])
        near = [each for each in decisions if abs(each.recorded.at - recorded.at) <= timedelta(hours=1)]
        return max(near, key=lambda each: each.event_id) if near else None

    def _undone(self, ended: dict[CallId, Ended], undoings: Sequence[Undoing], through: int) -> dict[CallId, datetime]:
        """When each call was undone first."""
        done_to: defaultdict[UUID, list[Ended]] = defaultdict(list)
        for each in ended.values():
            if each.made is not None:
                done_to[each.made].append(each)
        undone: dict[CallId, datetime] = {}
        for undoing in undoings:
            before = [
                each for each in done_to[undoing.thing] if each.tool in undoing.tools and each.index < undoing.index
            ]
            if before:
                undone.setdefault(max(before, key=lambda each: each.index).call_id, undoing.at)
        by_hand = {seen.call_id: seen for seen, _ in self._seen if seen.mode == "person" and seen.index < through}
        for call_id, by in self._noted:
            if by in by_hand and call_id in ended:
                undone.setdefault(call_id, by_hand[by].at)
        return undone


def _counted(calls: Iterable[Ended], undone: dict[CallId, datetime], rules: CountingRules) -> Sequence[CountedCall]:
    """The newest that count, oldest first."""
    counted: list[CountedCall] = []
    for call in sorted(calls, key=lambda call: call.index):
        is_undone = counts_as_reversed(call.at, undone.get(call.call_id), rules)
        mark = "reversed" if is_undone else call.mark
        if mark not in ("own", "unasked"):
            counted.append(CountedCall(call_id=call.call_id, ended_index=call.index, ended_at=call.at, mark=mark))
    return counted[-rules.window_calls :]


def _noted_in(result: str) -> Iterable[tuple[CallId, CallId]]:
    try:
        noted = cast("list[Json]", cast(Json, orjson.loads(result)).get("reversed", []))
        return [(_call(each["call_id"]), _call(each["by"])) for each in noted]
    except (ValueError, TypeError, KeyError, AttributeError):
        return []


def _stands_in(facts: str) -> bool:
    """Whether a decision was made by one of those who asked, or was, or could have been, in such a one's stead."""
    held = cast(Json, orjson.loads(facts))
    return held.get("approval_own") is True or held.get("approval_deputy_own") is True


def _call(text: object) -> CallId:
    return CallId(UUID(cast(str, text)))
