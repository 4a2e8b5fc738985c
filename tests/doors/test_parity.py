"""The same call by the same principal gets the same verdict and leaves the same record, whichever door it came through.

Three parts: every cell decided on paper and by the policies; every door driven for real; and every door mutated, to see
that the check would notice. Cells that no door can produce are listed in tests/support/parity.py.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import httpx
import pytest

from domain.activity.model import ActivityCall
from domain.activity.service import ActivityService, CallNotFound
from domain.kernel import DOORS, CallId, Door, Level, Mode, Principal, PrincipalKind, Role
from domain.resources import resource_folder
from server.auth import Caller
from server.database.connection import Connection
from server.database.identities import Member
from server.hub import Hub, HubOptions, open_hub
from server.system_config import SystemConfigFile
from server.tokens import AUDIENCES, Audience
from tests.support.command_host import CommandHost, command_host
from tests.support.database import Database
from tests.support.doors import PUBLIC_URL
from tests.support.driven_doors import (
    ChatCalls,
    CliCalls,
    Entrance,
    McpCalls,
    RestCalls,
    Routes,
    WidgetCalls,
    WorkerCalls,
    cell_of,
    made_by,
    widget_buttons,
    widget_headers,
)
from tests.support.driven_slack import SlackButtons, SlackMentions
from tests.support.either_api import obedient_by_either
from tests.support.fake_slack import BOT_TOKEN, SIGNING_SECRET, FakeSlack
from tests.support.firms import FIRM_A
from tests.support.mutants import MUTANTS, mutated
from tests.support.parity import (
    ACTS,
    DRIVEN,
    NOT_DRIVEN,
    UNREACHABLE,
    Cell,
    Seen,
    Told,
    Who,
    assert_parity,
    cells,
    expected,
    is_unreachable,
)
from tests.support.parity_world import (
    CASES,
    EVERYBODY,
    LEVELLED,
    ORGANIZATION,
    READER,
    WHOS,
    Case,
    asked_by,
    cases_of,
    own_call,
    seed_slack,
    seed_world,
)
from tests.support.policies import facts, firm_policies
from tests.support.site import Site, serving
from tests.support.slack_world import with_slack
from tests.support.terminal_doors import CliChat, McpStdio
from tools.manifest import Manifest
from tools.manifest_files import load_manifests
from tools.outcomes import CallRequest, Verdict, decision_of
from tools.policy import situation_of

Json = dict[str, Any]

MANIFESTS = load_manifests(resource_folder("manifests"))
MODERN, LEGACY = "2026-07-28", "legacy"
ENTRANCES = (
    "rest api",
    "rest service",
    "rest routes",
    "chat chat_completions",
    "chat responses",
    f"mcp {MODERN}",
    f"mcp {LEGACY}",
    "mcp stdio",
    "widget",
    "widget buttons",
    "cli",
    "cli chat",
    "slack",
    "slack buttons",
    "worker",
)
SOME_TOOLS_ONLY = ("rest routes", "widget buttons", "slack buttons")
"""Entrances by which not every tool can be called."""
KINDS: tuple[PrincipalKind, ...] = get_args(PrincipalKind)
MODES: tuple[Mode, ...] = get_args(Mode)


# On paper and by the policies -----------------------------------------------------------------------------------------


def test_the_manifests_say_of_each_tool_what_the_contract_says() -> None:
    manifests = {manifest.name: manifest for manifest in MANIFESTS}
    assert manifests.keys() == ACTS.keys()
    for name, act in ACTS.items():
        held = manifests[name]
        assert (held.effect, held.least_role, held.doors) == (act.effect, act.least_role, act.doors), name
        assert (held.person_only, Role.CLIENT in held.extra_roles) == (act.person_only, act.client_too), name


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.name)
def test_every_cell_is_decided_as_the_domain_says_and_alike_at_every_door(manifest: Manifest) -> None:
    policies, act = firm_policies(), ACTS[manifest.name]
    for role, level, variant in product(Role, Level, variants_of(manifest)):
        alike: dict[tuple[Mode, bool], set[Verdict]] = {}
        for principal in principals(role):
            found = situation_of(
                manifest,
                principal,
                facts(role=role, level=level, subjects=variant.subjects, control_state=variant.control_state),
                persona_ceiling=Level.L3,
                minimum_level=variant.minimum,
                approved=False,
                control=variant.control,
                sign_off_kind=variant.sign_off_kind,
            )
            verdict = policies.decide(found)
            wanted = expected(
                act,
                cell_at(principal),
                role,
                level,
                assigns_other=variant.assigns_other,
                client_own=variant.client_own,
                client_own_task=variant.client_own_task,
                minimum=variant.minimum,
                control=variant.control,
                ready=variant.control_state in ("satisfied", "not_applicable"),
                sign_off_kind=variant.sign_off_kind,
                own_statement=variant.own_statement,
            )
            assert decision_of(verdict) == wanted, (manifest.name, role, level, principal, variant, verdict)
            if principal.door in act.doors:
                alike.setdefault((principal.mode, principal.attended), set()).add(verdict)
        assert all(len(verdicts) == 1 for verdicts in alike.values()), (manifest.name, role, level, variant, alike)


def test_no_two_cases_that_are_driven_have_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What the arguments of a call name, as the database would say it."""

    subjects: dict[str, Json | None]
    assigns_other: bool = False
    client_own: bool | None = None
    client_own_task: bool = True
    minimum: Level | None = None
    control: str | None = None
    control_state: str = "not_applicable"
    sign_off_kind: str | None = None
    own_statement: bool = True


def variants_of(manifest: Manifest) -> Iterator[Variant]:
    """What this tool's arguments can name that a verdict may depend on."""
    least = manifest.minimum_autonomy
    yield Variant(subjects={}, minimum=least)
    if "assignee" in manifest.subjects:
        yield Variant(subjects={"assignee": {"self": False}}, assigns_other=True)
        yield Variant(subjects={"assignee": {"self": True}})
    if "statement" in manifest.subjects:
        yield Variant(subjects={"statement": {"own": True, "told": False}})
        yield Variant(subjects={"statement": {"own": True, "told": True}}, own_statement=False)
        yield Variant(subjects={"statement": {"own": False, "told": False}}, own_statement=False)
    if "engagement" in manifest.subjects:
        yield Variant(subjects={"engagement": {"member": True}}, client_own=True, minimum=least)
        yield Variant(subjects={"engagement": {"member": False}}, client_own=False, minimum=least)
    if "document" in manifest.subjects:
        yield Variant(subjects={"document": {"own": False}}, client_own=True, minimum=least)
    if manifest.control is not None:
        named = [*product(("plan_freeze", "filings_submit"), ("satisfied", "pending"))]
        for name, state in [*named, ("period_lock", "changes_required"), ("report_release", "not_applicable")]:
            yield Variant(subjects={}, control=name, control_state=state)
    if manifest.sign_off_kind is not None:
        for kind in ("PLAN_REVIEW", "REPORT_FINAL", "EQR_REVIEW", "VAT_RETURN", "PERIOD_CLOSE"):
            yield Variant(subjects={}, sign_off_kind=kind)
    if "task" in manifest.subjects:
        minimums = (Level.L1, Level.L2, None) if manifest.autonomy == "workflow" else (None,)
        yield from (Variant(subjects={"task": {"own": True}}, client_own=True, minimum=each) for each in minimums)
        yield Variant(subjects={"task": {"own": False}}, client_own=True, client_own_task=False)


def principals(role: Role) -> Iterator[Principal]:
    """Everybody of a role that a Principal can say, at every door there will ever be, reachable or not."""
    kind: PrincipalKind = "service_account" if role is Role.SERVICE_ACCOUNT else "person"
    for door, mode, scheduled in product(DOORS, MODES, (False, True)):
        yield Principal(
            organization_id=ORGANIZATION,
            principal_id=READER,
            kind=kind,
            mode=mode,
            door=door,
            scheduled=scheduled,
        )


def cell_at(principal: Principal) -> Cell:
    return Cell(door=principal.door, kind=principal.kind, mode=principal.mode, attended=principal.attended)


def test_each_reason_for_a_cell_to_be_unreachable_holds_for_some_and_never_for_a_whole_door() -> None:
    everything = list(cells())
    for listed in UNREACHABLE:
        assert any(listed.holds(cell) for cell in everything), listed.why
    reachable = {cell.door for cell in everything if not is_unreachable(cell)}
    assert reachable == set(DRIVEN)
    assert {*DRIVEN, *NOT_DRIVEN} == set(DOORS)


@pytest.mark.parametrize(("audience", "kind"), list(product(AUDIENCES, KINDS)))
def test_no_credential_makes_a_principal_of_an_unreachable_cell(audience: Audience, kind: PrincipalKind) -> None:
    member = Member(
        organization_id=ORGANIZATION,
        organization="firm-1",
        principal_id=READER,
        kind=kind,
        role=Role.PARTNER,
        email="partner@firm-1.example",
        display_name="Partner",
    )
    caller = Caller(member=member, audience=audience)
    made = (caller.principal("rest"), caller.principal("chat", mode="agent"), caller.principal("mcp", mode="agent"))
    assert not [cell for cell in map(cell_at, made) if is_unreachable(cell)]
    assert (made[0].mode == "person") == (audience in ("api", "widget") and kind == "person")


# Through the doors ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The firm with a member of every role and level, served, and a process for commands on the same database."""

    site: Site
    host: CommandHost
    owner: Connection
    environment: dict[str, str]
    slack: FakeSlack

    def entrances(self, site: Site, host: CommandHost) -> list[Entrance]:
        """Every way in."""
        return [
            RestCalls(site),
            RestCalls(site, audience="service"),
            Routes(site),
            ChatCalls(site, api="chat_completions"),
            ChatCalls(site, api="responses"),
            McpCalls(site, revision=MODERN),
            McpCalls(site, revision=LEGACY),
            McpStdio(site.hub),
            WidgetCalls(site),
            widget_buttons(site),
            CliCalls(host),
            CliChat(site.hub),
            SlackMentions(site, self.slack),
            SlackButtons(site, self.slack),
            WorkerCalls(hub=site.hub, gate=site.hub.gate, owner=self.owner),
        ]


@pytest.fixture
async def world(database: Database, owner_connection: Connection, tmp_path: Path) -> AsyncIterator[World]:
    await seed_world(owner_connection, ENTRANCES)
    urls = database.urls()
    config = tmp_path / "system.yaml"
    # Very much is rejected here, at one door after another: none of it is to bind the doors that come later.
    config.write_text("autonomy: {incident_calls: 1000, incidents_to_lower: 1000}\n")
    environment = {
        "DATABASE_URL": urls.app,
        "GLOW_RECORDER_DATABASE_URL": urls.recorder,
        "GLOW_SERVICE_DATABASE_URL": urls.service,
        "GLOW_MODEL_API": "offline",
        "SYSTEM_CONFIG_PATH": str(config),
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
    }
    async with FakeSlack() as slack:
        await seed_slack(owner_connection, slack)
        environment["SLACK_API_BASE_URL"] = slack.base_url
        async with (
            obedient_by_either() as model,
            open_hub(with_slack(slack), urls, PUBLIC_URL, HubOptions(model=model)) as hub,
            serving(hub) as site,
            command_host(environment) as host,
        ):
            hub.config.current = SystemConfigFile.open(config).current
            yield World(site=site, host=host, owner=owner_connection, environment=environment, slack=slack)


async def seen_through(entrance: Entrance, hub: Hub, whos: Iterable[Who], cases: Sequence[Case]) -> list[Seen]:
    """Every case by everybody through one entrance, with what the record says of each."""
    seen: list[Seen] = []
    for place, who in enumerate(whos):
        tried = tried_through(entrance, who, place, cases)
        told = await made_by(entrance, who, asked_by(who, entrance.name, tried))
        cell = cell_of(entrance, who)
        recorded = await recorded_calls(hub, [each.call_id for each in told])
        for case, answer, call in zip(tried, told, recorded, strict=True):
            seen.append(
                Seen(
                    entrance=entrance.name,
                    cell=cell,
                    case=case.name,
                    tool=case.tool,
                    who=who,
                    expected=case.expected(cell, who),
                    told=answer,
                    recorded=call,
                )
            )
    return seen


def tried_through(entrance: Entrance, who: Who, place: int, cases: Sequence[Case]) -> list[Case]:
    """The cases that the member in this place tries through an entrance.

    A command takes its time: there each member tries every third case, and every case is tried by some of them.
    """
    match entrance:
        case SlackMentions() | SlackButtons() if who.kind == "service_account":
            return []
        case SlackButtons():
            return [case for case in cases if case.name == "reject"]
        case Routes(tools=tools):
            return [case for case in cases if case.tool in tools]
        case CliCalls() if len(cases) > len(LEVELLED):
            return [case for number, case in enumerate(cases) if (number + place) % 3 == 0]
        case _:
            return list(cases)


async def recorded_calls(hub: Hub, call_ids: Sequence[UUID | None]) -> list[ActivityCall | None]:
    """The calls as `GET /v1/activity/{call_id}` folds them; None for one that the record does not have."""
    async with hub.transactions.session(ORGANIZATION, READER) as session:
        return [await _recorded(session.work.activity, call_id) for call_id in call_ids]


async def _recorded(activity: ActivityService, call_id: UUID | None) -> ActivityCall | None:
    try:
        return None if call_id is None else await activity.call(CallId(call_id))
    except CallNotFound:
        return None


@pytest.mark.no_cover  # Which lines are run is measured by smaller tests; here it would take a third of the time.
@pytest.mark.timeout(1500)
async def test_every_door_decides_alike_and_records_alike(world: World, superuser_connection: Connection) -> None:
    # What is indexed changes what a search finds, so everybody has searched before anybody indexes.
    indexing = cases_of("index", "analyse")
    before = [case for case in CASES if case not in indexing]
    seen: list[Seen] = []
    for cases in (before, indexing):
        for entrance in world.entrances(world.site, world.host):
            seen += await seen_through(entrance, world.site.hub, EVERYBODY, cases)
            seen += await seen_through(entrance, world.site.hub, levelled_through(entrance), levelled(entrance, cases))
    assert_parity(seen)
    assert untried(seen) == set()
    assert await cells_recorded(superuser_connection) == {cell for cell in cells() if not is_unreachable(cell)}
    await assert_replays_alike(world.site.hub)


async def assert_replays_alike(hub: Hub) -> None:
    """All that was decided at every door is decided so again by the same policies, from what was recorded of it."""
    reader = Principal(organization_id=ORGANIZATION, principal_id=READER, kind="person", mode="person", door="cli")
    request = CallRequest(call_id=CallId(uuid4()), tool="policy_replay", arguments={})
    found = (await hub.gate.call(request, reader)).result
    assert found is not None
    assert (found["differences"], found["same"]) == ([], found["verdicts"])


OTHERS = tuple(who for who in WHOS if who not in EVERYBODY)


def levelled_through(entrance: Entrance) -> list[Who]:
    """Who tries an entrance at the other levels: where a command takes its time, only those whose level counts."""
    return [who for who in OTHERS if not isinstance(entrance, CliCalls) or who.kind == "service_account"]


def levelled(entrance: Entrance, cases: Sequence[Case]) -> list[Case]:
    """What is tried at the other levels: everything, but by commands and by the other model API one of each kind."""
    in_part = isinstance(entrance, CliCalls) or entrance.name == "chat responses"
    return [case for case in cases if not in_part or case.name in LEVELLED]


def untried(seen: Sequence[Seen]) -> set[tuple[str, str, Role, Level]]:
    """The squares of tool x entrance x role x level that were not driven, of those whose door can make such a call.

    At the command line a person's own hand is not subject to its level, and each member tries every third case. The
    two model APIs are one door behind the provider: one of them is driven at every level. Slack knows people only.
    """
    through = [name for name in ENTRANCES if name not in ("cli", "chat responses", *SOME_TOOLS_ONLY)]
    wanted = set(product(ACTS, through, Role, Level)) - set(product(ACTS, ["slack"], [Role.SERVICE_ACCOUNT], Level))
    return wanted - {(each.tool, each.entrance, each.who.role, each.who.level) for each in seen}


TAKEN_BACK = "UPDATE knowledge_documents SET deleted_at = now(), purge_at = now() WHERE uploaded_by = $1"
"""The same file again would be answered with the document that is there."""
UPLOADERS = tuple(who for who in EVERYBODY if who.role in (Role.READONLY, Role.EMPLOYEE, Role.CLIENT, Role.EQR))


async def test_a_file_is_taken_in_alike_by_rest_by_the_widget_and_at_the_command_line(
    world: World, superuser_connection: Connection, tmp_path: Path
) -> None:
    engagement = str(FIRM_A.id("engagement"))
    path = tmp_path / "notes.txt"
    path.write_text("The letter is renewed each year.", encoding="utf-8")
    seen: list[Seen] = []
    for who in UPLOADERS:
        by_door: dict[Door, dict[str, str]] = {
            "rest": world.site.headers(who, "api"),
            "widget": widget_headers(world.site, who),
        }
        for door, headers in by_door.items():
            async with httpx.AsyncClient(base_url=world.site.url, headers=headers) as http:
                # Without a type of its own, as a file on a disk has none.
                files = {"file": (path.name, path.read_bytes(), "")}
                await http.post("/v1/knowledge/documents", files=files, data={"engagement_id": engagement})
            seen.append(await uploaded(world, superuser_connection, who, door))
            await world.owner.execute(TAKEN_BACK, who.id)
        whose = ("--organization", "firm-1", "--user", who.email, "--engagement", engagement)
        await world.host.run("ingest", str(path), *whose)
        seen.append(await uploaded(world, superuser_connection, who, "cli"))
    assert_parity(seen)
    assert {each.told.outcome for each in seen} == {"done", "denied"}


async def uploaded(world: World, inspector: Connection, who: Who, door: Door) -> Seen:
    """The one upload of a member through a door, which tells of it by what became of the file."""
    query = "SELECT DISTINCT call_id FROM activity_events WHERE tool = $1 AND principal_id = $2 AND door = $3"
    rows = await inspector.fetch(query, "document_upload", who.id, door)
    (call_id,) = (row["call_id"] for row in rows)
    (recorded,) = await recorded_calls(world.site.hub, [call_id])
    stored = await inspector.fetchval(
        "SELECT count(*) FROM activity_events WHERE call_id = $1 AND kind = 'tool.completed'", call_id
    )
    cell = Cell(door=door, kind=who.kind, mode="person", attended=True)
    return Seen(
        entrance=f"{door} upload",
        cell=cell,
        case="upload",
        tool="document_upload",
        who=who,
        expected=expected(ACTS["document_upload"], cell, who.role, who.level, client_own=True),
        told=Told(call_id=call_id, outcome="done" if stored else "denied"),
        recorded=recorded,
    )


async def cells_recorded(inspector: Connection) -> set[Cell]:
    """Where the calls of the record came from."""
    rows = await inspector.fetch(
        "SELECT DISTINCT door, principal_kind, mode, attended FROM activity_events "
        "WHERE principal_id = ANY ($1) AND call_id <> ALL ($2)",
        [who.id for who in WHOS],
        [own_call(who) for who in WHOS],
    )
    return {
        Cell(door=row["door"], kind=row["principal_kind"], mode=row["mode"], attended=row["attended"]) for row in rows
    }


# Mutated --------------------------------------------------------------------------------------------------------------

NOTICED_BY = {
    "without its gate": ("search", "and not recorded"),
    "without its policy": ("create", r"allow for \('careless',\), not deny"),
}
"""The case that shows it, and in which words."""
BUTTON = "reject"
"""The case that shows it of buttons, which no other case comes through."""
READONLY = Who(role=Role.READONLY, level=Level.L1)


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_a_door_without_its_gate_or_its_policy_is_noticed(world: World, entrance: str) -> None:
    place = ENTRANCES.index(entrance)
    intact = world.entrances(world.site, world.host)[place]
    for mutant, build in MUTANTS.items():
        case, words = NOTICED_BY[mutant]
        case = BUTTON if entrance in ("widget buttons", "slack buttons") else case
        control = await seen_through(intact, world.site.hub, [READONLY], cases_of(case))
        assert_parity(control)
        async with (
            mutated(world.site.hub, build) as hub,
            serving(hub) as site,
            command_host(world.environment, mutant) as host,
        ):
            broken = world.entrances(site, host)[place]
            seen = await seen_through(broken, world.site.hub, [READONLY], cases_of(case))
        with pytest.raises(AssertionError, match=words):
            assert_parity([*control, *seen])
