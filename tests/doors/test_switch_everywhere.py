"""`autopilot_disabled`, set in one process: the agent's next call asks first at every door, and within a run."""

from collections.abc import Sequence

import pytest

from domain.kernel import Level, Role
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.doors.test_parity import World, world
from tests.support.conversing import process_on
from tests.support.driven_doors import CliCalls, Entrance, made_by
from tests.support.firms import seed_firms
from tests.support.gates import gate_on, principal_of
from tests.support.parity import Who
from tests.support.scripted_model import ScriptedModel, asks, call, says

__all__ = ["world"]

WHO = Who(role=Role.EMPLOYEE, level=Level.L2)
PARTNER = Who(role=Role.PARTNER, level=Level.L2)
CREATE = ("task_create", {"title": "Count the chairs"})


async def outcomes(entrances: Sequence[Entrance]) -> dict[str, str | None]:
    """What becomes of the same call at each."""
    return {entrance.name: (await made_by(entrance, WHO, [CREATE]))[0].outcome for entrance in entrances}


@pytest.mark.no_cover  # As the other tests that drive every door.
@pytest.mark.timeout(600)
async def test_the_switch_holds_for_the_next_call_at_every_door(world: World) -> None:
    by_agents = [
        entrance
        for entrance in world.entrances(world.site, world.host)
        if entrance.mode == "agent" and entrance.name not in ("widget buttons", "slack buttons")
    ]
    assert {entrance.door for entrance in by_agents} == {"rest", "chat", "mcp", "widget", "cli", "slack", "worker"}
    switch = CliCalls(world.host)  # in a process of its own

    async def switched(disabled: bool) -> None:
        setting = {"scope": "organization", "autopilot_disabled": disabled, "reason": "an incident"}
        (told,) = await made_by(switch, PARTNER, [("autonomy_set", setting)])
        assert told.outcome == "done"

    assert set((await outcomes(by_agents)).values()) == {"done"}
    await switched(True)
    held = await outcomes(by_agents)
    assert set(held.values()) == {"waiting"}, held
    await switched(False)
    assert set((await outcomes(by_agents)).values()) == {"done"}


async def test_the_switch_holds_for_the_next_call_of_a_run_that_is_under_way(
    pools: DatabasePools, owner_connection: Connection
) -> None:
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")
    model = ScriptedModel(asks(call(*CREATE)), asks(call(*CREATE, id="two")), says("Done."), pace=lambda: pace())

    async def pace() -> None:
        if len(model.requests) == 2:
            setting = {"scope": "organization", "autopilot_disabled": True, "reason": "an incident"}
            partner = principal_of(who="partner", mode="person", door="rest")
            assert (await other.call("autonomy_set", setting, partner)).outcome == "done"

    async with gate_on(pools) as other, process_on(pools, model) as process:
        run = await process.say("Twice, please.")
        frames = await process.frames(run.run_id)
    kinds = [frame.type for frame in frames]
    asked = [place for place, kind in enumerate(kinds) if kind == "tool.called"]
    # The first was done; the second left a question, and the run waits for its answer.
    assert ("tool.completed" in kinds[: asked[1]], kinds[asked[1] + 1 :]) == (
        True,
        ["tool.decided", "approval.requested", "run.usage", "run.waiting"],
    )
