"""Who may decide a question is written to in Slack: when it is asked, when it is reminded of, and told its end."""

from collections.abc import AsyncIterator

import pytest

from domain.kernel import CallId, new_id
from server.database.connection import Connection
from tests.support.database import Database
from tests.support.doors import in_a_task
from tests.support.fake_slack import CHANNEL, DIRECT, Message
from tests.support.slack_world import SlackWorld, call_by, principal_at, slack_id, slack_world
from tools.outcomes import CallOutcome, CallRequest

TITLE = "call the Tolvarren controller"
FIRM = "borealis"
DECIDERS = ("employee", "manager", "partner", "director", "admin")
"""Of what prepares."""
OTHERS = ("readonly", "client", "eqr")
KEPT = "SELECT event_id, posted FROM slack_events WHERE event_id LIKE 'decider:%' ORDER BY event_id"
LEFT = """
UPDATE slack_events SET done_at = NULL, lease_until = now(), posted = posted[1:1], payload = $2 WHERE event_id = $1
"""


@pytest.fixture
async def world(database: Database) -> AsyncIterator[SlackWorld]:
    """The firm whose employee's agent proposes every change."""
    async with in_a_task(slack_world(database, connected_to=FIRM, slack_direct_messages=True)) as opened:
        yield opened


async def asked(world: SlackWorld, title: str = TITLE) -> CallOutcome:
    """A call of the employee's agent that waits; at no door of Slack's."""
    asker = await principal_at(world.hub, f"employee@{FIRM}", mode="agent", door="chat")
    request = CallRequest(call_id=CallId(new_id()), tool="task_create", arguments={"title": title})
    outcome = await world.hub.gate.call(request, asker)
    assert outcome.approval is not None, outcome
    return outcome


async def told(world: SlackWorld) -> None:
    """What is due is written, and what is answered says so."""
    await world.door.directs.plan()
    await world.door.inbox.sweep()
    await world.door.inbox.idle()
    await world.door.questions.settle_answered()
    await world.door.directs.settle_answered()


async def again(world: SlackWorld, owner: Connection) -> None:
    """Every pause is over."""
    await owner.execute("UPDATE slack_events SET lease_until = now() WHERE done_at IS NULL")
    await told(world)


def written(world: SlackWorld, role: str) -> list[Message]:
    return world.slack.posted(f"{DIRECT}{slack_id(f'{role}@{FIRM}')}")


def has_buttons(message: Message) -> bool:
    return any(block["type"] == "actions" for block in message.blocks)


async def everybody_told(world: SlackWorld, owner: Connection) -> None:
    """More are written to than at once: the rest soon after."""
    for _ in range(4):
        await again(world, owner)


async def test_each_who_may_decide_is_written_to_once_with_buttons_and_nobody_else(
    world: SlackWorld, owner_connection: Connection
) -> None:
    outcome = await asked(world)
    await everybody_told(world, owner_connection)
    for role in DECIDERS:
        (message,) = written(world, role)
        assert has_buttons(message)
        assert TITLE in message.shown
        assert "You may decide this" in message.shown
        assert message.metadata is not None
        assert message.metadata["event_payload"]["approval_id"] == str(
            outcome.approval and outcome.approval.approval_id
        )
    assert [written(world, role) for role in OTHERS] == [[], [], []]
    assert world.slack.posted(CHANNEL) == []


async def test_whoever_asked_is_not_written_to_where_four_eyes_are_needed(
    world: SlackWorld, owner_connection: Connection
) -> None:
    waits = await call_by(world.hub, f"partner@{FIRM}", "privacy_erase", {"person": f"readonly@{FIRM}.example"})
    assert waits.approval is not None, waits
    assert waits.approval.four_eyes
    await everybody_told(world, owner_connection)
    assert [len(written(world, role)) for role in (*DECIDERS, *OTHERS)] == [0, 0, 0, 1, 1, 0, 0, 0]


async def test_a_press_there_decides_and_every_message_says_so(
    world: SlackWorld, owner_connection: Connection, superuser_connection: Connection
) -> None:
    thread = await world.ask(f"create a task to {TITLE}", f"employee@{FIRM}")
    (in_thread,) = (each for each in thread if has_buttons(each))
    await everybody_told(world, owner_connection)
    (manager,) = written(world, "manager")

    await world.deliver(world.slack.press(manager, "glow_approve", slack_id(f"manager@{FIRM}")))
    assert "Approved and done by manager@borealis.example" in manager.shown
    assert "`approval_decide` done" in manager.shown
    await told(world)

    for message in (in_thread, *(written(world, role)[0] for role in DECIDERS)):
        assert not has_buttons(message), message
        assert "Approved and done by manager@borealis.example" in message.shown
    assert "`approval_decide` done" in manager.shown
    assert await superuser_connection.fetchval("SELECT count(*) FROM tasks WHERE title ILIKE $1", f"%{TITLE}%") == 1


@pytest.mark.parametrize("end", ["Rejected", "Expired"])
async def test_what_ends_at_another_door_or_in_silence_is_shown_so(
    world: SlackWorld, owner_connection: Connection, end: str
) -> None:
    outcome = await asked(world)
    await everybody_told(world, owner_connection)
    assert outcome.approval is not None
    if end == "Rejected":
        said = {"approval_id": str(outcome.approval.approval_id), "decision": "reject", "comment": "no"}
        assert (await call_by(world.hub, f"partner@{FIRM}", "approval_decide", said)).outcome == "done"
    else:
        await owner_connection.execute("UPDATE approvals SET expires_at = now() - interval '1 second'")
    await told(world)
    messages = [written(world, role)[0] for role in DECIDERS]
    assert [has_buttons(each) for each in messages] == [False] * len(DECIDERS)
    assert all(end in each.shown for each in messages)


async def test_at_the_reminder_each_is_written_to_once_more(world: SlackWorld, owner_connection: Connection) -> None:
    await asked(world)
    await everybody_told(world, owner_connection)
    await owner_connection.execute("UPDATE approvals SET reminded_at = now()")
    await everybody_told(world, owner_connection)
    await everybody_told(world, owner_connection)
    for role in DECIDERS:
        first, second = written(world, role)
        assert has_buttons(first)
        assert has_buttons(second)
        assert "nobody has yet" in second.shown
    await owner_connection.execute("UPDATE approvals SET expires_at = now() - interval '1 second'")
    await told(world)
    assert [has_buttons(each) for role in DECIDERS for each in written(world, role)] == [False] * (2 * len(DECIDERS))


async def test_what_was_answered_meanwhile_is_written_to_nobody(
    world: SlackWorld, owner_connection: Connection
) -> None:
    outcome = await asked(world)
    await world.door.directs.plan()
    assert outcome.approval is not None
    said = {"approval_id": str(outcome.approval.approval_id), "decision": "approve"}
    assert (await call_by(world.hub, f"partner@{FIRM}", "approval_decide", said)).outcome == "done"
    await everybody_told(world, owner_connection)
    assert world.slack.made("chat.postMessage") == []


async def test_a_message_that_a_lost_process_had_posted_is_found_and_not_posted_again(
    world: SlackWorld, owner_connection: Connection, superuser_connection: Connection
) -> None:
    await asked(world)
    notes: dict[str, str] = {}
    await world.door.directs.plan()
    for row in await superuser_connection.fetch("SELECT event_id, payload FROM slack_events WHERE done_at IS NULL"):
        notes[row["event_id"]] = row["payload"]
    await everybody_told(world, owner_connection)
    before = {row["event_id"]: row["posted"] for row in await superuser_connection.fetch(KEPT)}
    assert len(before) == len(DECIDERS)
    posted, lost = before.copy(), next(iter(before))
    # Of all of them a process was lost before it knew that they stand, and of one before it was posted.
    del world.slack.messages[posted.pop(lost)[1]]
    await owner_connection.execute(
        "DELETE FROM slack_direct_questions WHERE approval_id IN (SELECT approval_id FROM "
        "approvals WHERE state = 'pending' AND tool = 'task_create')"
    )
    for event_id in before:
        if event_id in notes:
            await owner_connection.execute(LEFT, event_id, notes[event_id])
    await everybody_told(world, owner_connection)
    after = {row["event_id"]: row["posted"] for row in await superuser_connection.fetch(KEPT)}
    assert {event_id: after[event_id] for event_id in posted} == posted
    assert after[lost][1] != before[lost][1]
    assert [len(written(world, role)) for role in DECIDERS] == [1] * len(DECIDERS)


async def test_slack_away_holds_up_no_call_and_a_limit_is_waited_out(
    world: SlackWorld, owner_connection: Connection
) -> None:
    world.slack.away = True
    assert (await asked(world)).outcome == "waiting"
    await told(world)
    world.slack.away = False
    world.slack.faults["chat.postMessage"] = [(429, {"ok": False}, {"Retry-After": "1"}), (500, {}, {})]
    await everybody_told(world, owner_connection)
    await everybody_told(world, owner_connection)
    assert [len(written(world, role)) for role in DECIDERS] == [1] * len(DECIDERS)


@pytest.mark.parametrize("change", [{"is_email_confirmed": False}, {"is_restricted": True}, {"deleted": True}])
async def test_whoever_is_not_surely_known_is_not_written_to(
    world: SlackWorld, owner_connection: Connection, change: dict[str, bool]
) -> None:
    world.slack.users[slack_id(f"manager@{FIRM}")] |= change
    await asked(world)
    await everybody_told(world, owner_connection)
    assert [len(written(world, role)) for role in DECIDERS] == [1, 0, 1, 1, 1]


async def test_whoever_may_not_read_it_any_more_is_not_written_to(
    world: SlackWorld, owner_connection: Connection
) -> None:
    await asked(world)
    await world.door.directs.plan()
    manager = await principal_at(world.hub, f"manager@{FIRM}")
    demote = "UPDATE memberships SET role = $1 WHERE user_id = $2"
    await owner_connection.execute(demote, "READONLY", manager.principal_id)
    await everybody_told(world, owner_connection)
    assert [len(written(world, role)) for role in DECIDERS] == [1, 0, 1, 1, 1]


async def test_a_message_whose_reader_may_see_it_no_more_loses_its_words(
    world: SlackWorld, owner_connection: Connection
) -> None:
    await asked(world)
    await everybody_told(world, owner_connection)
    manager = await principal_at(world.hub, f"manager@{FIRM}")
    demote = "UPDATE memberships SET role = $1 WHERE user_id = $2"
    await owner_connection.execute(demote, "READONLY", manager.principal_id)
    await owner_connection.execute("UPDATE approvals SET expires_at = now() - interval '1 second'")
    await told(world)
    (message,) = written(world, "manager")
    assert "not yours to see any more" in message.shown
    assert TITLE not in message.shown


async def test_where_it_is_turned_off_nobody_is_written_to(database: Database, owner_connection: Connection) -> None:
    async with in_a_task(slack_world(database, connected_to=FIRM, slack_direct_messages=False)) as world:
        await asked(world)
        await everybody_told(world, owner_connection)
        assert world.slack.made("chat.postMessage") == []


async def test_another_organizations_people_hear_nothing_of_it(world: SlackWorld, owner_connection: Connection) -> None:
    waits = await call_by(world.hub, "partner@acme", "privacy_erase", {"person": "readonly@acme.example"})
    assert waits.approval is not None, waits
    await everybody_told(world, owner_connection)
    assert world.slack.made("users.lookupByEmail") == [{"email": f"admin@{FIRM}.example"}]
    assert world.slack.made("chat.postMessage") == []
