"""Calls that were under way when a run changed hands: done once, told as they ended, whoever makes them."""

from collections.abc import Sequence

import orjson
import pytest

from agent.events import RunFrame
from agent.model import ToolResultMessage
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import process_on
from tests.support.firms import seed_firms
from tests.support.held import Held
from tests.support.scripted_model import ScriptedModel, asks, call, says
from tools.outcomes import Json

CREATE = call("task_create", {"title": "Ask the bank"})
MADE = "SELECT count(*) FROM tasks WHERE title = 'Ask the bank'"
RECORDED = """
SELECT call_id::text, outcome FROM activity_events WHERE run_id = $1 AND outcome IS NOT NULL ORDER BY outcome
"""


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms are there, and no run is going."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


def data_of(frames: Sequence[RunFrame], kind: str) -> list[Json]:
    return [orjson.loads(frame.data) for frame in frames if frame.type == kind]


@pytest.mark.parametrize(
    ("step", "tool"),
    [
        ("facts", "task_create"),
        ("ticket", "task_create"),
        ("work", "task_create"),
        ("outcome", "task_create"),
        ("facts", "task_list"),
        ("work", "task_list"),
    ],
)
async def test_a_call_that_a_process_cuts_off_as_it_hands_its_run_over_is_made_by_whoever_goes_on(
    pools: DatabasePools, superuser_connection: Connection, step: str, tool: str
) -> None:
    asked = CREATE if tool == "task_create" else call("task_list")
    held = Held(step)
    async with process_on(pools, ScriptedModel(asks(asked)), fault=held) as process:
        begun = await process.say("Do it.")
        await held.reached.wait()
    after = ScriptedModel(says("Done."))
    async with process_on(pools, after) as process:
        assert await process.go_on(begun.run_id)
        frames = await process.frames(begun.run_id)
    (called,), (completed,) = data_of(frames, "tool.called"), data_of(frames, "tool.completed")
    assert (completed["call_id"], completed["outcome"]) == (called["call_id"], "done")
    (result,) = (each for each in after.requests[0].messages if isinstance(each, ToolResultMessage))
    assert orjson.loads(result.text)["outcome"] == "done"
    assert await superuser_connection.fetchval(MADE) == (1 if tool == "task_create" else 0)
    # What was cut off stands in the record beside the call itself.
    cut_off, done = await superuser_connection.fetch(RECORDED, begun.run_id)
    assert (cut_off["outcome"], done["outcome"]) == ("cancelled", "done")
    assert done["call_id"] == called["call_id"] != cut_off["call_id"]


async def test_a_call_that_was_done_as_its_run_was_handed_over_is_told_as_done_and_not_made_again(
    pools: DatabasePools, superuser_connection: Connection
) -> None:
    held = Held("committed")
    async with process_on(pools, ScriptedModel(asks(CREATE)), fault=held) as process:
        begun = await process.say("Do it.")
        await held.reached.wait()
    async with process_on(pools, ScriptedModel(says("Done."))) as process:
        assert await process.go_on(begun.run_id)
        (completed,) = data_of(await process.frames(begun.run_id), "tool.completed")
    assert completed["outcome"] == "done"
    assert await superuser_connection.fetchval(MADE) == 1
    assert [row["outcome"] for row in await superuser_connection.fetch(RECORDED, begun.run_id)] == ["done"]
