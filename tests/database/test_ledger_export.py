"""An export, mutated in every way that a stranger would look for: both verifiers name the same first bad row."""

import asyncio
import json
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import orjson
import pytest

from domain.activity.model import SALT_BYTES, ActivityEvent, EventKind, Payload
from domain.kernel import CallId, Effect, OrganizationId, Outcome, PrincipalId, Role
from domain.ledger.model import CHAIN_START, Head, Key, canonical, chained
from domain.ledger.service import LargerThanSealed, NotInThisFormat
from domain.ledger.tree import Frontier, leaf_hash
from domain.ledger.wire import HeadLine
from server.database.connection import Connection
from server.database.pool import DatabasePools
from server.database.unit_of_work import PostgresTransactions, Session
from server.exports import exported
from server.signing import LedgerKey
from tests.support.firms import FIRM_A, FIRM_B, Firm, seed_firms
from tests.support.ledger import KEY, ODD, OTHER_KEY, event, odd_event, record, seal
from tests.support.ocsf import faults_of
from tests.support.verifiers import STANDALONE, Found, checked, key_changes, printed
from tools.workflows import Workflows

AT = datetime(2026, 11, 29, tzinfo=UTC)
BATCHES = (3, 1, 4, 2, 5)
"""Events sealed at a time; each batch ends with a head."""
ROWS = sum(BATCHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Two firms' ledgers, and who reads them."""

    transactions: PostgresTransactions
    pools: DatabasePools
    recorder: Connection
    inspector: Connection
    events: Sequence[ActivityEvent]
    """Of the first firm, in their order."""
    folder: Path

    def session(self, who: str = "partner", firm: Firm = FIRM_A) -> AbstractAsyncContextManager[Session]:
        return self.transactions.session(OrganizationId(firm.organization_id), PrincipalId(firm.id(who)))

    async def lines(self, who: str = "partner", firm: Firm = FIRM_A, *, payloads: bool = True) -> list[bytes]:
        """The export, line by line."""
        async with self.session(who, firm) as session:
            head = await session.work.ledger.head()
        asked = {"size": 0 if head is None else head.statement.size, "payloads": payloads}
        opening = partial(self.session, who, firm)
        written = [some async for some in exported(opening, OrganizationId(firm.organization_id), asked, AT)]
        return b"".join(written).splitlines(keepends=True)

    def file(self, lines: Sequence[bytes], name: str = "export.ndjson") -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(lines))
        return path

    async def head(self, name: str = "head.json", since: int | None = None) -> Path:
        """The newest head, kept in a file as `glow audit head` prints it."""
        async with self.session() as session:
            head = await session.work.ledger.head()
            assert head is not None
            key, rotations = await session.work.ledger.signer_of(head)
            shown: dict[str, object] = {
                "organization_id": str(FIRM_A.organization_id),
                "head": head.members(),
                "key": cast(Key, key).members(),
                "rotations": [each.members() for each in rotations],
            }
            if since is not None:
                path = await session.work.ledger.consistency(since, head.statement.size)
                shown |= {"since": since, "consistency": [each.hex() for each in path]}
        return self.file([json.dumps(shown, indent=2).encode()], name)

    async def tied_proof(self, since: int, row: int = 9) -> dict[str, Any]:
        """What `glow audit prove --since` prints."""
        proof = await self.proof(row)
        async with self.session() as session:
            path = await session.work.ledger.consistency(since, proof["head"]["size"])
        return {**proof, "since": since, "consistency": [each.hex() for each in path]}

    async def proof(self, row: int = 9, who: str = "partner") -> dict[str, Any]:
        """What `glow audit prove` prints of a row's call."""
        call_id = CallId(self.events[row].call_id)
        async with self.session(who) as session:
            proof = await session.work.ledger.proof(call_id)
        return {
            "type": "proof",
            "version": 1,
            "call_id": str(call_id),
            "head": cast(Head, proof.head).members(),
            "key": cast(Key, proof.key).members(),
            "rotations": [each.members() for each in proof.rotations],
            "events": [
                {
                    "index": each.index,
                    "leaf": each.leaf.hex(),
                    "path": [hash.hex() for hash in each.path],
                    "event": orjson.loads(each.text),
                }
                for each in proof.events
            ],
            "unsealed": proof.unsealed,
        }

    def json(self, shown: object, name: str = "proof.json") -> Path:
        return self.file([json.dumps(shown, indent=1).encode()], name)

    async def found(self, kept: Sequence[Path] = (), key_ids: Sequence[str] = ()) -> Found:
        """What is found in an export made now."""
        return checked(self.file(await self.lines()), kept, key_ids)


@pytest.fixture
async def desk(
    pools: DatabasePools,
    owner_connection: Connection,
    recorder_connection: Connection,
    superuser_connection: Connection,
    tmp_path: Path,
) -> Desk:
    await seed_firms(owner_connection)
    await owner_connection.execute(
        "DELETE FROM activity_payloads; DELETE FROM activity_events; DELETE FROM ledger_rotations;"
        "DELETE FROM ledger_heads; DELETE FROM ledger_keys; DELETE FROM ledger_nodes; DELETE FROM ledger_leaves"
    )
    events = [
        event(payload=Payload(salt=bytes([n]) * SALT_BYTES, arguments=f'{{"n":{n}}}', result=ODD)) for n in range(ROWS)
    ]
    events[5] = replace(odd_event(), payload=None)
    start = 0
    for size in BATCHES:
        await record(recorder_connection, *events[start : start + size], event(FIRM_B))
        await seal(pools.service)
        start += size
    return Desk(
        transactions=PostgresTransactions(pools.app, Workflows(())),
        pools=pools,
        recorder=recorder_connection,
        inspector=superuser_connection,
        events=events,
        folder=tmp_path,
    )


def rows_of(lines: Sequence[bytes]) -> list[int]:
    """The places of event lines."""
    return [at for at, line in enumerate(lines) if line.endswith(b'"type":"event"}\n')]


def batch_of(row: int) -> tuple[int, int]:
    """The first and the last row under the head that covers a row first."""
    start = 0
    for size in BATCHES:
        if row < start + size:
            return start, start + size - 1
        start += size
    raise IndexError(row)


def rewritten(lines: Sequence[bytes], row: int, key: LedgerKey | None = None) -> list[bytes]:
    """The lines as whoever changes a row makes all after it fit; with a key, the heads too."""
    frontier, chain, written = Frontier(), CHAIN_START, list[bytes]()
    for line in lines:
        shown = orjson.loads(line)
        if shown["type"] == "event":
            if shown["index"] == row:
                shown["event"]["tool"] = "task_get"
            leaf = leaf_hash(canonical(shown["event"]))
            frontier.append(leaf)
            chain = chained(chain, leaf)
            shown |= {"leaf": leaf.hex(), "chain": chain.hex()}
        elif key is not None and shown["type"] == "key":
            shown |= {"key_id": key.key_id, "public_key": key.public_key.hex()}
        elif key is not None and shown["type"] == "head":
            shown |= {"root": frontier.root.hex(), "chain": chain.hex(), "key_id": key.key_id}
            head = HeadLine.model_validate(shown)
            shown["signature"] = key.sign(head.signed_bytes()).hex()
        written.append(canonical(shown) + b"\n")
    return written


async def test_an_export_holds_with_payloads_and_without_and_of_each_organization_alone(desk: Desk) -> None:
    for firm in (FIRM_A, FIRM_B):
        for payloads in (True, False):
            lines = await desk.lines(firm=firm, payloads=payloads)
            assert checked(desk.file(lines)) == Found(None)
            shown = [orjson.loads(line) for line in lines]
            assert {each["event"]["organization_id"] for each in shown if each["type"] == "event"} == {
                str(firm.organization_id)
            }
            assert any(each.get("payload") for each in shown) == payloads
    lines = await desk.lines()
    assert [orjson.loads(lines[at])["event"]["event_id"] for at in rows_of(lines)] == [
        str(each.event_id) for each in desk.events
    ]


async def test_a_flipped_byte_is_found_at_its_row(desk: Desk) -> None:
    lines = await desk.lines()
    chosen = random.Random(5)
    for row, at in enumerate(rows_of(lines)):
        line = lines[at]
        for place in {0, len(line) - 1, *chosen.sample(range(len(line)), 12)}:
            for bit in (1, 32):
                bent = line[:place] + bytes([line[place] ^ bit]) + line[place + 1 :]
                found = checked(desk.file([*lines[:at], bent, *lines[at + 1 :]]))
                assert (found.code is not None, found.row) == (True, row), (row, place, bit)


async def test_a_flipped_byte_in_a_head_or_a_key_is_found(desk: Desk) -> None:
    lines = await desk.lines(payloads=False)
    chosen = random.Random(6)
    for at, line in enumerate(lines):
        if b'"type":"head"' not in line:
            continue
        for place in chosen.sample(range(len(line)), 30):
            bent = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
            assert checked(desk.file([*lines[:at], bent, *lines[at + 1 :]])).code is not None, (at, place)
    (key,) = (at for at, line in enumerate(lines) if b'"type":"key"' in line)
    another = lines[key].replace(KEY.public_key.hex().encode(), OTHER_KEY.public_key.hex().encode())
    assert checked(desk.file([*lines[:key], another, *lines[key + 1 :]])).code == "key"


async def test_a_deleted_a_doubled_a_moved_and_an_inserted_row_are_found_at_their_row(desk: Desk) -> None:
    lines = await desk.lines()
    places = rows_of(lines)
    foreign = await desk.lines(firm=FIRM_B)
    for row, at in enumerate(places):
        assert checked(desk.file([*lines[:at], *lines[at + 1 :]])).row == row
        assert checked(desk.file([*lines[: at + 1], lines[at], *lines[at + 1 :]])).row == row + 1
        forged = lines[at].replace(b'"tool":"task_list"', b'"tool":"task_lost"')
        assert checked(desk.file([*lines[:at], forged, *lines[at:]])) == Found("leaf", row)
        for other in places[:row]:
            swapped = list(lines)
            swapped[at], swapped[other] = lines[other], lines[at]
            assert checked(desk.file(swapped)).row == places.index(other)
        theirs = foreign[rows_of(foreign)[0]]
        assert checked(desk.file([*lines[:at], theirs, *lines[at:]])).row == row


async def test_a_row_that_was_made_to_fit_itself_is_found_by_the_chain(desk: Desk) -> None:
    lines = await desk.lines()
    for row, at in enumerate(rows_of(lines)):
        shown = orjson.loads(lines[at])
        shown["event"]["tool"] = "task_get"
        text = orjson.dumps(shown["event"], option=orjson.OPT_SORT_KEYS)
        shown["leaf"] = leaf_hash(text).hex()
        forged = orjson.dumps(shown, option=orjson.OPT_SORT_KEYS) + b"\n"
        assert checked(desk.file([*lines[:at], forged, *lines[at + 1 :]])) == Found("chain", row)


async def test_a_history_that_was_made_to_fit_is_found_between_two_heads(desk: Desk) -> None:
    lines = await desk.lines()
    for row in range(ROWS):
        first, last = batch_of(row)
        assert checked(desk.file(rewritten(lines, row))) == Found("root", first, last)


async def test_a_file_that_was_cut_off_is_found_at_the_first_row_that_is_missing(desk: Desk) -> None:
    lines = await desk.lines()
    head = await desk.head()
    for row, at in enumerate(rows_of(lines)):
        assert checked(desk.file(lines[:at])) == Found("truncated", row, ROWS - 1)
        assert checked(desk.file([*lines[:at], lines[at][:-1]])).row == row
    # Whoever cuts it at a head and says that there never was more is found by a head that was kept.
    for size in (3, 4, 8, 10):
        end = next(at for at, line in enumerate(lines) if f'"size":{size},"type":"head"'.encode() in line)
        shorter = [lines[0].replace(f'"size":{ROWS}'.encode(), f'"size":{size}'.encode()), *lines[1 : end + 1]]
        assert checked(desk.file(shorter)) == Found(None)
        assert checked(desk.file(shorter), [head]) == Found("truncated", size, ROWS - 1)
    assert checked(desk.file(lines), [head]) == Found(None)
    assert checked(desk.file([])).code == "unreadable"


async def test_who_has_the_key_too_is_found_by_a_head_that_was_kept_and_who_has_another_by_its_id(desk: Desk) -> None:
    lines, head = await desk.lines(), await desk.head()
    again = rewritten(lines, 6, KEY)
    assert checked(desk.file(again)) == Found(None)
    assert checked(desk.file(again), [head]) == Found("kept_head", 0, ROWS - 1)
    others = rewritten(lines, 6, OTHER_KEY)
    assert checked(desk.file(others)) == Found(None)
    assert checked(desk.file(others), [], [KEY.key_id]).code == "key"
    assert checked(desk.file(lines), [head], [KEY.key_id]) == Found(None)


async def test_what_is_recorded_later_goes_on_from_every_earlier_head(desk: Desk) -> None:
    kept = [await desk.head("kept-0.json")]
    for number in range(1, 4):
        await record(desk.recorder, event())
        await seal(desk.pools.service)
        assert checked(await desk.head(since=ROWS), kept[:1]) == Found(None)
        kept.append(await desk.head(f"kept-{number}.json"))
    assert await desk.found(kept) == Found(None)
    without = await desk.head()
    assert checked(without, kept[:1]) == Found("kept_head")
    bent = kept[0].read_text().replace(orjson.loads(kept[0].read_bytes())["head"]["root"], "0" * 64)
    other = desk.file([bent.encode()], "bent.json")
    assert checked(await desk.head(since=ROWS), [other]) == Found("kept_head", 0, ROWS - 1)
    assert checked(kept[0], [kept[1]]).code == "kept_head"
    async with desk.session() as session:
        with pytest.raises(LargerThanSealed):
            await session.work.ledger.consistency(10**6, ROWS)


async def test_a_head_is_held_to_its_key_and_to_the_one_that_was_named(desk: Desk) -> None:
    path = await desk.head()
    assert checked(path, [], [KEY.key_id]) == Found(None)
    assert checked(path, [], [OTHER_KEY.key_id]).code == "key"
    shown = orjson.loads(path.read_bytes())
    shown["head"]["signature"] = "0" * 128
    assert checked(desk.file([orjson.dumps(shown)], "forged.json"), [path]).code == "signature"
    for key_ids in ([], [KEY.key_id]):
        without = {name: value for name, value in shown.items() if name != "key"}
        assert checked(desk.file([orjson.dumps(without)], "keyless.json"), [path], key_ids).code == "key"
    none: dict[str, object] = {"organization_id": shown["organization_id"], "head": None, "key": None, "rotations": []}
    assert checked(desk.file([orjson.dumps(none)], "none.json")).code == "unsealed"
    # Whoever rotated since vouches for the key of today's by the head alone.
    await go_on(desk, OTHER_KEY, [KEY])
    assert checked(await desk.head(), [], [KEY.key_id]) == Found(None)


async def go_on(desk: Desk, key: LedgerKey, previous: Sequence[LedgerKey] = ()) -> None:
    """One more event, sealed by that key."""
    await record(desk.recorder, event())
    await seal(desk.pools.service, key, previous=previous)


async def test_a_key_that_the_one_before_vouches_for_is_trusted_as_that_is(desk: Desk) -> None:
    await go_on(desk, OTHER_KEY, [KEY])
    await go_on(desk, OTHER_KEY)
    lines = await desk.lines()
    path = desk.file(lines)
    assert key_changes(path) == [(KEY.key_id, OTHER_KEY.key_id, ROWS + 1, True, 1)]
    assert checked(path, [], [KEY.key_id]) == Found(None)
    (at,) = (at for at, line in enumerate(lines) if b'"type":"rotation"' in line)
    assert lines[at - 1].endswith(f'"size":{ROWS},"type":"head","version":1}}\n'.encode())
    chosen = random.Random(7)
    for place in chosen.sample(range(len(lines[at])), 60):
        bent = lines[at][:place] + bytes([lines[at][place] ^ 1]) + lines[at][place + 1 :]
        assert checked(desk.file([*lines[:at], bent, *lines[at + 1 :]])).code is not None, place
    # At another place, or of an organization that it was not signed for, it vouches for nothing.
    assert checked(desk.file([*lines[: at - 2], lines[at], *lines[at - 2 : at], *lines[at + 1 :]])).code == "rotation"
    vouched = await desk.proof()
    assert checked(desk.json(vouched), [], [KEY.key_id]) == Found(None)
    assert checked(desk.json({**vouched, "rotations": []}), [], [KEY.key_id]).code == "key"
    bent = json.dumps(vouched).replace(vouched["rotations"][0]["from_signature"], "0" * 128)
    assert checked(desk.file([bent.encode()], "proof.json")).code == "rotation"


async def test_a_key_that_nobody_vouches_for_is_told_apart_and_not_trusted(desk: Desk) -> None:
    for key in (OTHER_KEY, KEY, OTHER_KEY):
        await go_on(desk, key)
    path = desk.file(await desk.lines())
    assert key_changes(path) == [
        (KEY.key_id, OTHER_KEY.key_id, ROWS + 1, False, 2),
        (OTHER_KEY.key_id, KEY.key_id, ROWS + 2, False, 1),
    ]
    assert checked(path) == Found(None)
    assert checked(path, [], [KEY.key_id]) == Found("key", ROWS, ROWS)
    said = await asyncio.to_thread(ran, [sys.executable, str(STANDALONE), str(path)])
    assert said.returncode == 0
    assert f"WARNING: the key changed from {KEY.key_id} to {OTHER_KEY.key_id}" in said.stdout
    assert "(2 times), and the one before has NOT signed that" in said.stdout
    machine = await asyncio.to_thread(ran, [sys.executable, str(STANDALONE), str(path), "--json"])
    assert [each["endorsed"] for each in json.loads(machine.stdout)["key_changes"]] == [False, False]


async def test_a_rotation_that_was_taken_out_vouches_for_nothing_any_more(desk: Desk) -> None:
    await go_on(desk, OTHER_KEY, [KEY])
    lines = [line for line in await desk.lines() if b'"type":"rotation"' not in line]
    assert checked(desk.file(lines), [], [KEY.key_id]) == Found("key", ROWS, ROWS)
    assert [endorsed for *_, endorsed, _ in key_changes(desk.file(lines))] == [False]


async def test_heads_kept_line_by_line_in_one_file_hold_each_organization_to_its_own(desk: Desk) -> None:
    lines = await desk.lines()
    heads = [line for line in lines if b'"type":"head"' in line]
    theirs = [line for line in await desk.lines(firm=FIRM_B) if b'"type":"head"' in line]
    kept = desk.file([*heads[:2], b'{"torn', b"\n", *theirs, *heads[2:]], "heads.ndjson")
    path = desk.file(lines)
    assert checked(path, [kept]) == Found(None)
    assert checked(desk.file(rewritten(lines, 6, KEY)), [kept]) == Found("kept_head", 4, 7)
    assert checked(desk.file(lines), [desk.file(theirs, "theirs.ndjson")]).code == "organization"
    other = orjson.loads(heads[1])
    other["root"] = "0" * 64
    both = desk.file([*heads, canonical(other), b"\n"], "heads.ndjson")
    assert checked(path, [both]).code == "kept_head"


async def test_a_call_is_proved_to_whoever_made_it_and_a_bent_proof_proves_nothing(desk: Desk) -> None:
    shown = await desk.proof(9, "employee")
    (proved,) = shown["events"]
    assert proved["index"] == 9
    whole = json.dumps(shown, indent=1)
    assert checked(desk.json(shown), [await desk.head()]) == Found(None)
    for bent in (
        whole.replace('"task_list"', '"task_lost"'),
        whole.replace('"index": 9', '"index": 8'),
        whole.replace(proved["path"][1], "0" * 64),
    ):
        assert checked(desk.file([bent.encode()], "proof.json")) == Found(
            "proof", orjson.loads(bent)["events"][0]["index"]
        )
    unsigned = whole.replace(shown["head"]["signature"], "0" * 128)
    assert checked(desk.file([unsigned.encode()], "proof.json")).code == "signature"


async def test_a_proof_without_events_without_a_head_or_of_another_organization_proves_nothing(desk: Desk) -> None:
    shown = await desk.proof()
    assert checked(desk.json({**shown, "events": []})) == Found("unsealed")
    assert checked(desk.json({**shown, "head": None})) == Found("unsealed")
    assert checked(desk.json({**shown, "head": None, "key": None, "events": [], "unsealed": 3})) == Found("unsealed")
    nameless = {name: value for name, value in shown.items() if name != "call_id"}
    assert "does not say of which call" in printed(desk.json(nameless))
    shown["events"][0]["event"]["organization_id"] = str(FIRM_B.organization_id)
    assert checked(desk.json(shown)) == Found("organization", 9)


def forged_proof(desk: Desk, key: LedgerKey) -> dict[str, Any]:
    """Of a call that never was, in a record of one event, signed by a key."""
    call_id = str(desk.events[0].event_id)
    event = {"call_id": call_id, "organization_id": str(FIRM_A.organization_id), "tool": "release_submit"}
    leaf = leaf_hash(canonical(event))
    head = HeadLine(
        chain="0" * 64,
        key_id=key.key_id,
        organization_id=str(FIRM_A.organization_id),
        root=leaf.hex(),
        sealed_at="2026-11-29T00:00:00.000000Z",
        signature="0" * 128,
        size=1,
        type="head",
        version=1,
    )
    signature = key.sign(head.signed_bytes()).hex()
    known = {"from_size": 1, "introduced_at": "x", "key_id": key.key_id, "public_key": key.public_key.hex()}
    return {
        "type": "proof",
        "version": 1,
        "call_id": call_id,
        "head": head.model_dump() | {"signature": signature},
        "key": known | {"type": "key"},
        "rotations": [],
        "events": [{"event": event, "index": 0, "leaf": leaf.hex(), "path": []}],
        "unsealed": 0,
    }


async def test_a_kept_head_of_another_size_is_never_dropped_in_silence(desk: Desk) -> None:
    kept, proof = await desk.head("kept.json"), desk.json(await desk.proof(9), "proof.json")
    forged = desk.json(forged_proof(desk, KEY), "forged.json")
    assert checked(forged) == Found(None), "whoever has the key can sign what they like"
    assert checked(forged, [kept], [KEY.key_id]) == Found("kept_head")
    assert f"nothing ties this head of size 1 to the kept one of size {ROWS}" in printed(forged, [kept])
    assert "`glow audit head --since 1`" in printed(forged, [kept])
    await go_on(desk, KEY)
    first = await desk.head("first.json", since=ROWS)
    # An older proof is of the beginning of a newer head; so is a forged one not, whatever is shown with it.
    newer = await desk.head("newer.json")
    assert checked(proof, [newer]) == Found("kept_head")
    assert checked(proof, [newer], [KEY.key_id], [first]) == Found(None)
    assert checked(forged, [newer], [], [await desk.head("since.json", since=1)]) == Found("kept_head", 0, 0)
    await go_on(desk, KEY)
    second = await desk.head("second.json", since=ROWS + 1)
    late = desk.json(await desk.proof(9), "late.json")
    assert checked(late, [kept]) == Found("kept_head")
    assert checked(late, [kept], [], [second]) == Found("kept_head"), "the link before it is missing"
    assert f"`glow audit head --since {ROWS + 1}`" in printed(late, [kept], consistency=[first]), "the next to ask for"
    # kept -> first -> second, in whatever order they are named, and beside other firms' heads.
    assert checked(late, [kept], [KEY.key_id], [second, first]) == Found(None)
    # Each file's newest head counts: one that holds excuses none that nothing ties to the proof.
    torn = orjson.loads(kept.read_bytes())
    torn["head"]["root"] = "0" * 64
    assert checked(late, [kept, desk.json(torn, "torn.json")], [], [second, first]).code == "kept_head"
    assert checked(late, [desk.json(forged_proof(desk, KEY), "other.json")], [], [second, first]).code == "kept_head"


async def test_a_proof_may_tie_itself_to_the_kept_head_whatever_the_record_has_grown_by(desk: Desk) -> None:
    kept = await desk.head("kept.json")
    await go_on(desk, KEY)
    shown = await desk.tied_proof(ROWS)
    tied = desk.json(shown, "tied.json")
    await go_on(desk, KEY)
    # Of another size than the proof's head, as it is wherever the record is used.
    later = await desk.head("later.json", since=ROWS)
    untied = desk.json(await desk.proof(9), "untied.json")
    assert checked(tied, [kept], [KEY.key_id]) == Found(None)
    assert checked(tied, [kept], [KEY.key_id], [later]) == Found(None)
    assert checked(untied, [kept]) == Found("kept_head")
    assert f"`glow audit prove CALL_ID --since {ROWS}`" in printed(untied, [kept])
    path = cast("list[str]", shown["consistency"])
    changed: dict[str, Any] = {**shown, "consistency": [*path[:-1], "0" * 64]}
    assert checked(desk.json(changed, "changed.json"), [kept]) == Found("kept_head", 0, ROWS - 1)
    assert checked(desk.json(await desk.tied_proof(ROWS - 1), "other.json"), [kept]) == Found("kept_head")
    forged: dict[str, Any] = {**forged_proof(desk, KEY), "since": ROWS, "consistency": []}
    assert checked(desk.json(forged, "forged.json"), [kept]).code == "kept_head"


async def test_a_row_that_no_kept_head_covers_is_told_of(desk: Desk) -> None:
    kept = await desk.head("kept.json")
    await go_on(desk, KEY)
    link = await desk.head("newer.json", since=ROWS)
    async with desk.session() as session:
        (last,) = (await session.work.ledger.rows(ROWS, ROWS + 1, payloads=False)).events
    call_id = CallId(UUID(orjson.loads(cast(str, last.text))["call_id"]))
    newest = replace(desk.events[0], call_id=call_id)
    later = replace(desk, events=[*desk.events, newest])
    proof = desk.json(await later.proof(ROWS))
    assert checked(proof, [kept], [], [link]) == Found(None, newer=1)
    assert checked(proof, [link]) == Found(None)


async def test_who_reads_the_record_of_none_exports_no_row(desk: Desk) -> None:
    for who in ("employee", "client", "service"):
        lines = await desk.lines(who)
        own = sum(each.principal_id == FIRM_A.id(who) for each in desk.events)
        assert len(rows_of(lines)) == own


async def test_an_export_of_which_the_database_was_lost_says_so(desk: Desk) -> None:
    opened = 0

    def opening() -> AbstractAsyncContextManager[Session]:
        nonlocal opened
        opened += 1
        if opened > 1:
            raise ConnectionResetError
        return desk.session()

    asked = {"size": ROWS, "payloads": False}
    written = [some async for some in exported(opening, OrganizationId(FIRM_A.organization_id), asked, AT)]
    lines = b"".join(written).splitlines(keepends=True)
    assert orjson.loads(lines[-1])["type"] == "broken_off"
    assert checked(desk.file(lines)) == Found("truncated", 0)


def ran(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_the_file_for_strangers_runs_by_itself_and_checks_signatures_without_any_package(desk: Desk) -> None:
    path, head = desk.file(await desk.lines()), await desk.head()
    command = [sys.executable, "-I", "-S", str(STANDALONE), str(path), "--head", str(head)]
    well = await asyncio.to_thread(ran, command)
    assert (well.returncode, well.stderr) == (0, "")
    assert f"{ROWS} rows" in well.stdout
    assert f"Signed by key {KEY.key_id}" in well.stdout
    lines = await desk.lines()
    unsigned = [re.sub(rb'"signature":"........', b'"signature":"00000000', line) for line in lines]
    desk.file(unsigned)
    forged = await asyncio.to_thread(ran, [*command, "--json"])
    assert (forged.returncode, json.loads(forged.stdout)["fault"]["code"]) == (1, "signature")
    at = rows_of(lines)[7]
    desk.file([*lines[:at], *lines[at + 1 :]])
    ill = await asyncio.to_thread(ran, [*command, "--json"])
    assert (ill.returncode, json.loads(ill.stdout)["fault"]["row"]) == (1, 7)


KINDS: dict[EventKind, Outcome | None] = {
    "tool.allowed": None,
    "tool.completed": "done",
    "tool.failed": "failed",
    "tool.cancelled": "cancelled",
    "tool.denied": "denied",
    "tool.invalid": "invalid",
    "tool.waiting": "waiting",
    "tool.previewed": "dry_run",
    "tool.rejected": "rejected",
    "tool.expired": "expired",
}
TOOLS: dict[str, Effect | None] = {
    "task_list": "read",
    "task_create": "prepare",
    "task_update": "prepare",
    "document_delete": "commit",
    "signoff_record": "commit",
    "release_submit": "irreversible",
    "no_such": None,
}


async def for_siem(desk: Desk, since: int = 0) -> list[dict[str, Any]]:
    async with desk.session() as session:
        head = await session.work.ledger.head_to_export(for_siem=True, payloads=False, since=since)
    assert head is not None
    asked = {"size": head.statement.size, "payloads": False, "format": "ocsf", "since": since}
    written = [some async for some in exported(desk.session, OrganizationId(FIRM_A.organization_id), asked, AT)]
    return [orjson.loads(line) for line in b"".join(written).splitlines()]


async def test_a_siem_is_given_every_event_once_as_ocsf_has_it_and_goes_on_from_where_it_was(desk: Desk) -> None:
    made = [
        replace(
            event(tool=tool),
            kind=kind,
            opens=True,
            effect=effect,
            outcome=outcome,
            role=Role.MANAGER if effect else None,
            decision="deny" if outcome == "denied" else "allow" if effect else None,
            reasons=("role_too_low", "four_eyes_needed") if outcome == "denied" else (),
            error_code="denied" if outcome == "denied" else None,
            principal_kind="person" if effect else "service_account",
            policy_digest=b"\x02",
        )
        for kind, outcome in KINDS.items()
        for tool, effect in TOOLS.items()
    ]
    await record(desk.recorder, *made)
    await seal(desk.pools.service)
    whole = await for_siem(desk)
    assert [fault for each in whole for fault in faults_of(each)] == []
    assert [each["metadata"]["uid"] for each in whole] == [str(each.event_id) for each in (*desk.events, *made)]
    assert [each["metadata"]["sequence"] for each in whole] == list(range(len(whole)))
    assert await for_siem(desk, ROWS) == whole[ROWS:]
    denied = next(each for each in whole if each["metadata"]["event_code"] == "tool.denied")
    assert (denied["status_id"], denied["status_code"], denied["severity"]) == (2, "denied", "Low")
    assert [each["policy"]["name"] for each in denied["actor"]["authorizations"]] == [
        "role_too_low",
        "four_eyes_needed",
    ]
    assert {each["severity"] for each in whole if each["api"]["operation"] == "release_submit"} == {"Medium"}
    at = desk.events[0].occurred_at
    assert (whole[0]["time"], whole[0]["activity_id"]) == (int(at.timestamp() * 1000), 2)


async def test_what_an_export_for_a_siem_is_not_is_refused_or_said(desk: Desk) -> None:
    async with desk.session() as session:
        for siem, payloads, since in ((True, True, None), (False, False, 1)):
            with pytest.raises(NotInThisFormat):
                await session.work.ledger.head_to_export(for_siem=siem, payloads=payloads, since=since)
        with pytest.raises(LargerThanSealed):
            await session.work.ledger.head_to_export(for_siem=True, payloads=False, since=ROWS + 1)

    def lost() -> AbstractAsyncContextManager[Session]:
        raise ConnectionResetError

    asked = {"size": ROWS, "payloads": False, "format": "ocsf", "since": 0}
    written = [some async for some in exported(lost, OrganizationId(FIRM_A.organization_id), asked, AT)]
    (line,) = b"".join(written).splitlines()
    assert (faults_of(orjson.loads(line)), orjson.loads(line)["status"]) == ([], "Failure")
