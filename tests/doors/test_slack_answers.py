"""Mentions, threads and direct messages in Slack: answered once, to whom they may be, whatever Slack does meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.model import ModelRequest, UserMessage
from server.database.connection import Connection
from server.database.slack import EventKey, PostgresSlack
from server.hub import HubOptions
from server.slack.messages import NO_ENGAGEMENT, SHARED, UNKNOWN
from tests.support.database import Database
from tests.support.doors import in_a_task
from tests.support.fake_slack import BOT_ID, BOT_USER, CHANNEL, DIRECT, TEAM, FakeSlack, Message, user
from tests.support.scripted_model import ScriptedModel, says
from tests.support.slack_world import SlackWorld, slack_id, slack_world

Json = dict[str, Any]

EVA = slack_id("employee@acme")
PIECES = tuple(f"Sentence number {number} of the answer. " for number in range(8))
WHOLE = "".join(PIECES)


class Slowly:
    """A pace at which each piece is said only once Slack shows the one before."""

    def __init__(self, slack: FakeSlack) -> None:
        self._slack = slack
        self._said = 0

    async def __call__(self) -> None:
        async with asyncio.timeout(20):
            await self._slack.until(lambda: min(self._said, len(PIECES)) <= self.shown() or self._slack.away)
        self._said += 1

    def shown(self) -> int:
        """How many pieces Slack has taken."""
        started = len(self._slack.made("chat.startStream"))
        return started + sum(message.appends for message in self._slack.messages.values())


@pytest.fixture
async def world(database: Database) -> AsyncIterator[SlackWorld]:
    async with in_a_task(slack_world(database)) as opened:
        yield opened


def saying(*pieces: str) -> HubOptions:
    """A model that says these whenever it is asked."""
    return HubOptions(model=ScriptedModel(brain=lambda _: says(*pieces)))


def slowly(slack: FakeSlack, *pieces: str) -> HubOptions:
    """The same, piece by piece."""
    return HubOptions(model=ScriptedModel(brain=lambda _: says(*pieces), pace=Slowly(slack)))


def joined(messages: list[Message]) -> str:
    return "".join(message.body for message in messages)


async def count(connection: Connection, table: str) -> int:
    return await connection.fetchval(f"SELECT count(*) FROM {table}")


# Answers --------------------------------------------------------------------------------------------------------------


async def test_a_mention_is_answered_in_its_thread_with_its_calls_below(world: SlackWorld) -> None:
    (answer,) = await world.ask("what may you do on your own?")

    assert "The level in force is L2" in answer.shown
    assert "`autonomy_query` done" in answer.shown
    assert not answer.streaming


async def test_a_mention_is_the_agents_call_at_this_door(world: SlackWorld, superuser_connection: Connection) -> None:
    await world.ask("what may you do on your own?")

    row = await superuser_connection.fetchrow(
        "SELECT e.door, e.mode, e.attended, u.email FROM activity_events e JOIN users u ON u.user_id = e.principal_id "
        "WHERE e.tool = 'autonomy_query'"
    )
    assert row is not None
    assert tuple(row) == ("slack", "agent", True, "employee@acme.example")


async def test_a_stream_names_its_recipient_as_channels_want_it(world: SlackWorld) -> None:
    await world.ask("what may you do on your own?")

    (started,) = world.slack.made("chat.startStream")
    assert (started["recipient_user_id"], started["recipient_team_id"]) == (EVA, TEAM)


async def test_a_direct_message_is_answered(world: SlackWorld) -> None:
    body = world.slack.direct(EVA, "what may you do on your own?")
    await world.deliver(body)

    (answer,) = world.slack.posted(f"{DIRECT}{EVA}", body["event"]["ts"])
    assert "The level in force is L2" in answer.shown


async def test_a_command_is_answered_where_only_whoever_typed_it_reads(world: SlackWorld) -> None:
    answer = await world.deliver(world.slack.command(EVA, "what may you do on your own?"))

    assert answer.status_code == 200
    repeated, told = world.slack.posted(f"{DIRECT}{EVA}")
    assert repeated.body == "what may you do on your own?"
    assert told.thread_ts == repeated.ts
    assert "The level in force is L2" in told.shown
    assert world.slack.posted(CHANNEL) == []


async def test_a_thread_with_the_assistant_is_greeted_and_answered(world: SlackWorld) -> None:
    thread = {"user_id": EVA, "channel_id": f"{DIRECT}{EVA}", "thread_ts": world.slack.ts()}
    await world.deliver(world.slack.event({"type": "assistant_thread_started", "assistant_thread": thread}))
    await world.deliver(world.slack.direct(EVA, "what may you do on your own?", thread_ts=thread["thread_ts"]))

    greeting, told = world.slack.posted(f"{DIRECT}{EVA}", thread["thread_ts"])
    assert "I answer in this thread" in greeting.body
    assert "The level in force is L2" in told.shown


async def test_an_answer_streams_while_the_model_speaks(database: Database) -> None:
    async with FakeSlack() as slack, opened(database, slack, slowly(slack, *PIECES)) as world:
        messages = await world.ask("tell me")

        assert joined(messages) == WHOLE
        assert len(slack.made("chat.appendStream")) >= len(PIECES) - 2


async def test_what_a_model_says_pings_nobody(database: Database) -> None:
    said = "Hello <!channel> and <@U0BOSS>, see <https://evil.test|here> & *this* @here"
    async with opened(database, None, saying(said)) as world:
        (answer,) = await world.ask("tell me")

        assert joined([answer]) == said
        sent = json.dumps([given for method, given in world.slack.calls if method.startswith("chat.")])
        assert "<!" not in sent
        assert "<@" not in sent
        assert "<http" not in sent


async def test_a_long_answer_goes_over_as_many_messages_as_it_takes(database: Database) -> None:
    paragraph = "A paragraph & its words, each of them counted. " * 60 + "\n\n"
    async with opened(database, None, saying(*[paragraph] * 12)) as world:
        messages = await world.ask("tell me")

        assert joined(messages) == paragraph * 12
        assert len(messages) >= 4


async def test_an_answer_of_signs_only_keeps_to_slacks_limits(database: Database) -> None:
    async with opened(database, None, saying("&<>" * 8000)) as world:
        messages = await world.ask("tell me")

        assert joined(messages) == "&<>" * 8000


@pytest.mark.parametrize("kind", ["streamed", "closed", "killed"])
async def test_an_answer_of_signs_is_settled_within_slacks_limits(
    database: Database, owner_connection: Connection, kind: str
) -> None:
    text = "<&" * 9000
    async with opened(database, None, saying(text)) as world:
        if kind == "closed":
            world.slack.closes_at = {0, 1, 2}
        body = world.slack.mention(EVA, "tell me")
        await world.deliver(body)
        if kind == "killed":
            await not_done(owner_connection, body)
            await again(world, owner_connection)

        assert joined(world.slack.posted()) == text


async def test_the_label_of_a_link_poses_as_no_address(database: Database, owner_connection: Connection) -> None:
    said = "[https://hub.example.com/#approval=1](https://evil.test) and [hub]\n\n[hub]: https://evil.test"
    async with opened(database, None, saying(*said)) as world:
        body = world.slack.mention(EVA, "tell me")
        await world.deliver(body)
        (streamed,) = world.slack.posted()
        assert "](" not in streamed.text
        assert "]:" not in streamed.text

        await not_done(owner_connection, body)
        await again(world, owner_connection)
        (settled,) = world.slack.posted()
        assert "https://hub.example.com/#approval=1 (<https://evil.test>)" in settled.body
        assert "|" not in settled.body


# Conversations --------------------------------------------------------------------------------------------------------


async def test_each_person_has_a_conversation_of_their_own_in_a_thread(
    database: Database, superuser_connection: Connection
) -> None:
    model = ScriptedModel(brain=lambda _: says("Noted."))
    async with opened(database, None, HubOptions(model=model)) as world:
        first = world.slack.mention(EVA, "my salary is secret")
        await world.deliver(first)
        thread_ts = first["event"]["ts"]
        await world.ask("and mine?", "manager@acme", thread_ts=thread_ts)
        await world.ask("what did I say?", thread_ts=thread_ts)

    rows = await superuser_connection.fetch("SELECT owner_id FROM conversations")
    assert len({row["owner_id"] for row in rows}) == len(rows) == 2
    of_manager, of_eva = model.requests[1:]
    assert "salary" not in words_of(of_manager)
    assert "salary" in words_of(of_eva)


def words_of(request: ModelRequest) -> str:
    return " ".join(each.text for each in request.messages if isinstance(each, UserMessage))


async def test_a_channel_is_answered_within_its_engagement_and_only_for_those_who_see_it(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    engagement_id = await superuser_connection.fetchval(
        "SELECT engagement_id FROM engagements e JOIN organizations o USING (organization_id) "
        "WHERE o.slug = 'acme-audit' LIMIT 1"
    )
    setting = {"team_id": TEAM, "channel_id": CHANNEL, "agent": "assistant", "engagement_id": str(engagement_id)}
    assert (await world.call("admin@acme", "slack_channel_set", setting)).outcome == "done"

    await world.ask("what may you do on your own?")

    assert await superuser_connection.fetchval("SELECT engagement_id FROM conversations") == engagement_id


async def test_a_channels_engagement_is_closed_to_whoever_has_no_access_to_it(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    """A client reads what its own mandates hold, and speaks in no channel of another's."""
    engagement_id = await superuser_connection.fetchval(
        "SELECT engagement_id FROM engagements e JOIN organizations o USING (organization_id) "
        "WHERE o.slug = 'acme-audit' AND NOT EXISTS (SELECT FROM engagement_members m JOIN users u USING (user_id) "
        "WHERE m.engagement_id = e.engagement_id AND u.email = 'client@acme.example') LIMIT 1"
    )
    assert engagement_id is not None
    setting = {"team_id": TEAM, "channel_id": CHANNEL, "agent": "assistant", "engagement_id": str(engagement_id)}
    assert (await world.call("admin@acme", "slack_channel_set", setting)).outcome == "done"

    await world.ask("search the engagement letter", "client@acme")

    assert world.slack.whispered(slack_id("client@acme"))[0].body == NO_ENGAGEMENT
    assert world.slack.posted(CHANNEL) == []
    assert await count(superuser_connection, "runs") == 0
    assert await count(superuser_connection, "conversations") == 0


async def test_a_thread_that_was_handed_over_stays_with_whom_it_was_handed_to(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    """Whoever answers in the channel is named for new threads only."""
    setting = {"team_id": TEAM, "channel_id": CHANNEL, "agent": "assistant"}
    assert (await world.call("admin@acme", "slack_channel_set", setting)).outcome == "done"
    first = world.slack.mention(EVA, "Talk to the tax agent")
    await world.deliver(first)
    thread_ts = first["event"]["ts"]
    (handed,) = world.slack.posted(CHANNEL, thread_ts)
    assert "`agent_handover` done" in handed.shown

    await world.ask("what may you do on your own?", thread_ts=thread_ts)
    await world.ask("what may you do on your own?")

    rows = await superuser_connection.fetch("SELECT agent FROM runs ORDER BY created_at")
    assert [row["agent"] for row in rows] == ["assistant", "tax", "assistant"]
    kept = await superuser_connection.fetch("SELECT agent FROM conversations ORDER BY created_at")
    assert [row["agent"] for row in kept] == ["tax", "assistant"]


# Who is who -----------------------------------------------------------------------------------------------------------

STRANGERS: dict[str, Json] = {
    "a guest": {"is_restricted": True},
    "a guest of one channel": {"is_ultra_restricted": True},
    "somebody of another company": {"is_stranger": True, "team_id": "T0OTHER"},
    "somebody of another workspace": {"team_id": "T0OTHER"},
    "somebody who left": {"deleted": True},
    "a bot": {"is_bot": True},
    "an app": {"is_app_user": True},
    "whose address is not confirmed": {"is_email_confirmed": False},
    "of whose address nothing is said": {"is_email_confirmed": None},
    "without an address": {"profile": {}},
    "whose address nobody has": {"profile": {"email": "nobody@acme.example"}},
    "of another organization": {"profile": {"email": "partner@borealis.example"}},
    "the hub's own account": {"profile": {"email": "hub@acme.example"}},
}


@pytest.mark.parametrize("who", STRANGERS)
async def test_strangers_are_refused_politely_and_nothing_is_done_for_them(
    world: SlackWorld, superuser_connection: Connection, who: str
) -> None:
    world.slack.users["USTRANGER"] = user("USTRANGER", "employee@acme.example") | STRANGERS[who]
    before = await count(superuser_connection, "activity_events")

    await world.deliver(world.slack.mention("USTRANGER", "search the engagement letter"))
    await world.deliver(world.slack.direct("USTRANGER", "search the engagement letter"))

    (whispered,) = world.slack.whispered("USTRANGER")
    (told,) = world.slack.posted(f"{DIRECT}USTRANGER")
    assert whispered.body == told.body == UNKNOWN
    assert world.slack.posted(CHANNEL) == []
    assert await count(superuser_connection, "runs") == 0
    assert await count(superuser_connection, "activity_events") == before


async def test_whoever_writes_from_another_workspace_is_refused_without_asking_who_it_is(world: SlackWorld) -> None:
    body = world.slack.mention(EVA, "search the engagement letter")
    body["event"]["user_team"] = "T0OTHER"

    await world.deliver(body)

    assert world.slack.whispered(EVA)[0].body == UNKNOWN
    assert world.slack.made("users.info") == []


@pytest.mark.parametrize("said", [True, None])
async def test_a_channel_that_another_company_reads_is_not_answered_in(world: SlackWorld, said: bool | None) -> None:
    body = world.slack.mention(EVA, "search the engagement letter") | {"is_ext_shared_channel": said}

    await world.deliver(body)

    assert world.slack.whispered(EVA)[0].body == SHARED
    assert world.slack.posted(CHANNEL) == []


async def test_bots_edits_and_our_own_words_are_left_alone(world: SlackWorld) -> None:
    before = len(world.slack.calls)
    for event in (
        {"bot_id": "B0OTHER"},
        {"bot_id": BOT_ID, "user": BOT_USER},
        {"subtype": "message_changed"},
        {"subtype": "bot_message"},
        {"subtype": "channel_join"},
        {"hidden": True},
        {"user": None},
    ):
        body = world.slack.direct(EVA, "what may you do on your own?", **event)
        assert (await world.deliver(body)).status_code == 200
    reaction = world.slack.event({"type": "reaction_added", "user": EVA})
    assert (await world.deliver(reaction)).status_code == 200
    in_channel = world.slack.direct(EVA, "hello", channel_type="channel", channel=CHANNEL)
    assert (await world.deliver(in_channel)).status_code == 200

    assert len(world.slack.calls) == before


# Once -----------------------------------------------------------------------------------------------------------------


async def test_the_same_event_five_times_at_once_is_answered_once(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    body = world.slack.mention(EVA, "create a task to call the bank")

    answers = await asyncio.gather(*(world.deliver(body, retry=retry) for retry in (None, 1, 2, 3, 4)))

    assert [answer.status_code for answer in answers] == [200] * 5
    assert len(world.slack.posted()) == 1
    made = "SELECT count(*) FROM tasks WHERE title ILIKE '%call the bank%'"
    assert await superuser_connection.fetchval(made) == 1


async def test_an_event_that_comes_again_after_its_answer_is_not_answered_again(world: SlackWorld) -> None:
    body = world.slack.mention(EVA, "what may you do on your own?")
    await world.deliver(body)
    await world.deliver(body, retry=1)

    assert len(world.slack.posted()) == 1


async def test_what_was_kept_and_not_worked_on_is_answered_by_the_sweep(world: SlackWorld) -> None:
    hub = world.hub
    store = PostgresSlack(hub.transactions, hub.pools.app, hub.pools.service)
    team = await store.team(TEAM)
    assert team is not None
    body = world.slack.mention(EVA, "what may you do on your own?")
    key = EventKey(organization_id=team.organization_id, team_id=TEAM, event_id=body["event_id"], attempt=1)
    nobody_holds = -world.door.inbox.patience.lease
    assert await store.keep(key, json.dumps(body), nobody_holds)

    await world.door.inbox.sweep()
    await world.door.inbox.idle()

    assert len(world.slack.posted()) == 1
    assert await store.load(key) is None


async def test_what_a_killed_process_had_shown_is_completed_in_place(
    world: SlackWorld, owner_connection: Connection
) -> None:
    body = world.slack.mention(EVA, "what may you do on your own?")
    await world.deliver(body)
    (shown,) = world.slack.posted()
    whole = shown.shown
    # As though the process had been killed in the midst of showing it.
    shown.text, shown.blocks, shown.streaming = "The lev", [], True
    await not_done(owner_connection, body)

    await world.door.inbox.sweep()
    await world.door.inbox.idle()

    (settled,) = world.slack.posted()
    assert not settled.streaming
    assert squeezed(settled.shown) == squeezed(whole)


def squeezed(text: str) -> str:
    """Without what Markdown and mrkdwn write differently."""
    return "".join(text.replace("•", "-").split())


async def not_done(owner: Connection, body: Json) -> None:
    """The event as it stood before it was done, in nobody's hands."""
    changed = await owner.execute(
        "UPDATE slack_events SET done_at = NULL, outcome = NULL, payload = $2, lease_until = now() WHERE event_id = $1",
        body["event_id"],
        json.dumps(body),
    )
    assert changed == "UPDATE 1"


async def test_whoever_was_taken_for_dead_changes_nothing_any_more(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    hub = world.hub
    store = PostgresSlack(hub.transactions, hub.pools.app, hub.pools.service)
    team = await store.team(TEAM)
    assert team is not None
    first = EventKey(organization_id=team.organization_id, team_id=TEAM, event_id="Ev1", attempt=1)
    await store.keep(first, "{}", -world.door.inbox.patience.lease)
    (second,) = await store.claim(10, world.door.inbox.patience.lease)

    assert await store.load(first) is None
    assert not await store.posted(first, ["1.1"])
    assert not await store.finish(first, "answered")
    assert await store.claim(10, world.door.inbox.patience.lease) == []
    assert await store.finish(second, "answered")


async def test_the_words_of_an_event_are_kept_no_longer_than_its_answer_takes(
    world: SlackWorld, superuser_connection: Connection
) -> None:
    await world.ask("what may you do on your own?")

    row = await superuser_connection.fetchrow("SELECT payload, outcome FROM slack_events")
    assert row is not None
    assert tuple(row) == ("", "answered")


# Whatever Slack does --------------------------------------------------------------------------------------------------


def opened(database: Database, slack: FakeSlack | None, options: HubOptions) -> Any:
    """A world with a model of the test's own; `slack`: one that the model knows of."""
    return slack_world(database, options, fake=slack)


@pytest.mark.parametrize("at", range(len(PIECES)))
async def test_a_stream_that_slack_closes_loses_nothing_wherever_it_is_cut(database: Database, at: int) -> None:
    async with FakeSlack() as slack, opened(database, slack, slowly(slack, *PIECES)) as world:
        slack.closes_at = {at}

        messages = await world.ask("tell me")

        assert joined(messages) == WHOLE
        assert not any(message.streaming for message in messages)
        refused = [given for method, given in slack.calls if method in ("chat.appendStream", "chat.stopStream")]
        # The first piece opens the stream, the others are appended, and then it is stopped.
        assert len(refused) > at, "the cut was never reached"
        assert len(slack.made("chat.update")) == 1


async def test_a_stream_that_slack_closes_at_every_append_loses_nothing(database: Database) -> None:
    async with FakeSlack() as slack, opened(database, slack, slowly(slack, *PIECES)) as world:
        slack.closes_at = set(range(100))

        messages = await world.ask("tell me")

        assert joined(messages) == WHOLE
        assert not any(message.streaming for message in messages)


@pytest.mark.parametrize("after", ["chat.startStream", "chat.stopStream"])
async def test_whoever_wakes_after_being_taken_for_dead_writes_over_nothing(
    database: Database, owner_connection: Connection, after: str
) -> None:
    """By then somebody else has shown the answer whole."""
    async with opened(database, None, saying(WHOLE * 50)) as world:

        async def taken_over() -> None:
            await owner_connection.execute("UPDATE slack_events SET attempts = attempts + 1")
            world.slack.closes_at = set(range(1, 100))

        world.slack.after = {after: taken_over}
        messages = await world.ask("tell me")

        assert len(messages) == 1
        assert world.slack.made("chat.update") == []


async def test_slack_that_wants_less_is_given_time(database: Database) -> None:
    async with FakeSlack() as slack, opened(database, slack, slowly(slack, *PIECES)) as world:
        limited = (429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "3"})
        slack.faults["chat.appendStream"] = [limited, limited]
        slack.faults["chat.startStream"] = [limited]
        slack.faults["chat.stopStream"] = [limited]

        assert joined(await world.ask("tell me")) == WHOLE


async def test_an_answer_that_slack_will_not_take_for_long_is_put_off_and_not_lost(
    database: Database, owner_connection: Connection
) -> None:
    async with opened(database, None, saying(WHOLE)) as world:
        world.slack.faults["chat.startStream"] = [(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "3600"})]
        assert await world.ask("tell me") == []

        await again(world, owner_connection)

        assert joined(world.slack.posted()) == WHOLE


@pytest.mark.parametrize("after", [1, 4, 7])
async def test_slack_that_goes_away_in_the_midst_gets_the_whole_answer_when_it_is_back(
    database: Database, owner_connection: Connection, after: int
) -> None:
    async with FakeSlack() as slack, opened(database, slack, slowly(slack, *PIECES)) as world:

        async def go_away() -> None:
            slack.away = slack.away or Slowly(slack).shown() >= after

        slack.after = {"chat.startStream": go_away, "chat.appendStream": go_away}
        await world.ask("tell me")
        assert joined(slack.posted()) != WHOLE
        slack.after, slack.away = {}, False

        await again(world, owner_connection)

        messages = slack.posted()
        assert joined(messages) == WHOLE
        assert not any(message.streaming for message in messages)
        assert len(messages) == 1


async def again(world: SlackWorld, owner: Connection) -> None:
    """The pause is over: what was put off is taken up."""
    await owner.execute("UPDATE slack_events SET lease_until = now() WHERE done_at IS NULL")
    await world.door.inbox.sweep()
    await world.door.inbox.idle()


async def test_slack_that_stays_away_is_given_up_with_the_answer_in_the_conversation(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> None:
    async with opened(database, None, saying(WHOLE)) as world:
        world.slack.away = True
        await world.ask("tell me")
        world.slack.away = False
        world.slack.users.clear()
        await owner_connection.execute("UPDATE slack_events SET received_at = now() - interval '2 hours'")
        world.slack.away = True

        await again(world, owner_connection)

        assert await superuser_connection.fetchval("SELECT outcome FROM slack_events") == "given_up"


async def test_a_channel_that_will_not_have_us_ends_it(world: SlackWorld, superuser_connection: Connection) -> None:
    await world.deliver(world.slack.mention(EVA, "what may you do on your own?", channel="C0NOWHERE"))

    assert await superuser_connection.fetchval("SELECT outcome FROM slack_events") == "refused:channel_not_found"
