"""`glow chat` as a program: a person at a pseudo-terminal, and lines from a pipe."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from server.database.connection import Connection
from tests.doors.test_cli_serving import GLOW as GLOW_SCRIPT
from tests.support.command_host import ROOT, Printed
from tests.support.database import Database
from tests.support.environment import external
from tests.support.fake_openai import FakeOpenAI, has_result
from tests.support.fake_turns import Call, Json, Turn
from tests.support.firms import FIRM_A, seed_firms
from tests.support.pseudo_terminal import PROMPT, Terminal, terminal

GLOW = (sys.executable, "-c", GLOW_SCRIPT)
CHAT = ("chat", "--organization", "firm-1", "--user", "employee@firm-1.example")
CREATE = "create a task to call the bank"
CALL_THE_BANK = Turn(calls=(Call(name="task_create", arguments='{"title": "Call the bank"}'),))


@pytest.fixture
async def environment(database: Database, owner_connection: Connection, tmp_path: Path) -> dict[str, str]:
    """An installation with a firm whose employee has the ceiling L1, so that a call waits."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE memberships SET autonomy_ceiling = 1")
    return {**external(database), "GLOW_MODEL_API": "offline", "GLOW_HOME": str(tmp_path / "home")}


def hosted(environment: Mapping[str, str], model: FakeOpenAI) -> dict[str, str]:
    """The installation with a model of a test's own."""
    named = {"GLOW_MODEL_API": "chat_completions", "GLOW_MODEL": "fake", "OPENAI_BASE_URL": model.base_url}
    return {**environment, **named}


def history_in(home: Path) -> tuple[int, str]:
    """Who may read what was said, and what that is."""
    kept = home / "chat_history"
    return kept.stat().st_mode & 0o777, kept.read_text()


async def tasks_called(inspector: Connection, title: str) -> int:
    return await inspector.fetchval("SELECT count(*) FROM tasks WHERE title = $1", title)


async def decision(inspector: Connection) -> tuple[str, str | None, UUID | None]:
    """What became of the one call that waited here: its state, the comment, and who decided."""
    row = await inspector.fetchrow("SELECT state, comment, decided_by FROM approvals WHERE requested_door = 'cli'")
    assert row is not None
    return row["state"], row["comment"], row["decided_by"]


async def test_a_person_approves_at_the_terminal_with_a_comment_by_their_own_hand(
    environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    async with terminal(environment, *CHAT) as at:
        await at.shows(f"Prisma Glow, model offline. /help says what you can do here. {PROMPT}>")
        at.type(f"{CREATE}\r")
        await at.shows("A call waits for a person: task_create")
        await at.shows("asked for by: employee@firm-1.example")
        await at.shows("Approve?")
        at.type("y\r")
        await at.shows("A comment (Enter for none):")
        at.type("go ahead\r")
        await at.shows("task_create: executed; the call is done.")
        await at.shows(f"{PROMPT}>")
        at.type("\x04")
        assert await at.ended() == 0
    assert await tasks_called(superuser_connection, "Call the bank") == 1
    assert await decision(superuser_connection) == ("executed", "go ahead", FIRM_A.id("employee"))
    row = await superuser_connection.fetchrow(
        "SELECT door, mode, outcome FROM activity_events WHERE tool = 'approval_decide' AND outcome IS NOT NULL"
    )
    assert row is not None
    assert tuple(row) == ("cli", "person", "done")


async def test_a_call_is_left_waiting_and_refused_later_from_the_list(
    environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    async with terminal(environment, *CHAT) as at:
        await at.shows(f"{PROMPT}>")
        at.type(f"{CREATE}\r")
        await at.shows("Approve?")
        at.type("\r")
        await at.shows("It waits: /approvals shows it again")
        await at.shows(f"{PROMPT}>")
        assert await decision(superuser_connection) == ("pending", None, None)
        at.type("/approvals\r")
        await at.shows("Approve?")
        at.type("n\r")
        await at.shows("A comment")
        at.type("\r")
        await at.shows("task_create: rejected; the call is rejected.")
    assert await decision(superuser_connection) == ("rejected", None, FIRM_A.id("employee"))
    assert await tasks_called(superuser_connection, "Call the bank") == 0


async def test_what_was_typed_before_the_question_stood_there_answers_nothing(
    environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    keyboard: list[Terminal] = []

    def think(body: Json) -> Turn:
        if not has_result(body):
            return CALL_THE_BANK
        keyboard[0].type("y\r")
        return Turn(text="I asked for it.")

    async with FakeOpenAI(brain=think) as model, terminal(hosted(environment, model), *CHAT) as at:
        keyboard.append(at)
        await at.shows(f"{PROMPT}>")
        at.type("please call\ry\r")
        await at.shows("Approve?")
        at.type("n\r")
        await at.shows("A comment")
        at.type("not by accident\r")
        await at.shows("task_create: rejected")
    assert (await decision(superuser_connection))[:2] == ("rejected", "not by accident")
    assert await tasks_called(superuser_connection, "Call the bank") == 0


async def test_ctrl_c_stops_an_answer_and_not_the_conversation(
    environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    script = (Turn(text="It begins well and has no end", stop_after=4, then="stall"), Turn(text="Here again."))
    async with FakeOpenAI(script) as model, terminal(hosted(environment, model), *CHAT) as at:
        await at.shows(f"{PROMPT}>")
        at.type("how does it end?\r")
        await at.shows("It begins")
        at.type("\x03")
        await at.shows("(stopped)")
        await at.shows(f"{PROMPT}>")
        at.type("are you there?\r")
        await at.shows("Here again.")
        await at.shows(f"{PROMPT}>")
        at.type("\x04")
        assert await at.ended() == 0
        assert model.requests[0].gone.is_set()
    runs = await superuser_connection.fetch(
        "SELECT r.status, e.type, r.conversation_id FROM runs r JOIN LATERAL "
        "(SELECT type FROM run_events WHERE run_id = r.run_id ORDER BY sequence DESC LIMIT 1) e ON true "
        "WHERE r.door = 'cli' ORDER BY r.created_at"
    )
    assert [(run["status"], run["type"]) for run in runs] == [
        ("cancelled", "run.cancelled"),
        ("completed", "run.completed"),
    ]
    assert len({run["conversation_id"] for run in runs}) == 1


async def test_commands_a_message_of_two_lines_the_history_and_leaving(environment: Mapping[str, str]) -> None:
    async with terminal(environment, *CHAT) as at:
        await at.shows(f"{PROMPT}>")
        at.type("a line that is dropped\x03/agent tax\r")
        await at.shows("The tax agent answers from here on.")
        await at.shows(f"{PROMPT}>")
        at.type("list\x1b\rtasks\r")
        await at.shows("← task_list done")
        await at.shows(f"{PROMPT}>")
        at.type("/history\r")
        row = await at.shows("tax list")
        at.type("/new\r")
        await at.shows("A new conversation.")
        at.type(f"/open {row.partition('*')[2][:8]}\r")
        await at.shows("list (with tax) you: list tasks task_list done tax:")
        at.type("/cite 1\r")
        await at.shows("No answer here cites that number.")
        at.type("/quit\r")
        assert await at.ended() == 0
    mode, history = history_in(Path(environment["GLOW_HOME"]))
    assert mode == 0o600
    assert "+/agent tax" in history
    assert "dropped" not in history


async def run(environment: Mapping[str, str], *words: str, typed: str = "") -> Printed:
    """The program without a terminal, to its end."""
    process = await asyncio.create_subprocess_exec(
        *GLOW, *CHAT, *words, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, env={**os.environ, **environment}
    )
    out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    return Printed(code=await process.wait(), out=out.decode(), err=err.decode())


async def test_a_killed_terminal_leaves_a_run_that_waits(
    environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    async with terminal(environment, *CHAT) as at:
        await at.shows(f"{PROMPT}>")
        at.type(f"{CREATE}\r")
        await at.shows("Approve?")
        at.process.send_signal(signal.SIGKILL)
        await at.ended()
    row = await superuser_connection.fetchrow("SELECT conversation_id, status FROM runs WHERE door = 'cli'")
    assert row is not None
    assert row["status"] == "waiting"
    printed = await run(environment, "--conversation", str(row["conversation_id"]), "--message", "what became of it?")
    assert printed.code == 1
    assert "waits for approval" in printed.err


async def test_what_a_pipe_says_is_never_taken_for_consent(
    environment: Mapping[str, str], superuser_connection: Connection
) -> None:
    printed = await run(environment, typed=f"{CREATE}\ny\ny\n/approvals\ny\n")
    # Once behind the answer, and once more with the seeded firm's own when all that waits was asked for.
    assert printed.out.count("A call waits for a person: task_create") == 3
    assert await tasks_called(superuser_connection, "Call the bank") == 0
    assert await decision(superuser_connection) == ("pending", None, None)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_ends_it_while_it_waits_for_a_line_of_a_pipe_that_stays_open(
    environment: Mapping[str, str], sent: signal.Signals, code: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        *GLOW, *CHAT, "--json", stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, env={**os.environ, **environment}
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"what may you do on your own?\n")
        while (line := await asyncio.wait_for(process.stdout.readline(), 60)) and b'"run.completed"' not in line:
            pass
        async with asyncio.timeout(30):
            # The first may come before the line is waited for, and then still stops the answer that has just ended.
            while process.returncode is None:
                process.send_signal(sent)
                with suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 5)
        assert process.returncode == code
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
