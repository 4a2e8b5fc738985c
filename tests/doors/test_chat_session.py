"""`glow chat`'s session on a hub: which agent answers, what opening shows, and a database that is away."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent.model import ModelRequest, UserMessage
from server.cli.chat.session import Session, nobody
from server.cli.chat.talk import SHOWN, Talk
from server.cli.opening import acting
from server.database.connection import Connection, connected
from server.hub import Hub, HubOptions
from server.intake import Intake, IntakeFile, document_id_of
from tests.support.database import Database
from tests.support.doors import opened_hub
from tests.support.scripted_model import ScriptedModel, Turn, says
from tests.support.terminal_doors import Kept

LETTERS = b"# Letters\n\nThe engagement letter must be renewed every twelve months, at the latest in March.\n"
GREETED = "Good day [1]."


def greet(_: ModelRequest) -> Turn:
    return says(GREETED)


async def session_on(hub: Hub, kept: Kept | None = None, conversation: str | None = None) -> tuple[Talk, Session]:
    """A partner at a terminal."""
    talk = Talk(hub, await acting(hub, "acme-audit", "partner@acme.example"))
    if conversation is not None:
        await talk.open(conversation)
    return talk, Session(talk, kept or Kept(), nobody)


async def test_the_agent_chosen_at_the_start_answers_in_every_new_conversation(database: Database) -> None:
    kept = Kept()
    async with opened_hub(database, HubOptions(model=ScriptedModel(brain=greet))) as hub:
        talk, session = await session_on(hub, kept)
        talk.choose("librarian")
        for line in ("/new", "/agent tax", "/new"):
            assert await session.say("who are you?")
            assert await session.commands.run(line)
        assert await session.say("who are you?")
    assert [each["agent"] for each in kept.events if each["type"] == "run.started"] == [
        "librarian",
        "librarian",
        "tax",
        "tax",
    ]


async def test_a_choice_is_told_to_a_conversation_once_so_that_a_handover_holds(database: Database) -> None:
    kept = Kept()
    async with opened_hub(database) as hub:
        talk, session = await session_on(hub, kept)
        talk.choose("tax")
        for said in ("who are you?", "let me talk to the librarian", "who are you?"):
            assert await session.say(said)
    assert [each["agent"] for each in kept.events if each["type"] == "run.started"] == ["tax", "tax", "librarian"]


async def test_opening_a_long_conversation_shows_its_end_and_says_how_much_is_left_out(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened_hub(database, HubOptions(model=ScriptedModel(brain=greet))) as hub:
        talk, session = await session_on(hub)
        for number in range(51):
            assert await session.say(f"message {number}")
        capsys.readouterr()
        assert await session.commands.run(f"/open {talk.conversation_id}")
    shown = capsys.readouterr().out.splitlines()
    assert shown[1] == f"  ({102 - SHOWN} earlier messages are not shown.)"
    assert shown[-2:] == ["you: message 50", f"assistant: {GREETED}"]


async def test_what_an_opened_conversation_cites_can_be_read_where_it_stands(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened_hub(database) as hub:
        talk, session = await session_on(hub)
        intake, words = Intake(hub), IntakeFile(content=LETTERS, title="Letters", file_name="letters.md", said={})
        uploaded = await intake.upload(talk.hand, words)
        await intake.index(talk.hand, document_id_of(uploaded))
        assert await session.say("When must the engagement letter be renewed?")
        assert await session.commands.run("/new")
        assert await session.commands.run("/cite 1")
        assert capsys.readouterr().out.endswith("No answer here cites that number.\n")
        assert await session.commands.run("/history")
        ((conversation_id,),) = [re.findall(r"[0-9a-f-]{36}", capsys.readouterr().out)]
        assert await session.commands.run(f"/open {conversation_id[:8]}")
        assert await session.commands.run("/cite 1")
    assert "»" in capsys.readouterr().out.rpartition("[1] Letters")[2]


async def test_the_last_message_is_answered_again_edited_and_its_answer_rated(
    database: Database, capsys: pytest.CaptureFixture[str], superuser_connection: Connection
) -> None:
    async def lines() -> AsyncGenerator[str]:
        for line in (
            "/again",
            "/bad",
            "first",
            "/again",
            "/edit second",
            "/bad Too\tlong",
            "/good",
            "/unrate",
            "/edit",
        ):
            yield line

    model, kept = ScriptedModel(brain=greet), Kept()
    async with opened_hub(database, HubOptions(model=model)) as hub:
        talk, session = await session_on(hub, kept)
        await session.converse(lines())
        assert await session.commands.run("/search second")
        opened = await talk.open(str(talk.conversation_id))
    said = [UserMessage(text=words) for words in ("first", "first", "second")]
    assert [request.messages[-1] for request in model.requests] == said
    assert [(each.text, len(each.versions)) for each in opened.last] == [("second", 2), (GREETED, 1)]
    printed = capsys.readouterr().out
    assert printed.count("nothing was said here yet.") == 2
    assert printed.count("Thank you.") == 2
    assert "Taken back." in printed
    assert "message: it is empty." in printed
    assert printed.endswith("you: second\n")
    rows = await superuser_connection.fetch(
        "SELECT mode, door FROM activity_events WHERE tool = 'feedback_give' AND outcome = 'done'"
    )
    assert [tuple(row) for row in rows] == [("person", "cli")] * 3


@asynccontextmanager
async def away(database: Database) -> AsyncGenerator[None]:
    """The database takes nobody in for the length of the block, and has thrown out whoever was there."""
    async with connected(replace(database.address, database="postgres").dsn("postgres")) as elsewhere:
        await elsewhere.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT 0')
        try:
            await elsewhere.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database.name
            )
            yield
        finally:
            await elsewhere.execute(f'ALTER DATABASE "{database.name}" CONNECTION LIMIT -1')


async def test_a_moment_without_the_database_ends_no_conversation(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lines() -> AsyncGenerator[str]:
        yield "remember this"
        async with away(database):
            yield "are you there?"
            yield "/approvals"
        yield "and now?"

    kept = Kept()
    async with opened_hub(database, HubOptions(model=ScriptedModel(brain=greet))) as hub:
        talk, session = await session_on(hub, kept)
        assert await session.converse(lines())
        assert (await talk.open(str(talk.conversation_id))).left_out == 0
    assert [each["type"] for each in kept.events].count("run.completed") == 2
    assert len({each["conversation_id"] for each in kept.events if each["type"] == "run.started"}) == 1
    printed = capsys.readouterr()
    assert "glow: the database is not available" in printed.err
    assert "the database is not available" in printed.out
