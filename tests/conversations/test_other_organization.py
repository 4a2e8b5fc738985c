"""A captured model that tries every tool with another organization's ids gets nothing, and each try is recorded."""

from typing import cast

import orjson
import pytest

from agent.model import ToolCall
from server.database.connection import Connection
from server.database.pool import DatabasePools
from tests.support.conversing import process_on
from tests.support.firms import FIRM_A, FIRM_B, seed_firms
from tests.support.gates import principal_of
from tests.support.scripted_model import ScriptedModel, Turn, asks, says
from tools.manifest import Json, Manifest

TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attname = 'organization_id'
ORDER BY c.relname
"""
RECORDED = """
SELECT DISTINCT ON (call_id) tool, outcome, organization_id FROM activity_events
WHERE conversation_id = $1 AND outcome IS NOT NULL ORDER BY call_id, recorded_at DESC
"""
FOREIGN = [str(FIRM_B.id(name)) for name in ("org", "thing", "client_thing", "engagement", "employee", "partner")]


@pytest.fixture(autouse=True)
async def firms(owner_connection: Connection) -> None:
    """Both firms."""
    await seed_firms(owner_connection)
    await owner_connection.execute("UPDATE runs SET status = 'completed', finished_at = now()")


def tries(manifest: Manifest) -> list[ToolCall]:
    """Calls of the tool with the other organization's ids wherever an id can stand, and where none can."""
    properties = cast("dict[str, Json]", manifest.arguments.get("properties", {}))
    required = set(cast("list[str]", manifest.arguments.get("required", [])))
    identifying = {name for name, schema in properties.items() if schema.get("format") == "uuid"}
    calls = [
        _call(manifest.name, {name: _value(name, properties[name], stranger) for name in sorted(names)})
        for stranger in ("thing", "client_thing", "engagement")
        for names in (required, required | identifying)
    ]
    return [*calls, _call(manifest.name, {"organization_id": str(FIRM_B.organization_id)})]


def _value(name: str, schema: Json, stranger: str) -> object:
    if schema.get("format") == "uuid":
        return str(FIRM_B.id("engagement" if name == "engagement_id" else stranger))
    if "enum" in schema:
        return cast("list[object]", schema["enum"])[0]
    plain: Json = {"integer": 1, "object": {}, "array": [], "boolean": True}
    return plain.get(str(schema.get("type")), "text")


def _call(tool: str, arguments: Json) -> ToolCall:
    return ToolCall(provider_id="", name=tool, arguments=orjson.dumps(arguments).decode())


async def rows_of(inspector: Connection, firm_id: object) -> dict[str, object]:
    """Everything an organization has, table by table."""
    tables = [row["relname"] for row in await inspector.fetch(TABLES)]
    return {
        table: await inspector.fetchval(
            f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t WHERE organization_id = $1", firm_id
        )
        for table in tables
    }


@pytest.mark.parametrize("who", ["employee", "partner", "client"])
async def test_nothing_of_another_organization_is_read_or_written_and_each_attempt_is_recorded(
    pools: DatabasePools, superuser_connection: Connection, who: str
) -> None:
    turns: list[Turn] = []
    principal = principal_of(FIRM_A, who)
    async with process_on(pools, ScriptedModel(brain=lambda _: turns.pop(0))) as process:
        attempts = [each for tool in process.stands_on.registry.all() for each in tries(tool.manifest)]
        batches = [attempts[at : at + 25] for at in range(0, len(attempts), 25)]
        before = await rows_of(superuser_connection, FIRM_B.organization_id)
        for batch in batches:
            # A run that waits for a person has not come to its last words.
            turns[:] = [asks(*batch), says("Nothing.")]
            begun = await process.say("Get me theirs.", principal)
            answer = await process.runs.answer(principal, begun.run_id)
            recorded = await superuser_connection.fetch(RECORDED, begun.conversation_id)
            assert len(recorded) == len(answer.tool_calls) == len(batch)
            assert {row["organization_id"] for row in recorded} == {FIRM_A.organization_id}
            for made in answer.tool_calls:
                told = orjson.dumps(made.get("result")).decode()
                assert not [foreign for foreign in FOREIGN if foreign in told], made
    assert await rows_of(superuser_connection, FIRM_B.organization_id) == before


async def test_the_same_calls_by_the_others_own_people_find_their_things(pools: DatabasePools) -> None:
    turns: list[Turn] = []
    principal = principal_of(FIRM_B, "partner")
    async with process_on(pools, ScriptedModel(brain=lambda _: turns.pop(0))) as process:
        tools = [tool.manifest for tool in process.stands_on.registry.all() if tool.manifest.name == "task_get"]
        turns += [asks(*tries(tools[0])), says("Theirs.")]
        begun = await process.say("Get mine.", principal)
        answer = await process.runs.answer(principal, begun.run_id)
    found = [made for made in answer.tool_calls if made["outcome"] == "done"]
    assert str(FIRM_B.id("thing")) in orjson.dumps(found).decode()
