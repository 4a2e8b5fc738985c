"""Questions in Slack: decided through the gate by whoever presses, once, and shown as decided whoever decided."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.conversations.leases import RunKey
from domain.kernel import CallId, new_id
from server.database.connection import Connection
from server.slack.answer import Place
from server.slack.questions import NOT_YOU
from tests.support.database import Database
from tests.support.doors import in_a_task
from tests.support.fake_slack import CHANNEL, DIRECT, TEAM, Message
from tests.support.slack_world import SlackWorld, call_by, principal_at, slack_id, slack_world
from tools.outcomes import CallRequest

Json = dict[str, Any]

EVA, MANAGER = slack_id("employee@borealis"), slack_id("manager@borealis")
TITLE = "call the Tolvarren controller"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[SlackWorld]:
    """The firm whose employee's agent proposes every change."""
    async with in_a_task(slack_world(database, connected_to="borealis")) as opened:
        yield opened


async def question(world: SlackWorld, who: str = "employee@borealis") -> Message:
    """The message that asks a person."""
    messages = await world.ask(f"create a task to {TITLE}", who)
    (asked,) = (each for each in messages if any(block["type"] == "actions" for block in each.blocks))
    return asked


def has_buttons(message: Message) -> bool:
    return any(block["type"] == "actions" for block in message.blocks)


async def tasks_made(connection: Connection) -> int:
    return await connection.fetchval("SELECT count(*) FROM tasks WHERE title ILIKE $1", f"%{TITLE}%")


async def decisions(connection: Connection) -> list[tuple[str, ...]]:
    rows = await connection.fetch(
        "SELECT e.door, e.mode, u.email, e.outcome FROM activity_events e JOIN users u ON u.user_id = e.principal_id "
        "WHERE e.tool = 'approval_decide' AND e.outcome IS NOT NULL ORDER BY e.recorded_at"
    )
    return [tuple(row) for row in rows]


async def test_a_question_lays_out_the_call_and_its_buttons_carry_only_its_id(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)

    approval_id = str(await superuser_connection.fetchval("SELECT approval_id FROM approvals"))
    assert "`task_create`, asked for by employee@borealis.example" in asked.shown
    assert TITLE in asked.shown.lower().replace("tolvarren", "Tolvarren")
    assert "autonomy_needs_approval_prepare" in asked.shown
    assert {button["value"] for button in asked.block("actions")["elements"]} == {approval_id}
    assert await tasks_made(superuser_connection) == 0


async def test_what_a_question_cannot_show_whole_is_not_approved_there(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    await waiting(world, description="x" * 601)

    (asked,) = world.slack.posted(CHANNEL, "1.1")
    (reject,) = asked.block("actions")["elements"]
    assert reject["action_id"] == "glow_reject"
    assert "Not all of it is shown here" in asked.shown
    assert "/#approval=" in asked.shown


async def test_a_question_says_what_differs_from_the_last_like_call(world: SlackWorld) -> None:
    asker = await world.doors.client("employee@borealis")
    made = await asker.post("/v1/tasks", json={"title": "Call *somebody* else", "description": "At once."})
    assert made.status_code == 201, made.text
    asked = await question(world)
    assert "Compared with the last that they made" in asked.shown
    assert "description: is left out (was At once.)" in asked.shown
    assert "title: Call the Tolvarren controller (was Call *somebody* else)" in asked.shown


async def test_a_question_hides_no_character_of_what_is_approved(world: SlackWorld) -> None:
    await waiting(world, description="pay \u202e0001\u202c EUR")

    (asked,) = world.slack.posted(CHANNEL, "1.1")
    assert "pay ⟨U+202E⟩0001⟨U+202C⟩ EUR" in asked.shown
    assert len(asked.block("actions")["elements"]) == 2


async def waiting(world: SlackWorld, **arguments: str) -> None:
    """A call of the employee's agent that waits, and its question in the thread 1.1."""
    asker = await principal_at(world.hub, "employee@borealis", mode="agent", door="slack")
    request = CallRequest(call_id=CallId(new_id()), tool="task_create", arguments={"title": f"To {TITLE}", **arguments})
    outcome = await world.hub.gate.call(request, asker)
    assert outcome.approval is not None, outcome
    place = Place(channel_id=CHANNEL, thread_ts="1.1", team_id=TEAM, user_id=EVA)
    await world.door.questions.ask(asker, place, outcome.approval.approval_id)


async def test_a_question_is_asked_though_slack_refuses_the_end_of_its_answer(world: SlackWorld) -> None:
    world.slack.faults["chat.stopStream"] = [(200, {"ok": False, "error": "msg_too_long"}, {})]

    assert has_buttons(await question(world))


async def test_a_press_approves_by_the_pressers_own_hand(world: SlackWorld, superuser_connection: Connection) -> None:
    asked = await question(world)

    await world.deliver(world.slack.press(asked, "glow_approve", MANAGER))

    assert await tasks_made(superuser_connection) == 1
    assert await decisions(superuser_connection) == [("slack", "person", "manager@borealis.example", "done")]
    assert not has_buttons(asked)
    assert "Approved and done by manager@borealis.example" in asked.shown


async def test_rejecting_asks_why_and_says_so(world: SlackWorld, superuser_connection: Connection) -> None:
    asked = await question(world)

    await world.deliver(world.slack.press(asked, "glow_reject", MANAGER))
    (view,) = world.slack.views
    assert has_buttons(asked)
    await world.deliver(world.slack.send_form(view, MANAGER, "not <before> Monday"))

    assert await tasks_made(superuser_connection) == 0
    assert not has_buttons(asked)
    assert "Rejected by manager@borealis.example*: not <before> Monday" in asked.shown
    assert await superuser_connection.fetchval("SELECT comment FROM approvals") == "not <before> Monday"


async def test_a_form_that_slack_would_not_open_decides_nothing_and_says_where_to(world: SlackWorld) -> None:
    asked = await question(world)
    press = world.slack.press(asked, "glow_reject", MANAGER)
    world.slack.triggers.clear()

    await world.deliver(press)

    assert has_buttons(asked)
    assert "/#approval=" in world.slack.whispered(MANAGER)[0].body


async def test_a_form_sent_twice_is_one_decision(world: SlackWorld, superuser_connection: Connection) -> None:
    asked = await question(world)
    await world.deliver(world.slack.press(asked, "glow_reject", MANAGER))
    sent = world.slack.send_form(world.slack.views[0], MANAGER, "no")

    await asyncio.gather(world.deliver(sent), world.deliver(sent))

    assert [outcome for *_, outcome in await decisions(superuser_connection)] == ["done"]
    assert world.slack.whispered(MANAGER) == []


async def test_a_press_twice_is_one_outcome(world: SlackWorld, superuser_connection: Connection) -> None:
    asked = await question(world)
    press, other = (world.slack.press(asked, "glow_approve", MANAGER) for _ in range(2))

    await asyncio.gather(world.deliver(press), world.deliver(press), world.deliver(other))

    assert await tasks_made(superuser_connection) == 1
    assert sorted(outcome for *_, outcome in await decisions(superuser_connection)) == ["done", "invalid"]
    assert "executed already" in world.slack.whispered(MANAGER)[0].body


async def test_approving_by_a_button_while_rejecting_over_rest_is_one_outcome(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)
    approval_id = await superuser_connection.fetchval("SELECT approval_id FROM approvals")
    partner = await world.doors.client("partner@borealis")

    _, answer = await asyncio.gather(
        world.deliver(world.slack.press(asked, "glow_approve", MANAGER)),
        partner.post(f"/v1/approvals/{approval_id}/decision", json={"decision": "reject"}),
    )
    await world.door.questions.settle_answered()

    state = await superuser_connection.fetchval("SELECT state FROM approvals")
    assert (state, answer.status_code) in {("executed", 409), ("rejected", 200)}
    assert await tasks_made(superuser_connection) == (1 if state == "executed" else 0)
    assert sorted(outcome for *_, outcome in await decisions(superuser_connection)) == ["done", "invalid"]
    assert not has_buttons(asked)
    assert ("Rejected by partner" in asked.shown) == (state == "rejected")


async def test_what_is_decided_at_another_door_is_shown_as_decided(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)
    approval_id = str(await superuser_connection.fetchval("SELECT approval_id FROM approvals"))
    arguments = {"approval_id": approval_id, "decision": "reject", "comment": "no"}
    assert (await call_by(world.hub, "partner@borealis", "approval_decide", arguments)).outcome == "done"

    await world.door.questions.settle_answered()

    assert not has_buttons(asked)
    assert "Rejected by partner@borealis.example*: no" in asked.shown


async def test_a_press_that_slack_let_wait_is_one_decision_and_counts(
    world: SlackWorld, superuser_connection: Connection, owner_connection: Connection
) -> None:
    """Slack fails after the decision: what is tried again is showing it."""
    asked = await question(world)
    world.slack.faults["chat.update"] = [(500, {}, {})]

    await world.deliver(world.slack.press(asked, "glow_approve", MANAGER))
    await again(world, owner_connection)

    assert [outcome for *_, outcome in await decisions(superuser_connection)] == ["done"]
    assert world.slack.whispered(MANAGER) == []
    assert not has_buttons(asked)


async def again(world: SlackWorld, owner: Connection) -> None:
    """The pause is over: what was put off is taken up."""
    await owner.execute("UPDATE slack_events SET lease_until = now() WHERE done_at IS NULL")
    await world.door.inbox.sweep()
    await world.door.inbox.idle()


async def test_whoever_may_not_decide_is_told_so_in_a_direct_message_too(world: SlackWorld) -> None:
    """Where Slack has no whispers: they are for channels."""
    await world.deliver(world.slack.command(EVA, f"create a task to {TITLE}"))
    asked = next(each for each in world.slack.posted(f"{DIRECT}{EVA}") if has_buttons(each))
    before = len(world.slack.posted(f"{DIRECT}{EVA}"))
    world.slack.users[EVA]["deleted"] = True

    await world.deliver(world.slack.press(asked, "glow_approve", EVA))

    (told,) = world.slack.posted(f"{DIRECT}{EVA}")[before:]
    assert (told.body, told.thread_ts) == (NOT_YOU, asked.thread_ts)


async def test_one_question_that_slack_refuses_holds_up_no_other(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    first, second = await question(world), await question(world)
    await rejected_by_partner(world, superuser_connection, "no")
    world.slack.faults["chat.update"] = [(200, {"ok": False, "error": "restricted_action"}, {})]

    await world.door.questions.settle_answered()

    assert sorted(map(has_buttons, (first, second))) == [False, True]
    await world.door.questions.settle_answered()
    assert len(world.slack.made("chat.update")) == 1, "what Slack refuses for good is not tried for ever"


async def test_a_comment_of_signs_only_fits_where_it_is_shown(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)
    await rejected_by_partner(world, superuser_connection, "&" * 2000)

    await world.door.questions.settle_answered()

    assert not has_buttons(asked)
    assert ": &&&&" in asked.shown


async def rejected_by_partner(world: SlackWorld, connection: Connection, comment: str) -> None:
    """All that waits, at another door."""
    for row in await connection.fetch("SELECT approval_id FROM approvals WHERE state = 'pending'"):
        arguments = {"approval_id": str(row["approval_id"]), "decision": "reject", "comment": comment}
        assert (await call_by(world.hub, "partner@borealis", "approval_decide", arguments)).outcome == "done"


async def test_what_a_press_decided_keeps_the_decisions_call_below(world: SlackWorld) -> None:
    asked = await question(world)
    await world.deliver(world.slack.press(asked, "glow_approve", MANAGER))

    await world.door.questions.settle_answered()

    assert "`approval_decide` done" in asked.shown


async def test_a_question_that_is_reminded_of_says_so_once_in_its_thread(
    world: SlackWorld, owner_connection: Connection
) -> None:
    asked = await question(world)
    await world.door.questions.remind()
    await owner_connection.execute("UPDATE approvals SET reminded_at = now()")
    for _ in range(2):
        await world.door.questions.remind()
    said = [each.shown for each in world.slack.posted(asked.channel, asked.thread_ts)]
    reminders = [each for each in said if "task_create still waits for a person" in each]
    assert len(reminders) == 1
    assert "Who may decide: EMPLOYEE or above" in reminders[0]


async def test_what_expires_loses_its_buttons(world: SlackWorld, owner_connection: Connection) -> None:
    asked = await question(world)
    await owner_connection.execute("UPDATE approvals SET expires_at = now() - interval '1 second'")

    await world.deliver(world.slack.press(asked, "glow_approve", MANAGER))

    assert "expired" in world.slack.whispered(MANAGER)[0].body
    assert not has_buttons(asked)
    assert "Expired" in asked.shown


@pytest.mark.parametrize("role", ["readonly", "client"])
async def test_whoever_may_not_decide_is_told_so_and_the_press_is_recorded(
    world: SlackWorld, superuser_connection: Connection, role: str
) -> None:
    asked = await question(world)
    who = slack_id(f"{role}@borealis")

    await world.deliver(world.slack.press(asked, "glow_approve", who))

    assert has_buttons(asked)
    ((door, mode, email, outcome),) = await decisions(superuser_connection)
    assert (door, mode, email) == ("slack", "person", f"{role}@borealis.example")
    assert outcome in ("denied", "invalid")
    assert await tasks_made(superuser_connection) == 0
    assert len(world.slack.whispered(who)) == 1


async def test_who_presses_is_asked_at_the_press(world: SlackWorld, superuser_connection: Connection) -> None:
    """The manager was known a moment ago, and has been put out of the workspace since."""
    await world.ask("what may you do on your own?", "manager@borealis")
    asked = await question(world)
    world.slack.users[MANAGER]["deleted"] = True

    await world.deliver(world.slack.press(asked, "glow_approve", MANAGER))

    assert world.slack.whispered(MANAGER)[-1].body == NOT_YOU
    assert await decisions(superuser_connection) == []
    assert has_buttons(asked)


async def test_whoever_sends_the_form_is_asked_at_the_sending(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)
    await world.deliver(world.slack.press(asked, "glow_reject", MANAGER))
    world.slack.users[MANAGER]["is_restricted"] = True

    await world.deliver(world.slack.send_form(world.slack.views[0], MANAGER, None))

    assert await decisions(superuser_connection) == []
    assert await superuser_connection.fetchval("SELECT state FROM approvals") == "pending"


async def test_a_press_from_another_workspace_decides_nothing(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)

    await world.deliver(world.slack.press(asked, "glow_approve", MANAGER, user={"id": MANAGER, "team_id": "T0OTHER"}))

    assert await decisions(superuser_connection) == []


async def test_a_press_for_an_approval_that_is_not_there_decides_nothing(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)
    press = world.slack.press(asked, "glow_approve", MANAGER)
    press["actions"][0]["value"] = "00000000-0000-4000-8000-000000000001"

    await world.deliver(press)

    assert has_buttons(asked)
    ((*_, outcome),) = await decisions(superuser_connection)
    assert outcome == "invalid"


async def test_a_question_is_asked_once_though_its_message_is_answered_again(
    world: SlackWorld, owner_connection: Connection
) -> None:
    body = world.slack.mention(EVA, f"create a task to {TITLE}")
    await world.deliver(body)
    before = len(world.slack.posted(CHANNEL))
    await owner_connection.execute(
        "UPDATE slack_events SET done_at = NULL, payload = $1, lease_until = now() WHERE event_id NOT LIKE 'run:%'",
        json.dumps(body),
    )

    await world.door.inbox.sweep()
    await world.door.inbox.idle()

    assert len(world.slack.posted(CHANNEL)) == before


async def goes_on(world: SlackWorld, connection: Connection) -> None:
    """Whoever takes jobs takes up the run, unless its process saw the answer first, and the inbox what is due."""
    row = await connection.fetchrow("SELECT organization_id, run_id FROM runs")
    assert row is not None
    await world.hub.runs.go_on(RunKey(organization_id=row["organization_id"], run_id=row["run_id"]))
    await world.door.inbox.sweep()
    await world.door.inbox.idle()


async def test_after_the_button_the_answer_goes_on_in_its_thread(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    asked = await question(world)
    waits = world.slack.posted(CHANNEL)[0].text
    assert "waits for a person" in waits

    await world.deliver(world.slack.press(asked, "glow_approve", EVA))
    await goes_on(world, superuser_connection)

    answer = world.slack.posted(CHANNEL)[-1]
    assert "I created the task" in answer.text
    assert answer.thread_ts == asked.thread_ts
    assert await superuser_connection.fetchval("SELECT status FROM runs") == "completed"


async def test_an_answer_given_elsewhere_is_heard_in_the_thread(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    await question(world)
    await world.door.inbox.sweep()  # nothing is due while it waits
    approval_id = str(await superuser_connection.fetchval("SELECT approval_id FROM approvals"))
    rejected = {"approval_id": approval_id, "decision": "reject", "comment": "not now"}
    assert (await world.call("manager@borealis", "approval_decide", rejected)).outcome == "done"

    await world.door.questions.settle_answered()
    await goes_on(world, superuser_connection)

    assert "not now" in world.slack.posted(CHANNEL)[-1].text
    assert len([each for each in world.slack.posted(CHANNEL) if "not now" in each.text]) == 1


# Whose workspace ------------------------------------------------------------------------------------------------------


async def test_a_workspace_belongs_to_one_organization(database: Database) -> None:
    async with slack_world(database, connected_to="acme") as world:
        admin = slack_id("admin@acme")
        world.slack.users[admin]["profile"] = {"email": "admin@borealis.example"}

        refused = await world.call("admin@borealis", "slack_connect", {"team_id": TEAM})

        assert refused.outcome == "invalid"
        assert refused.error is not None
        assert refused.error.code == "workspace_taken"


@pytest.mark.parametrize(
    ("who", "team", "code"),
    [
        ("admin@borealis", TEAM, "not_workspace_admin"),
        ("admin@acme", "T0OTHER", "another_workspace"),
    ],
)
async def test_only_its_own_administrator_connects_a_workspace(
    database: Database, who: str, team: str, code: str
) -> None:
    async with slack_world(database, connected_to="acme") as world:
        refused = await world.call(who, "slack_connect", {"team_id": team})

        assert refused.outcome == "invalid"
        assert refused.error is not None
        assert refused.error.code == code


async def test_a_channel_of_a_workspace_that_is_not_ones_own_cannot_be_set(database: Database) -> None:
    async with slack_world(database, connected_to="acme") as world:
        setting = {"team_id": TEAM, "channel_id": CHANNEL, "agent": "assistant"}
        theirs = await world.call("admin@borealis", "slack_channel_set", setting)
        unknown = await world.call("admin@acme", "slack_channel_set", {**setting, "agent": "nobody"})
        engaged = {**setting, "engagement_id": "00000000-0000-4000-8000-000000000001"}
        nothing = await world.call("admin@acme", "slack_channel_set", engaged)

        codes = [each.error.code for each in (theirs, unknown, nothing) if each.error is not None]
        assert codes == ["workspace_not_connected", "unknown_agent", "engagement_not_found"]


async def test_slack_away_connects_nothing_and_says_so(database: Database) -> None:
    async with slack_world(database, connected_to="acme") as world:
        world.slack.away = True
        refused = await world.call("admin@acme", "slack_connect", {"team_id": TEAM})

        assert refused.error is not None
        assert refused.error.code == "slack_unreachable"
