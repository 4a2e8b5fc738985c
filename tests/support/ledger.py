"""Events to be sealed, a key to sign with, and a ledger read back as the superuser sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from domain.activity.model import SALT_BYTES, ActivityEvent, Payload
from domain.activity.postgres import insert_events
from domain.kernel import CallId, EventId, OrganizationId, PrincipalId, utc_now
from domain.ledger.tree import Frontier, leaf_hash
from server.database.connection import Connection
from server.database.pool import Pool
from server.database.sealer import PostgresSealer
from server.signing import LedgerKey
from tests.support.firms import FIRM_A, Firm

KEY = LedgerKey(bytes(range(32)))
OTHER_KEY = LedgerKey(bytes(range(1, 33)))

ODD = 'quote " backslash \\ slash / tab \t newline \n bell \a escape \x1b delete \x7f é € 😀 \u2028 \ufeff <&>'


def event(firm: Firm = FIRM_A, *, payload: Payload | None = None, tool: str = "task_list") -> ActivityEvent:
    """A read's one event."""
    return ActivityEvent(
        organization_id=OrganizationId(firm.organization_id),
        event_id=EventId(uuid4()),
        kind="tool.completed",
        opens=True,
        occurred_at=utc_now(),
        call_id=CallId(uuid4()),
        tool=tool,
        effect="read",
        writes=(),
        door="chat",
        principal_id=PrincipalId(firm.id("employee")),
        principal_kind="person",
        role=None,
        mode="agent",
        attended=True,
        level=None,
        engagement_id=None,
        facts='{"role":"EMPLOYEE"}',
        decision="allow",
        reasons=("within_role_and_autonomy",),
        approval_id=None,
        manifest_digest=b"\x01\xff",
        policy_digest=None,
        outcome="done",
        error_code=None,
        error_reference=None,
        duration_ms=0.1 + 0.2,
        cost_micros=2**53 + 1,
        conversation_id=None,
        run_id=None,
        task_run_id=None,
        request_id=None,
        trace_id=None,
        payload=payload or Payload(salt=bytes(SALT_BYTES), arguments='{"limit":1}', result='{"items":[]}'),
    )


def odd_event(firm: Firm = FIRM_A) -> ActivityEvent:
    """One whose every text holds what is written in more than one way in JSON."""
    return replace(event(firm), facts=ODD, reasons=(ODD, ""), request_id=ODD, duration_ms=1e-7, error_code=None)


async def record(recorder: Connection, *events: ActivityEvent) -> None:
    """Each in a transaction of its own."""
    for each in events:
        await insert_events(recorder, [each])


async def seal(pool: Pool, key: LedgerKey = KEY, *, batch: int = 1000, previous: Sequence[LedgerKey] = ()) -> None:
    """Until nothing is left."""
    sealer = PostgresSealer(pool, key, batch, previous)
    while await sealer.seal():
        pass


@dataclass(frozen=True, slots=True)
class Sealed:
    """One organization's ledger."""

    event_ids: Sequence[UUID]
    """In the tree's order."""
    sizes: Sequence[int]
    """Of its heads."""


async def sealed(inspector: Connection, firm: Firm = FIRM_A) -> Sealed:
    """The ledger, each of whose heads is what its events give."""
    rows = await inspector.fetch(
        "SELECT l.leaf_index, l.event_id, l.leaf_hash, glow.event_text(e) AS text FROM ledger_leaves l "
        "JOIN activity_events e USING (organization_id, event_id) WHERE organization_id = $1 ORDER BY leaf_index",
        firm.organization_id,
    )
    heads = {
        row["size"]: row["root"]
        for row in await inspector.fetch(
            "SELECT size, root FROM ledger_heads WHERE organization_id = $1 ORDER BY size", firm.organization_id
        )
    }
    frontier = Frontier()
    for number, row in enumerate(rows):
        assert row["leaf_index"] == number
        assert row["leaf_hash"] == leaf_hash(row["text"].encode())
        frontier.append(row["leaf_hash"])
        assert heads.get(frontier.size, frontier.root) == frontier.root
    assert not rows or max(heads) == len(rows)
    return Sealed([row["event_id"] for row in rows], list(heads))
