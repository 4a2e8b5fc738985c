"""Versions of a turn on the real database: what was said before stays, what it did stands, and each path is its own."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid4

import orjson
import pytest

from agent.conversations.model import Said
from agent.conversations.refusals import ConversationBusy, ConversationNotFound, InvalidMessage, RunNotFound
from agent.model import AssistantMessage, ModelRequest, UserMessage
from agent.run_opening import NewMessage
from agent.runs import RunHandle
from domain.kernel import ConversationId, Principal, PrincipalId, RunId
from domain.paging import page_request
from domain.resources import resource_folder
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import EVA, Process, process_on
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_model import HoldAt, ScriptedModel, asks, call, says

CREATE = asks(call("task_create", {"title": "Ask the bank"}))


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms are there; their seeded runs are out of the way."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


async def told(process: Process, asked: NewMessage, principal: Principal = EVA) -> RunHandle:
    """A message, answered to its end."""
    begun = await process.runs.start(principal, asked)
    await process.frames(begun.run_id, principal)
    return begun


async def path(process: Process, conversation: ConversationId, branch: RunId | None = None) -> Sequence[Said]:
    return (await process.conversations.messages(EVA, conversation, page_request(), branch)).items


def words(said: Sequence[Said]) -> list[str]:
    return [each.text for each in said]


def heard(request: ModelRequest) -> list[str]:
    """What people and the model said, as the model was given it."""
    return [each.text for each in request.messages if isinstance(each, UserMessage | AssistantMessage)]


async def test_an_answer_given_again_stands_beside_the_first_which_can_be_gone_back_to(pools: DatabasePools) -> None:
    model = ScriptedModel(says("One."), says("Two."), says("Uno."), says("Tre."))
    async with process_on(pools, model) as process:
        first = await told(process, NewMessage(message="Count."))
        talk = first.conversation_id
        await told(process, NewMessage(message="Go on.", conversation_id=talk))
        again = await told(process, NewMessage(message="", regenerates=first.run_id))
        assert again.conversation_id == talk
        assert heard(model.requests[2]) == ["Count."], "the model is told its own path alone"

        said = await path(process, talk)
        assert words(said) == ["Count.", "Uno."]
        assert [each.versions for each in said] == [(again.run_id,), (first.run_id, again.run_id)]
        assert said[1].parent_id == said[0].message_id
        assert words(await path(process, talk, first.run_id)) == ["Count.", "One.", "Go on.", "Two."]

        chosen = await process.conversations.choose(EVA, talk, first.run_id)
        assert chosen.active_run_id not in (first.run_id, again.run_id), "behind what was said last of it"
        await told(process, NewMessage(message="More.", conversation_id=talk))
        assert heard(model.requests[3]) == ["Count.", "One.", "Go on.", "Two.", "More."]


async def test_a_message_written_anew_branches_where_it_stood_and_a_message_may_follow_any_run(
    pools: DatabasePools,
) -> None:
    model = ScriptedModel(says("A."), says("B."), says("B2."), says("C."), says("C2."))
    async with process_on(pools, model) as process:
        first = await told(process, NewMessage(message="a"))
        talk = first.conversation_id
        second = await told(process, NewMessage(message="b", conversation_id=talk))
        edited = await told(process, NewMessage(message="b, but shorter", edits=second.run_id))
        assert heard(model.requests[2]) == ["a", "A.", "b, but shorter"]
        said = await path(process, talk)
        assert words(said) == ["a", "A.", "b, but shorter", "B2."]
        assert [each.versions for each in said][2:] == [(second.run_id, edited.run_id), (edited.run_id,)]

        await told(process, NewMessage(message="c", conversation_id=talk, after=second.run_id))
        assert heard(model.requests[3]) == ["a", "A.", "b", "B.", "c"]
        root = await told(process, NewMessage(message="z", edits=first.run_id))
        assert words(await path(process, talk)) == ["z", "C2."]
        assert next(iter(await path(process, talk))).versions == (first.run_id, root.run_id)


async def test_what_another_version_did_is_told_and_not_done_again(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    model = ScriptedModel(CREATE, says("Created."), CREATE, says("It is there."), says("Yes."), CREATE, says("Two."))
    async with process_on(pools, model) as process:
        first = await told(process, NewMessage(message="Create a task to ask the bank."))
        again = await told(process, NewMessage(message="", regenerates=first.run_id))
        note, *_ = heard(model.requests[2])
        assert 'task_create {"title":"Ask the bank"}: done' in note
        frames = await process.frames(again.run_id)
        refused = orjson.loads(next(frame.data for frame in frames if frame.type == "tool.completed"))
        assert (refused["outcome"], refused["error"]["code"]) == ("denied", "already_done")

        counted = "SELECT count(*) FROM tasks WHERE title = 'Ask the bank'"
        assert await superuser_connection.fetchval(counted) == 1
        recorded = "SELECT outcome FROM activity_events WHERE run_id = $1 AND tool = 'task_create'"
        assert await superuser_connection.fetchval(recorded, again.run_id) == "denied"

        # Asked for in a message of its own it is done: that is no version of what was said before.
        talk = first.conversation_id
        await told(process, NewMessage(message="Is it there?", conversation_id=talk))
        assert any("stand" in each for each in heard(model.requests[4]))
        await told(process, NewMessage(message="Then another one.", conversation_id=talk))
        assert await superuser_connection.fetchval(counted) == 2


async def test_a_version_is_answered_by_who_answered_first_and_keeps_what_it_was_asked_under(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        first = await told(process, NewMessage(message="First?"))
        talk = first.conversation_id
        await told(process, NewMessage(message="You?", conversation_id=talk, agent="librarian"))
        await superuser_connection.execute("UPDATE conversations SET agent_ceiling = 1")
        again = await told(process, NewMessage(message="", regenerates=first.run_id))
    agents = "SELECT agent FROM runs WHERE run_id = $1"
    assert await superuser_connection.fetchval(agents, again.run_id) == "assistant"
    assert (
        await superuser_connection.fetchval("SELECT agent_ceiling FROM conversations WHERE conversation_id=$1", talk)
        == 1
    )


async def test_a_stopped_answer_stays_as_far_as_it_was_said_and_the_model_knows(pools: DatabasePools) -> None:
    hold = HoldAt(1)
    async with process_on(pools, ScriptedModel(says("half ", "whole"), pace=hold)) as process:
        begun = await process.runs.start(EVA, NewMessage(message="Tell me."))
        await hold.reached.wait()
        await process.runs.cancel(EVA, begun.run_id)
        assert words(await path(process, begun.conversation_id)) == ["Tell me.", "half "]
    model = ScriptedModel(says("Well."))
    async with process_on(pools, model) as process:
        await told(process, NewMessage(message="And?", conversation_id=begun.conversation_id))
    assert heard(model.requests[0]) == ["Tell me.", "half ", "(The user stopped this turn here.)", "And?"]


async def test_one_run_at_a_time_whichever_version(pools: DatabasePools) -> None:
    hold = HoldAt(3)
    async with process_on(pools, ScriptedModel(says("One."), says("Two."), pace=hold)) as process:
        first = await told(process, NewMessage(message="Count."))
        going = await process.runs.start(EVA, NewMessage(message="", regenerates=first.run_id))
        await hold.reached.wait()
        for asked in (
            NewMessage(message="", regenerates=first.run_id),
            NewMessage(message="Other.", edits=first.run_id),
            NewMessage(message="More.", conversation_id=first.conversation_id, after=first.run_id),
        ):
            with pytest.raises(ConversationBusy):
                await process.runs.start(EVA, asked)
        with pytest.raises(ConversationBusy):
            await process.conversations.choose(EVA, first.conversation_id, first.run_id)
        await process.runs.cancel(EVA, going.run_id)


OTHERS = [principal_of(FIRM_B), replace(EVA, principal_id=PrincipalId(FIRM_A.id("partner")))]


@pytest.mark.parametrize("who", OTHERS, ids=["another firm's", "a partner"])
async def test_nobody_else_makes_sees_or_chooses_a_version(pools: DatabasePools, who: Principal) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        first = await told(process, NewMessage(message="Mine."))
        theirs = await told(process, NewMessage(message="Theirs."), who)
        for asked in (
            NewMessage(message="", regenerates=first.run_id),
            NewMessage(message="Mine now.", edits=first.run_id),
            NewMessage(message="More.", conversation_id=theirs.conversation_id, after=first.run_id),
        ):
            with pytest.raises(RunNotFound):
                await process.runs.start(who, asked)
        with pytest.raises(ConversationNotFound):
            await process.conversations.choose(who, first.conversation_id, first.run_id)
        for named in (first.run_id, RunId(uuid4())):
            with pytest.raises(RunNotFound):
                await process.conversations.choose(who, theirs.conversation_id, named)
            with pytest.raises(RunNotFound):
                await process.conversations.messages(who, theirs.conversation_id, page_request(), named)
        with pytest.raises(InvalidMessage):
            await process.runs.start(who, NewMessage(message="More.", after=theirs.run_id))


async def test_two_versions_at_once_are_one_after_the_other_or_refused(pools: DatabasePools) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        first = await told(process, NewMessage(message="Begin."))
        again = NewMessage(message="", regenerates=first.run_id)
        both = await asyncio.gather(
            process.runs.start(EVA, again), process.runs.start(EVA, again), return_exceptions=True
        )
        begun = [each for each in both if isinstance(each, RunHandle)]
        assert len(begun) + sum(isinstance(each, ConversationBusy) for each in both) == 2
        for handle in begun:
            await process.frames(handle.run_id)
        versions = (await path(process, first.conversation_id))[-1].versions
        assert len(versions) == 1 + len(begun)


async def test_a_conversation_is_deleted_with_all_its_versions(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        first = await told(process, NewMessage(message="Begin."))
        await told(process, NewMessage(message="", regenerates=first.run_id))
        await told(process, NewMessage(message="Else.", edits=first.run_id))
        await process.conversations.delete(EVA, first.conversation_id)
    left = "SELECT count(*) FROM runs WHERE conversation_id = $1"
    assert await superuser_connection.fetchval(left, first.conversation_id) == 0


async def test_conversations_from_before_there_were_versions_become_one_path(
    owner_connection: Connection, superuser_connection: Connection, pools: DatabasePools
) -> None:
    async with process_on(pools, ScriptedModel(brain=lambda _: says("Yes."))) as process:
        first = await told(process, NewMessage(message="One."))
        talk = first.conversation_id
        second = await told(process, NewMessage(message="Two.", conversation_id=talk))
        third = await told(process, NewMessage(message="Three.", conversation_id=talk))
        await superuser_connection.execute(
            "UPDATE conversations SET active_run_id = NULL; UPDATE runs SET parent_run_id = NULL"
        )
        (migration,) = resource_folder("migrations").glob("*_expand_conversation_tree.sql")
        backfill = re.findall(r"^UPDATE .*?;", migration.read_text(), re.DOTALL | re.MULTILINE)
        assert len(backfill) == 2
        # As the owner, whom row level security binds: without a policy of its own this would change nothing.
        for statement in backfill:
            await owner_connection.execute(statement)
        assert words(await path(process, talk)) == ["One.", "Yes.", "Two.", "Yes.", "Three.", "Yes."]
    rows = await superuser_connection.fetch("SELECT run_id, parent_run_id FROM runs WHERE conversation_id = $1", talk)
    parents = {row["run_id"]: row["parent_run_id"] for row in rows}
    assert parents == {first.run_id: None, second.run_id: first.run_id, third.run_id: second.run_id}
