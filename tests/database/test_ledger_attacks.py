"""What whoever owns the database may do to the record, one by one: the next export gives each away, at its row.

docs/for-your-auditor.md shows the same list with what the verifier prints; this holds it to that.
"""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from domain.kernel import OrganizationId
from domain.ledger.model import CHAIN_START, Statement, Succession, chained
from domain.ledger.tree import Frontier, leaf_hash
from server.signing import LedgerKey
from tests.database.test_ledger_export import AT, ROWS, Desk, desk
from tests.support.firms import FIRM_A, FIRM_B
from tests.support.ledger import KEY, OTHER_KEY
from tests.support.verifiers import Found, checked, printed

__all__ = ["desk"]

PAGE = (Path(__file__).parents[2] / "docs" / "for-your-auditor.md").read_text(encoding="utf-8")
SHOWN = {name.strip(): words for name, words in re.findall(r"^\| ([^|`]+) \| `([^`]+)` \|$", PAGE, re.MULTILINE)}

ROW = 6
"""The row that is attacked, of fifteen under heads of sizes 3, 4, 8, 10 and 15; `:event` is its event."""

Attack = str | Callable[[Desk], Awaitable[None]]


def changed(what: str) -> tuple[Attack, Found]:
    return f"UPDATE activity_events SET {what} WHERE event_id = :event", Found("leaf", ROW)


def removed(row: int) -> tuple[Attack, Found]:
    of_row = f"SELECT event_id FROM ledger_leaves WHERE organization_id = :org AND leaf_index = {row}"
    return f"DELETE FROM activity_events WHERE event_id = ({of_row})", Found("missing", row)


TEXT = "sha256('\\x00'::bytea || convert_to(glow.event_text({}), 'UTF8'))"
TAIL = "WHERE organization_id = :org AND leaf_index >= 10"


async def rewrite(desk: Desk, key: LedgerKey | None) -> None:
    """Change a row, and make everything after it fit; with a key, sign all heads anew by it."""
    inspector, organization = desk.inspector, FIRM_A.organization_id
    await inspector.execute(
        "UPDATE activity_events SET outcome = 'denied' WHERE event_id = $1", desk.events[ROW].event_id
    )
    rows = await inspector.fetch(
        "SELECT l.leaf_index, glow.event_text(e) AS text FROM ledger_leaves l JOIN activity_events e "
        "USING (organization_id, event_id) WHERE organization_id = $1 ORDER BY leaf_index",
        organization,
    )
    if key is not None and key is not KEY:
        await inspector.execute(
            "UPDATE ledger_keys SET key_id = $1, public_key = $2 WHERE organization_id = $3",
            key.key_id,
            key.public_key,
            organization,
        )
    frontier, chain = Frontier(), CHAIN_START
    for row in rows:
        leaf = leaf_hash(row["text"].encode())
        frontier.append(leaf)
        chain = chained(chain, leaf)
        await inspector.execute(
            "UPDATE ledger_leaves SET leaf_hash = $1, chain = $2 WHERE organization_id = $3 AND leaf_index = $4",
            leaf,
            chain,
            organization,
            row["leaf_index"],
        )
        if key is not None:
            await sign(desk, key, frontier, chain)


async def sign(desk: Desk, key: LedgerKey, frontier: Frontier, chain: bytes) -> None:
    """Put another head in the place of the one of that size, where there is one."""
    statement = Statement(
        organization_id=OrganizationId(FIRM_A.organization_id),
        size=frontier.size,
        root=frontier.root,
        chain=chain,
        sealed_at=AT,
        key_id=key.key_id,
    )
    await desk.inspector.execute(
        "UPDATE ledger_heads SET root = $1, chain = $2, sealed_at = $3, key_id = $4, signature = $5 "
        "WHERE organization_id = $6 AND size = $7",
        statement.root,
        chain,
        AT,
        key.key_id,
        key.sign(statement.signed_bytes()),
        FIRM_A.organization_id,
        frontier.size,
    )


async def rewrite_without_a_key(desk: Desk) -> None:
    await rewrite(desk, None)


async def rewrite_with_the_key(desk: Desk) -> None:
    await rewrite(desk, KEY)


async def rewrite_with_another_key(desk: Desk) -> None:
    await rewrite(desk, OTHER_KEY)


async def vouch_falsely(desk: Desk) -> None:
    """A rotation to another key, which the key before never signed."""
    succession = Succession(
        organization_id=OrganizationId(FIRM_A.organization_id),
        after_size=8,
        from_key_id=KEY.key_id,
        from_public_key=KEY.public_key,
        to_key_id=OTHER_KEY.key_id,
        to_public_key=OTHER_KEY.public_key,
        rotated_at=AT,
    )
    signature = OTHER_KEY.sign(succession.signed_bytes())
    await desk.inspector.execute(
        "INSERT INTO ledger_rotations VALUES ($1, 8, $2, $3, $4, $5, $6, $6)",
        FIRM_A.organization_id,
        KEY.key_id,
        OTHER_KEY.key_id,
        OTHER_KEY.public_key,
        AT,
        signature,
    )


ATTACKS: dict[str, tuple[Attack, Found]] = {
    "the outcome of a call changed": changed("outcome = 'denied'"),
    "the verdict changed": changed("decision = 'deny'"),
    "the reasons of the verdict changed": changed("reasons = '{approved}'"),
    "the facts that policy saw changed": changed("facts = replace(facts, 'EMPLOYEE', 'PARTNER')"),
    "the role changed": changed("role = 'PARTNER'"),
    "the cost changed": changed("cost_micros = 1"),
    "the duration changed in its last digit": changed("duration_ms = 0.3"),
    "the agent's call made a person's": changed("mode = 'person'"),
    "the author changed": changed("principal_id = gen_random_uuid()"),
    "an approval invented": changed("approval_id = gen_random_uuid()"),
    "the digest of the policy in force changed": changed("policy_digest = sha256('x')"),
    "the digest of the arguments changed": changed("arguments_digest = sha256('x')"),
    "the time moved by a microsecond": changed("occurred_at = occurred_at - interval '1 microsecond'"),
    "the order of recording changed": changed("recorded_at = now()"),
    "the transaction's number changed": changed("xact_id = '1'"),
    "the first event removed": removed(0),
    "an event removed": removed(ROW),
    "the last event removed": removed(ROWS - 1),
    "an event moved to another organization": (
        f"UPDATE activity_events SET organization_id = '{FIRM_B.organization_id}' WHERE event_id = :event",
        Found("missing", ROW),
    ),
    "an event removed with its leaf": (
        (
            "WITH gone AS (DELETE FROM ledger_leaves WHERE event_id = :event) "
            "DELETE FROM activity_events WHERE event_id = :event"
        ),
        Found("place", ROW),
    ),
    "an event removed with its leaf, and those behind it moved up": (
        (
            "WITH gone AS (DELETE FROM ledger_leaves WHERE organization_id = :org AND leaf_index >= 6 RETURNING *), "
            "event AS (DELETE FROM activity_events WHERE event_id = :event) "
            "INSERT INTO ledger_leaves SELECT organization_id, leaf_index - 1, event_id, leaf_hash, chain FROM gone "
            "WHERE leaf_index > 6"
        ),
        Found("chain", ROW),
    ),
    "an event invented and put in with a leaf of its own": (
        (
            "WITH new AS (INSERT INTO activity_events SELECT (jsonb_populate_record(e, jsonb_build_object("
            "'event_id', gen_random_uuid(), 'call_id', gen_random_uuid()))).* FROM activity_events e "
            "WHERE event_id = :event RETURNING activity_events AS e), "
            "behind AS (DELETE FROM ledger_leaves WHERE organization_id = :org AND leaf_index >= 6 RETURNING *) "
            "INSERT INTO ledger_leaves SELECT organization_id, leaf_index + 1, event_id, leaf_hash, chain "
            "FROM (SELECT * FROM behind ORDER BY leaf_index) b "
            "UNION ALL SELECT (new.e).organization_id, 6, (new.e).event_id, "
            f"{TEXT.format('new.e')}, sha256('x') FROM new"
        ),
        Found("chain", ROW),
    ),
    "two events put in each other's place": (
        (
            "WITH two AS (DELETE FROM ledger_leaves WHERE organization_id = :org AND leaf_index IN (6, 7) RETURNING *) "
            "INSERT INTO ledger_leaves SELECT organization_id, 13 - leaf_index, event_id, leaf_hash, chain "
            "FROM (SELECT * FROM two ORDER BY leaf_index) b"
        ),
        Found("chain", ROW),
    ),
    "the contents of two events exchanged": (
        (
            "UPDATE activity_events e SET (arguments_digest, occurred_at) = (o.arguments_digest, o.occurred_at) "
            "FROM activity_events o, ledger_leaves a, ledger_leaves b WHERE a.organization_id = :org "
            "AND b.organization_id = :org AND a.leaf_index + b.leaf_index = 13 AND a.leaf_index IN (6, 7) "
            "AND e.event_id = a.event_id AND o.event_id = b.event_id"
        ),
        Found("leaf", ROW),
    ),
    "two events moved to the end": (
        (
            "WITH moved AS (DELETE FROM ledger_leaves WHERE organization_id = :org AND leaf_index IN (6, 7) "
            "RETURNING *) "
            "INSERT INTO ledger_leaves SELECT organization_id, 100 + leaf_index, event_id, leaf_hash, chain FROM moved"
        ),
        Found("place", ROW),
    ),
    "the leaf taken away": ("DELETE FROM ledger_leaves WHERE event_id = :event", Found("place", ROW)),
    "the leaf changed": (
        "UPDATE ledger_leaves SET leaf_hash = sha256('x') WHERE event_id = :event",
        Found("leaf", ROW),
    ),
    "the chain changed": ("UPDATE ledger_leaves SET chain = sha256('x') WHERE event_id = :event", Found("chain", ROW)),
    "the event and its leaf changed alike": (
        (
            "WITH bent AS (UPDATE activity_events SET tool = 'x' WHERE event_id = :event "
            "RETURNING activity_events AS e) "
            f"UPDATE ledger_leaves l SET leaf_hash = {TEXT.format('b.e')} FROM bent b WHERE l.event_id = (b.e).event_id"
        ),
        Found("chain", ROW),
    ),
    "the event, its leaf and all behind it changed alike, without the key": (
        rewrite_without_a_key,
        Found("root", 4, 7),
    ),
    "everything written anew and signed with the stolen key": (
        rewrite_with_the_key,
        Found("kept_head", 0, ROWS - 1),
    ),
    "everything written anew and signed with a key of one's own": (rewrite_with_another_key, Found("key", 0, 2)),
    "what a call carried changed": (
        "UPDATE activity_payloads SET arguments = '{}' WHERE event_id = :event",
        Found("payload", ROW),
    ),
    "what a call gave changed": (
        "UPDATE activity_payloads SET result = '{}' WHERE event_id = :event",
        Found("payload", ROW),
    ),
    "what two calls carried exchanged": (
        (
            "UPDATE activity_payloads p SET (salt, arguments, result) = (o.salt, o.arguments, o.result) "
            "FROM activity_payloads o, ledger_leaves a, ledger_leaves b WHERE a.organization_id = :org "
            "AND b.organization_id = :org AND a.leaf_index + b.leaf_index = 13 AND a.leaf_index IN (6, 7) "
            "AND p.event_id = a.event_id AND o.event_id = b.event_id"
        ),
        Found("payload", ROW),
    ),
    "the beginning of what a call carried moved into its salt": (
        (
            "UPDATE activity_payloads SET salt = salt || convert_to(left(arguments, 3), 'UTF8'), "
            "arguments = substr(arguments, 4) WHERE event_id = :event"
        ),
        Found("payload", ROW),
    ),
    "what a call carried and gave emptied, and its salt too": (
        "UPDATE activity_payloads SET salt = '', arguments = NULL, result = NULL WHERE event_id = :event",
        Found("payload", ROW),
    ),
    "what a call carried and gave taken away": (
        "DELETE FROM activity_payloads WHERE event_id = :event",
        Found("payload", ROW),
    ),
    "what a call gave emptied, its salt left": (
        "UPDATE activity_payloads SET result = NULL WHERE event_id = :event",
        Found("payload", ROW),
    ),
    "what every call carried and gave taken away": (
        "DELETE FROM activity_payloads WHERE organization_id = :org",
        Found("payload", 0),
    ),
    "what a call carried taken away, and the export said to be one without": (
        "DELETE FROM activity_payloads WHERE event_id = :event",
        Found("payload", 0),
    ),
    "a head's root changed": (
        "UPDATE ledger_heads SET root = sha256('x') WHERE organization_id = :org AND size = 8",
        Found("root", 4, 7),
    ),
    "a head's time moved": (
        "UPDATE ledger_heads SET sealed_at = now() + interval '1 day' WHERE organization_id = :org AND size = 8",
        Found("signature", 4, 7),
    ),
    "the public key exchanged": (
        "UPDATE ledger_keys SET public_key = sha256('x') WHERE organization_id = :org",
        Found("key"),
    ),
    "a key slipped in by a rotation that the key before never signed": (vouch_falsely, Found("rotation")),
    "the last batch undone": (
        (
            "WITH h AS (DELETE FROM ledger_heads WHERE organization_id = :org AND size = 15) "
            f"DELETE FROM ledger_leaves {TAIL}"
        ),
        Found("truncated", 10, 14),
    ),
    "the last batch undone, and every trace of it": (
        (
            "WITH h AS (DELETE FROM ledger_heads WHERE organization_id = :org AND size = 15), "
            f"l AS (DELETE FROM ledger_leaves {TAIL} RETURNING event_id), p AS (DELETE FROM activity_payloads "
            f"WHERE event_id IN (SELECT event_id FROM ledger_leaves {TAIL})) "
            f"DELETE FROM activity_events WHERE event_id IN (SELECT event_id FROM ledger_leaves {TAIL})"
        ),
        Found("truncated", 10, 14),
    ),
    "the whole record removed": (
        (
            "WITH h AS (DELETE FROM ledger_heads WHERE organization_id = :org), "
            "l AS (DELETE FROM ledger_leaves WHERE organization_id = :org), "
            "p AS (DELETE FROM activity_payloads WHERE organization_id = :org) "
            "DELETE FROM activity_events WHERE organization_id = :org"
        ),
        Found("truncated", 0, ROWS - 1),
    ),
}


BENT: dict[str, tuple[bytes, bytes]] = {
    "what a call carried taken away, and the export said to be one without": (b'"payloads":true', b'"payloads":false'),
}
"""What is changed in the export's first line besides."""


def test_the_auditor_s_page_lists_every_attack() -> None:
    assert list(SHOWN) == list(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
async def test_what_the_owner_of_the_database_does_to_the_record_is_found_at_its_row(desk: Desk, name: str) -> None:
    attack, found = ATTACKS[name]
    head = await desk.head()
    assert checked(desk.file(await desk.lines()), [head], [KEY.key_id]) == Found(None)
    await desk.inspector.execute("SET session_replication_role = replica")
    if isinstance(attack, str):
        literal = attack.replace(":event", f"'{desk.events[ROW].event_id}'")
        await desk.inspector.execute(literal.replace(":org", f"'{FIRM_A.organization_id}'"))
    else:
        await attack(desk)
    first, *lines = await desk.lines()
    path = desk.file([first.replace(*BENT.get(name, (b"", b""))), *lines])
    assert checked(path, [head], [KEY.key_id]) == found
    assert printed(path, [head], [KEY.key_id]) == SHOWN[name]
