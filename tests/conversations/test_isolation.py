"""Whatever a captured model asks for, by whichever door, it gets nothing of another organization, and leaves its trace.

The model tries every tool with the other organization's ids and addresses, in every argument that takes one; and then
the same with ids of nothing at all. What it is told must be the same, so that not even their existence shows.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid5

import httpx
import orjson
import pytest

from domain.kernel import Level, PrincipalId, Role
from domain.resources import resource_folder
from server.database.connection import Connection
from server.hub import HubOptions, open_hub
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL, settings_of_tests
from tests.support.driven_doors import (
    Asked,
    ChatCalls,
    Entrance,
    McpCalls,
    RestCalls,
    WorkerCalls,
    made_by,
    obedient,
)
from tests.support.firms import FIRM_A, FIRM_B
from tests.support.parity import Told, Who
from tests.support.parity_world import seed_world
from tests.support.scripted_model import ScriptedModel
from tests.support.site import Site, serving
from tools.manifest import Manifest
from tools.manifest_files import load_manifests

pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

Json = dict[str, Any]
MANIFESTS = load_manifests(resource_folder("manifests"))

SECRET = "quagga"
"""Stands in every text of the other organization's, and in no other."""
NAMES = ("thing", "client_thing", "engagement", "org")
THEIRS = tuple(str(FIRM_B.id(name)) for name in NAMES)
"""Ids that the model has somehow come by."""
THEIR_ADDRESSES = ("employee@firm-2.example", "partner@firm-2.example")


# What the model tries -------------------------------------------------------------------------------------------------

Known = Callable[[str], str]
"""What the model takes for an id or an address: theirs as it stands, or one of nothing in its place."""


def as_it_stands(known: str) -> str:
    return known


def of_nothing(known: str) -> str:
    """An id or an address that nobody has, and always the same for the same."""
    if "@" in known:
        return "nobody-" + known.replace("firm-2", "nowhere")
    return str(uuid5(UUID(int=0), known))


def attempts(manifest: Manifest, known: Known) -> Iterator[Asked]:
    """Every argument that takes an id, with every id; also in what a tool passes on, and where no argument is."""
    arguments: Json = {}
    for arguments in _attempts(cast(Json, manifest.arguments), known):
        yield manifest.name, arguments
    # What another tool would say of the last of them.
    yield "autonomy_query", {"tool": manifest.name, "arguments": arguments}
    yield manifest.name, {"organization_id": known(THEIRS[-1])}


def _attempts(schema: Json, known: Known) -> Iterator[Json]:
    properties = cast("dict[str, Json]", schema.get("properties", {}))
    required = cast("list[str]", schema.get("required", []))
    for name, value in _id_arguments(properties, known):
        plain = {other: _plain(properties[other], known) for other in required if other != name}
        yield {**plain, name: value}


def _id_arguments(properties: dict[str, Json], known: Known) -> Iterator[tuple[str, object]]:
    for name, schema in properties.items():
        match schema:
            case {"format": "uuid"}:
                yield from ((name, known(each)) for each in THEIRS)
            case {"format": "email"} | {"description": "An e-mail address."}:
                yield from ((name, known(each)) for each in THEIR_ADDRESSES)
            case {"type": "object", "properties": _}:
                yield from ((name, given) for given in _attempts(schema, known))
            case {"type": "object"}:
                yield name, {"organization_id": known(THEIRS[-1]), "engagement_id": known(THEIRS[2])}
            case _:
                pass


def _plain(schema: Json, known: Known) -> object:
    """A value that holds to the schema and says nothing; an id where there must be one."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("format") == "uuid":
        return known(THEIRS[0])
    if "pattern" in schema:
        return "0" * 64
    return 1 if schema.get("type") == "integer" else "text"


ATTEMPTS = {
    known: [each for manifest in MANIFESTS for each in attempts(manifest, known)]
    for known in (as_it_stands, of_nothing)
}


# The other organization -----------------------------------------------------------------------------------------------

_MARK = """
UPDATE organizations SET name = '{0}' WHERE {1};
UPDATE users SET display_name = '{0}' WHERE email LIKE '%firm-2.example';
UPDATE engagements SET name = '{0}', client_name = '{0}' WHERE {1};
UPDATE knowledge_documents SET title = '{0}', text = '{0}', uri = 'glow:{0}' WHERE {1};
UPDATE knowledge_chunks SET text = '{0} text' WHERE {1};
UPDATE knowledge_sources SET name = '{0}' WHERE {1};
UPDATE tasks SET title = '{0}', description = '{0}', kind = 'refresh_analytics' WHERE {1};
UPDATE task_run_progress SET message = '{0}' WHERE {1};
UPDATE approvals SET arguments = '{{"title":"{0}"}}', comment = '{0}' WHERE {1};
UPDATE conversations SET title = '{0}' WHERE {1};
UPDATE messages SET content = '{{"text":"{0}"}}' WHERE {1};
UPDATE runs SET status = 'completed', finished_at = now();
"""
_TABLES = """
SELECT DISTINCT a.attrelid::regclass::text AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attname = 'organization_id' ORDER BY 1
"""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


async def rows_of(inspector: Connection, organization_id: UUID) -> dict[str, list[str]]:
    """Everything that an organization has, as text, by table."""
    tables = [cast(str, row["name"]) for row in await inspector.fetch(_TABLES)]
    query = "SELECT to_jsonb(t)::text AS line FROM {} t WHERE organization_id = $1 ORDER BY 1"
    return {
        table: [row["line"] for row in await inspector.fetch(query.format(table), organization_id)] for table in tables
    }


def ids_in(rows: dict[str, list[str]]) -> set[str]:
    return {found for lines in rows.values() for line in lines for found in _UUID.findall(line)}


# The attempts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """The first firm, served, and the means to look at everything."""

    site: Site
    owner: Connection
    inspector: Connection

    def entrance(self, name: str) -> Entrance:
        """A way in."""
        ways: dict[str, Entrance] = {
            "chat": ChatCalls(self.site),
            "mcp": McpCalls(self.site, revision="2026-07-28"),
            "rest": RestCalls(self.site),
            "worker": WorkerCalls(hub=self.site.hub, gate=self.site.hub.gate, owner=self.owner),
        }
        return ways[name]


@pytest.fixture
async def attacked(
    database: Database, owner_connection: Connection, superuser_connection: Connection
) -> AsyncIterator[Attacked]:
    await seed_world(owner_connection, ())
    theirs = f"organization_id = '{FIRM_B.organization_id}'"
    await owner_connection.execute(_MARK.format(SECRET, theirs))
    options = HubOptions(model=ScriptedModel(brain=obedient))
    async with (
        open_hub(settings_of_tests(), database.urls(), PUBLIC_URL, options) as hub,
        serving(hub) as site,
    ):
        yield Attacked(site=site, owner=owner_connection, inspector=superuser_connection)


_RECORDED = """
SELECT DISTINCT ON (e.call_id) e.call_id, e.organization_id, e.principal_id, e.tool, e.decision, e.reasons, e.outcome,
       e.error_code, e.facts, p.result
FROM activity_events e LEFT JOIN activity_payloads p USING (organization_id, event_id)
WHERE e.call_id = ANY ($1) ORDER BY e.call_id, e.recorded_at DESC, e.opens
"""


async def recorded(inspector: Connection, told: Sequence[Told], who: Who) -> list[tuple[object, ...]]:
    """What the record says of each call, without ids and times; each must be there, and be the first firm's."""
    rows = {row["call_id"]: row for row in await inspector.fetch(_RECORDED, [each.call_id for each in told])}
    assert rows.keys() == {each.call_id for each in told}
    assert {(row["organization_id"], row["principal_id"]) for row in rows.values()} == {
        (FIRM_A.organization_id, who.id)
    }
    named = ("tool", "decision", "reasons", "outcome", "error_code", "facts")
    found = [rows[cast(UUID, each.call_id)] for each in told]
    return [(*(row[name] for name in named), _nameless(row["result"])) for row in found]


def _nameless(result: str | None) -> str | None:
    """The result without ids and times; what was done before shows in it and is left out."""
    if result is None:
        return None
    told = cast(Json, orjson.loads(result))
    told.pop("pending_approvals", None)
    text = re.sub(r"\d{4}-\d\d-\d\d(T[0-9:.+Z]+)?", "<time>", _UUID.sub("<id>", orjson.dumps(told).decode()))
    return text.replace("nobody-", "").replace("nowhere", "firm-2")


WAYS = [
    *(("chat", role) for role in (Role.EMPLOYEE, Role.PARTNER, Role.CLIENT, Role.EQR)),
    ("mcp", Role.PARTNER),
    *(("rest", role) for role in (Role.SYSTEM_ADMIN, Role.CLIENT)),
    ("worker", Role.SERVICE_ACCOUNT),
]


async def assert_worth_nothing(attacked: Attacked, entrance: Entrance, who: Who) -> None:
    """The attempts change nothing of theirs, give nothing of theirs away, and are told as if nothing were there."""
    before = await rows_of(attacked.inspector, FIRM_B.organization_id)
    unknown = ids_in(before) - set(THEIRS) - ids_in(await rows_of(attacked.inspector, FIRM_A.organization_id))
    assert unknown
    theirs = await made_by(entrance, who, ATTEMPTS[as_it_stands])
    told_of_theirs = await recorded(attacked.inspector, theirs, who)
    theirs_after = await rows_of(attacked.inspector, FIRM_B.organization_id)
    assert not [table for table, lines in before.items() if theirs_after[table] != lines]
    after = await rows_of(attacked.inspector, FIRM_A.organization_id)
    assert not ids_in(after) & unknown
    # Tables, not lines: to draw what differs in a megabyte of text takes minutes.
    assert not [table for table, lines in after.items() if any(SECRET in line for line in lines)]
    nothing = await made_by(entrance, who, ATTEMPTS[of_nothing])
    told_of_nothing = await recorded(attacked.inspector, nothing, who)
    different = [pair for pair in zip(told_of_theirs, told_of_nothing, strict=True) if pair[0] != pair[1]]
    assert not different, different[:3]


@pytest.mark.parametrize(("door", "role"), WAYS)
async def test_the_others_ids_are_worth_no_more_than_ids_of_nothing(attacked: Attacked, door: str, role: Role) -> None:
    # Free to act without asking, so that nothing but the walls is in the way.
    await assert_worth_nothing(attacked, attacked.entrance(door), Who(role=role, level=Level.L3))


async def test_a_database_without_its_wall_is_noticed(attacked: Attacked) -> None:
    for row in await attacked.inspector.fetch(_TABLES):
        await attacked.inspector.execute(f"ALTER TABLE {row['name']} DISABLE ROW LEVEL SECURITY")
    with pytest.raises(AssertionError):
        await assert_worth_nothing(attacked, attacked.entrance("rest"), Who(role=Role.PARTNER, level=Level.L3))


async def test_the_same_calls_find_what_is_there_when_their_own_people_make_them(attacked: Attacked) -> None:
    token = attacked.site.hub.tokens.sign(PrincipalId(FIRM_B.id("partner")), "firm-2", "api", timedelta(hours=1))
    headers = {"Authorization": f"Bearer {token}"}
    found: set[str] = set()
    async with httpx.AsyncClient(base_url=attacked.site.url, headers=headers) as http:
        # What deletes comes last: afterwards there is nothing to be found.
        for tool, arguments in sorted(ATTEMPTS[as_it_stands], key=lambda asked: asked[0] == "document_delete"):
            answer = await http.post(f"/v1/tools/{tool}/call", json={"arguments": arguments})
            if answer.status_code == 200 and SECRET in answer.text:
                found.add(tool)
    assert found >= {"knowledge_search", "knowledge_read", "task_get", "task_list", "task_run_get", "approval_decide"}
