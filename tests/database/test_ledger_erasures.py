"""A payload that is not in an export: erased by a call that the record has, or taken away: then it does not hold."""

from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest

from domain.activity.model import SALT_BYTES, ActivityEvent, Payload
from domain.kernel import PrincipalId
from domain.ledger.findings import ErasedRow
from tests.database.test_ledger_export import ROWS, Desk, desk, rewritten, rows_of
from tests.support.firms import FIRM_A
from tests.support.ledger import KEY, event, record, seal
from tests.support.verifiers import Found, checked, lost_rows, payloads_of, printed, told

__all__ = ["desk"]

ALL = ROWS - 1
"""Rows of the desk's that carried something; row 5 did not."""


ODD_RESULTS = (
    "x",
    "[]",
    "{}",
    '{"erased":7}',
    '{"erased":[[]]}',
    '{"removed":{"activity_payloads":-1}}',
)


def batch(result: object) -> ActivityEvent:
    """A batch of an erasure that is done."""
    return batch_that_says(orjson.dumps(result).decode())


def batch_that_says(result: str) -> ActivityEvent:
    return replace(of_tool("privacy_erase_step", result), opens=False)


def of_tool(tool: str, result: str = '{"preference":{}}') -> ActivityEvent:
    return event(tool=tool, payload=Payload(salt=bytes(SALT_BYTES), result=result))


async def sealed(desk: Desk, *events: ActivityEvent) -> None:
    await record(desk.recorder, *events)
    await seal(desk.pools.service)


async def take(desk: Desk, *rows: int) -> Sequence[str]:
    """The events whose payloads are gone now."""
    ids = [desk.events[row].event_id for row in rows]
    await desk.inspector.execute("DELETE FROM activity_payloads WHERE event_id = ANY ($1::uuid[])", ids)
    return [str(each) for each in ids]


async def empty(desk: Desk, *events: ActivityEvent) -> None:
    """As where a preference is changed: the texts go, the salt stays."""
    await desk.inspector.execute(
        "UPDATE activity_payloads SET arguments = NULL, result = NULL WHERE event_id = ANY ($1::uuid[])",
        [each.event_id for each in events],
    )


async def test_what_an_erasure_of_the_record_names_is_erased_and_what_none_names_was_taken(desk: Desk) -> None:
    head = await desk.head()
    assert payloads_of(desk.file(await desk.lines())) == (ALL, 0)
    # A row may be sealed behind the batch that erased what it carried: that began before, and ended after.
    late = event()
    await sealed(desk, batch({"erased": [*await take(desk, 6, 3), str(late.event_id)]}))
    await sealed(desk, late)
    await desk.inspector.execute("DELETE FROM activity_payloads WHERE event_id = $1", late.event_id)
    path = desk.file(await desk.lines())
    assert checked(path, [head]) == Found(None)
    assert payloads_of(path) == (ALL - 2 + 1, 3)
    by = [ErasedRow(row=row, by=ROWS) for row in (3, 6, ROWS + 1)]
    assert list(lost_rows(path).by_batches) == by
    assert f"Erased by what row {ROWS} did: rows 3, 6, {ROWS + 1}.\n" in told(path)
    assert f"Row 6: erased by row {ROWS}.\n" in told(path, "--list-erased")
    await take(desk, 9)
    assert await desk.found([head]) == Found("payload", 9)
    # Without what the batch gave nobody says any more what it erased.
    await desk.inspector.execute(
        "DELETE FROM activity_payloads p USING activity_events e WHERE e.event_id = p.event_id AND e.tool = $1",
        "privacy_erase_step",
    )
    path = desk.file(await desk.lines())
    assert checked(path, [head]) == Found("payload", 3)
    assert f"what rows 3, 6, 9, {ROWS}, {ROWS + 1} carried or gave is not there" in printed(path)


async def test_of_erasures_recorded_before_they_named_rows_no_more_is_taken_for_erased_than_they_took(
    desk: Desk,
) -> None:
    await take(desk, 2, 4)
    await sealed(desk, batch({"removed": {"activity_payloads": 2, "messages": 9}}))
    path = desk.file(await desk.lines())
    lost = lost_rows(path)
    assert (lost.unnamed, lost.last_unnaming) == ([2, 4], ROWS)
    assert f"2 erased before row {ROWS}, by erasures that do not name their rows: rows 2, 4.\n" in told(path)
    # One that names rows stands beside them.
    await sealed(desk, batch({"erased": await take(desk, 7), "removed": {"activity_payloads": 1}}))
    assert await desk.found() == Found(None)
    await take(desk, 8)
    path = desk.file(await desk.lines())
    assert checked(path) == Found("payload", 2, 8)
    assert "those that name no rows took it from 2" in printed(path)


@pytest.mark.parametrize("said", ODD_RESULTS)
async def test_a_batch_that_says_nothing_that_can_be_read_covers_nothing(desk: Desk, said: str) -> None:
    await take(desk, 6)
    await sealed(desk, batch_that_says(said))
    assert await desk.found() == Found("payload", 6)


async def test_only_a_batch_that_is_done_covers_anything(desk: Desk) -> None:
    names = {"erased": await take(desk, 6)}
    await sealed(desk, replace(batch(names), kind="tool.previewed"), replace(batch(names), tool="task_list"))
    assert await desk.found() == Found("payload", 6)


async def test_a_preference_s_words_are_erased_where_the_same_person_has_changed_one(desk: Desk) -> None:
    said, other = of_tool("preference_set"), of_tool("preference_set")
    colleague = replace(of_tool("preference_forget"), principal_id=PrincipalId(FIRM_A.id("partner")))
    await sealed(desk, said, colleague)
    await empty(desk, said)
    assert await desk.found() == Found("payload", ROWS), "nobody but the person changes it"
    await sealed(desk, other)
    path = desk.file(await desk.lines())
    assert lost_rows(path).own_words == [ROWS]
    assert f"A preference's words, erased when the same person changed it: row {ROWS}.\n" in told(path)
    # Nothing but a preference's words goes so, and its salt stays.
    await empty(desk, desk.events[6])
    assert await desk.found() == Found("payload", 6)
    await desk.inspector.execute("DELETE FROM activity_payloads WHERE event_id = $1", said.event_id)
    path = desk.file(await desk.lines())
    assert checked(path) == Found("payload", 6)
    assert f"what rows 6, {ROWS} carried" in printed(path)


async def test_very_many_erased_rows_are_counted_and_a_few_named_unless_all_are_asked_for(desk: Desk) -> None:
    rows = [row for row in range(ROWS) if row != 5]
    await sealed(desk, batch({"erased": await take(desk, *rows)}))
    path = desk.file(await desk.lines())
    assert "rows 0, 1, 2, 3, 4, 6, 7, 8, 9, 10 and 4 more.\n" in told(path)
    assert "Row 14: " not in told(path)
    assert told(path, "--list-erased").count(": erased by row") == len(rows)


async def test_an_export_without_payloads_holds_none_and_says_what_it_leaves_out_and_that_nobody_signs_it(
    desk: Desk,
) -> None:
    first, *lines = await desk.lines()
    bent = first.replace(b'"payloads":true', b'"payloads":false')
    assert checked(desk.file([bent, *lines])) == Found("payload", 0)
    without = desk.file(await desk.lines(payloads=False))
    assert checked(without) == Found(None)
    shown = told(without)
    assert f"Holds: {ROWS} rows, 5 heads.\n" in shown
    assert "erased." not in shown
    assert f"Left out: what {ALL} of these rows carried or gave. The first line says so, which nobody signs" in shown


async def test_words_that_nobody_signs_are_said_to_be_so_and_stand_in_no_line_of_their_own(desk: Desk) -> None:
    header = {
        "exported_at": "1999-01-01T00:00:00.000000Z",
        "organization_id": "mine\nHolds: 9 rows",
        "payloads": True,
        "size": 0,
        "type": "ledger",
        "version": 1,
    }
    first = orjson.dumps(header, option=orjson.OPT_SORT_KEYS) + b"\n"
    shown = told(desk.file([first]))
    assert "Organization mine\\nHolds: 9 rows, as the first line says, which nobody signs.\n" in shown
    assert "1999" not in shown
    broken = orjson.dumps({"type": "broken_off", "why": "late\nHolds: 9 rows"}, option=orjson.OPT_SORT_KEYS) + b"\n"
    path = desk.file([first, broken])
    assert checked(path) == Found("truncated", 0)
    assert "which nobody signs, says why: late\\nHolds" in printed(path)
    proof = told(desk.json(await desk.proof()))
    assert "Not signed: that the call has no other rows, but 0 that are not sealed yet.\n" in proof


async def test_an_export_ends_in_words_where_something_was_erased_that_its_rows_cannot_say(desk: Desk) -> None:
    await record(desk.recorder, batch({"erased": await take(desk, 6), "removed": {"activity_payloads": 1}}))
    lines = await desk.lines()
    assert "export again" in orjson.loads(lines[-1])["why"]
    assert checked(desk.file(lines)) == Found("truncated", ROWS)
    assert checked(desk.file(await desk.lines(payloads=False))) == Found(None)
    await seal(desk.pools.service)
    assert await desk.found() == Found(None)
    # So with the first change of a preference; the next one is told by this one.
    said, changes = of_tool("preference_set"), [of_tool("preference_forget"), of_tool("preference_forget")]
    await sealed(desk, replace(said, opens=False))
    await empty(desk, said)
    await record(desk.recorder, replace(changes[0], opens=False))
    assert (await desk.found()).code == "truncated"
    await sealed(desk)
    assert await desk.found() == Found(None)
    await record(desk.recorder, replace(changes[1], opens=False))
    assert await desk.found() == Found(None)


async def test_rows_that_are_one_event_are_not_covered_by_one_name(desk: Desk) -> None:
    """Whoever signs by a key of their own may write what no database holds."""
    await sealed(desk, batch({"erased": [str(desk.events[2].event_id)]}))
    lines = await desk.lines()
    second, third = (orjson.loads(lines[at]) for at in rows_of(lines)[2:4])
    both = [{**second, "payload": None}, {**second, "payload": None, "index": third["index"]}]
    for at, line in zip(rows_of(lines)[2:4], both, strict=True):
        lines[at] = orjson.dumps(line)
    assert checked(desk.file(rewritten(lines, ROWS + 1, KEY))) == Found("payload", 3)
