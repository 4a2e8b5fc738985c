"""The record written and read back: events in by one statement, calls out folded from their events."""

from datetime import timedelta
from uuid import uuid4

import pytest

from domain.activity.model import ActivityCall, ActivityEvent, ActivityItem, ActivityQuery, Payload
from domain.activity.postgres import PostgresActivity, insert_events
from domain.activity.service import ActivityService, CallNotFound
from domain.kernel import ApprovalId, CallId, ConversationId, OrganizationId, PrincipalId, Role
from domain.paging import PageRequest, position_of
from server.database.connection import Connection
from tests.support.calls import NOW, acting, add_member, event, followed, later, ticket
from tests.support.firms import FIRM_A, FIRM_B, seed_firms


@pytest.fixture
async def app(owner_connection: Connection, app_connection: Connection) -> Connection:
    await seed_firms(owner_connection)
    return app_connection


async def listed(app: Connection, query: ActivityQuery | None = None, who: str = "partner") -> list[ActivityItem]:
    async with acting(app, who):
        page = await ActivityService(PostgresActivity(app)).list(query or ActivityQuery(until=later(3600)))
    return list(page.items)


async def called(app: Connection, call_id: CallId, who: str = "partner") -> ActivityCall:
    async with acting(app, who):
        return await ActivityService(PostgresActivity(app)).call(call_id)


async def written(app: Connection, *events: ActivityEvent) -> None:
    async with acting(app, "employee"):
        await insert_events(app, events)


@pytest.mark.parametrize("count", [1, 2, 100])
async def test_what_is_written_reads_back_the_same_as_one_event_and_as_many(
    app: Connection, superuser_connection: Connection, count: int
) -> None:
    events = [
        event(writes=("tasks", "task_runs"), effect="commit", reasons=("a", "b, {c}", 'd "e"'), occurred_at=later(n))
        for n in range(count)
    ]
    await written(app, *events)
    rows = await superuser_connection.fetch(
        "SELECT e.*, p.salt, p.arguments, p.result FROM activity_events e JOIN activity_payloads p USING (event_id)"
        " WHERE e.facts = '{}' AND e.occurred_at >= $1 AND e.occurred_at < $2 ORDER BY e.occurred_at",
        NOW,
        later(3600),
    )
    assert [row["event_id"] for row in rows] == [one.event_id for one in events]
    assert {tuple(row["reasons"]) for row in rows} == {("a", "b, {c}", 'd "e"')}
    assert {tuple(row["writes"]) for row in rows} == {("tasks", "task_runs")}
    assert {(row["level"], row["role"], row["door"]) for row in rows} == {(2, "EMPLOYEE", "chat")}
    assert {row["arguments_digest"] for row in rows} == {events[0].arguments_digest}
    assert {row["result"] for row in rows} == {'{"items":[]}'}


async def test_no_reasons_and_no_payload_are_written_as_none(app: Connection, superuser_connection: Connection) -> None:
    bare = [event(reasons=(), payload=None, role=None, level=None, decision=None) for _ in range(3)]
    await written(app, *bare[:1])
    await written(app, *bare[1:])
    found = await superuser_connection.fetch(
        "SELECT reasons, role, level, EXISTS (SELECT FROM activity_payloads p WHERE p.event_id = e.event_id) AS kept"
        " FROM activity_events e WHERE event_id = ANY ($1::uuid[])",
        [one.event_id for one in bare],
    )
    assert [tuple(row) for row in found] == [([], None, None, False)] * 3


async def test_the_recorder_writes_for_many_organizations_at_once_and_reads_nothing(
    app: Connection, recorder_connection: Connection, superuser_connection: Connection
) -> None:
    events = [
        event(organization_id=OrganizationId(firm.organization_id), principal_id=PrincipalId(firm.id("employee")))
        for firm in (FIRM_A, FIRM_B, FIRM_A)
    ]
    await insert_events(recorder_connection, events)
    await insert_events(recorder_connection, [event()])
    found = await superuser_connection.fetchval("SELECT count(*) FROM activity_payloads WHERE salt = 'salt'")
    assert found == 4


async def test_nothing_to_write_writes_nothing(app: Connection) -> None:
    await insert_events(app, [])


async def test_a_read_shows_as_its_one_event(app: Connection) -> None:
    done = event()
    await written(app, done)
    (item,) = await listed(app)
    assert (item.call_id, item.decision, item.outcome, item.duration_ms) == (done.call_id, "allow", "done", 1.5)
    assert (item.principal, item.role, item.mode) == ("employee@firm-1.example", Role.EMPLOYEE, "agent")
    assert item.arguments == '{"query":"who signs"}'
    assert item.result is None
    assert (await called(app, done.call_id)).item.result == '{"items":[]}'


async def test_a_write_is_folded_from_ticket_and_outcome_though_the_clock_stood_still(app: Connection) -> None:
    allowed = ticket(FIRM_A, "employee", ("tasks",), payload=Payload(salt=b"s", arguments='{"title":"T"}'))
    done = followed(
        allowed,
        kind="tool.completed",
        outcome="done",
        duration_ms=7.0,
        payload=Payload(salt=b"s", result='{"task":{}}'),
    )
    await written(app, allowed, done)
    call = await called(app, allowed.call_id)
    assert (call.item.outcome, call.item.duration_ms) == ("done", 7.0)
    assert (call.item.arguments, call.item.result) == ('{"title":"T"}', '{"task":{}}')
    assert [step.kind for step in call.steps] == ["tool.allowed", "tool.completed"]


async def test_an_allowed_call_without_an_outcome_is_under_way(app: Connection) -> None:
    allowed = ticket(FIRM_A, "employee", ("tasks",))
    await written(app, allowed)
    assert [item.outcome for item in await listed(app)] == [None]


WAITING = {"kind": "tool.waiting", "decision": "needs_approval", "reasons": ("autonomy_needs_approval_prepare",)}


@pytest.mark.parametrize(
    ("after", "outcome", "code"),
    [
        ((), "waiting", None),
        ((("tool.allowed", None, None), ("tool.completed", "done", None)), "done", None),
        ((("tool.allowed", None, None), ("tool.failed", "failed", "internal")), "failed", "internal"),
        ((("tool.rejected", "rejected", "rejected"),), "rejected", "rejected"),
        ((("tool.expired", "expired", None),), "expired", None),
        ((("tool.cancelled", "cancelled", "cancelled"),), "cancelled", "cancelled"),
        ((("tool.denied", "denied", "manifest_changed"),), "denied", "manifest_changed"),
    ],
)
async def test_a_waiting_call_stays_one_item_that_needed_approval_whatever_becomes_of_it(
    app: Connection, after: tuple[tuple[str, str | None, str | None], ...], outcome: str, code: str | None
) -> None:
    asked = event(**WAITING, effect="prepare", outcome="waiting", approval_id=ApprovalId(uuid4()))
    later_events = [
        followed(asked, kind=kind, outcome=ended, error_code=error, decision=None, occurred_at=later(60))
        for kind, ended, error in after
    ]
    await written(app, asked, *later_events)
    (item,) = await listed(app)
    assert (item.outcome, item.error_code, item.decision) == (outcome, code, "needs_approval")
    assert (item.reasons, item.approval_id, item.time) == (WAITING["reasons"], asked.approval_id, NOW)
    assert len((await called(app, asked.call_id)).steps) == 1 + len(after)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (ActivityQuery(tool="task_create"), {"write"}),
        (ActivityQuery(door="mcp"), {"denied"}),
        (ActivityQuery(decision="deny"), {"denied"}),
        (ActivityQuery(outcome="failed"), {"write"}),
        (ActivityQuery(principal="CLIENT@firm-1.example"), {"denied"}),
        (ActivityQuery(principal=str(FIRM_A.id("client"))), {"denied"}),
        (ActivityQuery(principal="nobody@firm-1.example"), set[str]()),
        (ActivityQuery(principal="client@firm-2.example"), set[str]()),
        (ActivityQuery(conversation_id=ConversationId(FIRM_A.id("thing"))), {"read"}),
        (ActivityQuery(since=later(10), until=later(20)), {"write"}),
        (ActivityQuery(since=later(10), until=later(21)), {"write", "denied"}),
        (ActivityQuery(outcome="done", until=later(5)), {"read"}),
    ],
)
async def test_each_filter_leaves_what_it_names(app: Connection, query: ActivityQuery, found: set[str]) -> None:
    calls = {
        "read": event(conversation_id=ConversationId(FIRM_A.id("thing"))),
        "write": ticket(FIRM_A, "employee", ("tasks",), occurred_at=later(10)),
        "denied": event(
            door="mcp",
            decision="deny",
            kind="tool.denied",
            outcome="denied",
            occurred_at=later(20),
            principal_id=PrincipalId(FIRM_A.id("client")),
        ),
    }
    await written(app, *calls.values(), followed(calls["write"], kind="tool.failed", outcome="failed"))
    ids = {item.call_id for item in await listed(app, query)}
    assert {name for name, one in calls.items() if one.call_id in ids} == found


async def test_pages_meet_without_a_gap_or_an_overlap_though_times_are_equal(app: Connection) -> None:
    events = [event(occurred_at=later(n // 4)) for n in range(11)]
    await written(app, *events)
    seen: list[CallId] = []
    after, pages = None, 0
    while True:
        async with acting(app, "partner"):
            query = ActivityQuery(page=PageRequest(limit=4, after=after), until=later(3600))
            page = await ActivityService(PostgresActivity(app)).list(query)
        seen += [item.call_id for item in page.items]
        pages += 1
        if page.next_cursor is None:
            break
        after = position_of(page.next_cursor)
    assert pages == 3
    newest_first = sorted(events, key=lambda one: (one.occurred_at, one.event_id), reverse=True)
    assert seen == [one.call_id for one in newest_first]


@pytest.mark.parametrize(("who", "sees"), [("partner", 3), ("EQR", 3), ("MANAGER", 3), ("employee", 1), ("client", 1)])
async def test_one_sees_ones_own_calls_and_a_manager_or_the_reviewer_the_organizations(
    app: Connection, owner_connection: Connection, who: str, sees: int
) -> None:
    await add_member(owner_connection, Role.EQR)
    await add_member(owner_connection, Role.MANAGER)
    for principal in ("employee", "client", "service"):
        await written(app, event(principal_id=PrincipalId(FIRM_A.id(principal))))
    assert len(await listed(app, who=who)) == sees


async def test_another_organizations_call_is_none_at_all(app: Connection, recorder_connection: Connection) -> None:
    foreign = event(
        organization_id=OrganizationId(FIRM_B.organization_id), principal_id=PrincipalId(FIRM_B.id("employee"))
    )
    await insert_events(recorder_connection, [foreign])
    assert await listed(app) == []
    with pytest.raises(CallNotFound):
        await called(app, foreign.call_id)


async def test_a_call_of_somebody_else_is_none_for_an_employee(app: Connection) -> None:
    theirs = event(principal_id=PrincipalId(FIRM_A.id("client")))
    await written(app, theirs)
    with pytest.raises(CallNotFound) as refused:
        await called(app, theirs.call_id, who="employee")
    assert refused.value.call_id == theirs.call_id


async def test_times_before_the_first_page_are_no_error(app: Connection) -> None:
    assert await listed(app, ActivityQuery(until=NOW - timedelta(days=400))) == []


FILL = """
INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, call_id, tool, effect, door,
    principal_id, principal_kind, mode, attended, facts, outcome)
SELECT $1, gen_random_uuid(), 'tool.completed', true, $3::timestamptz - n * interval '1 second', gen_random_uuid(),
    'task_list', 'read', 'chat', $2, 'person', 'agent', true, '{}', 'done'
FROM generate_series(1, 5000) n
"""


@pytest.mark.parametrize(
    ("who", "index"), [("partner", "activity_events_listed"), ("client", "activity_events_principal")]
)
async def test_a_page_comes_from_an_index_whoever_asks_and_however_long_the_record(
    app: Connection, owner_connection: Connection, superuser_connection: Connection, who: str, index: str
) -> None:
    await owner_connection.execute(FILL, FIRM_A.organization_id, FIRM_A.id("employee"), NOW)
    await superuser_connection.execute("ANALYZE activity_events")
    before = await superuser_connection.fetchval(SCANS, index)
    read = await superuser_connection.fetchval(SEQUENTIAL)
    async with acting(app, who):
        page = await ActivityService(PostgresActivity(app)).list(ActivityQuery(page=PageRequest(limit=5)))
    assert len(page.items) == (5 if who == "partner" else 0)
    await app.fetchval("SELECT pg_stat_force_next_flush()")
    await app.fetchval("SELECT 1")
    assert await superuser_connection.fetchval(SCANS, index) > before
    assert await superuser_connection.fetchval(SEQUENTIAL) == read


SCANS = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1"
SEQUENTIAL = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'activity_events'"
