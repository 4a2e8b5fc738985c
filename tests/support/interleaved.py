"""Two servers, a run that waits for two answers, and what can come between: drawn from a seed, at once or in turn.

The run's model asks for a task, which anybody may approve, and for a release, which takes a second person and a control
that holds. Between question and answer people approve, reject and cancel, time runs out, the rules are edited, for one
server by other manifests and for both by policies of the firm's own that are put in force and taken back, the control
lapses, what a question names becomes something else, and servers are killed, also in the midst of a decision.
"""

import asyncio
import random
import shutil
import signal
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import UUID

import httpx

from domain.resources import resource_folder
from server.database.connection import Connection
from tests.support.firms import FIRM_A
from tests.support.replicas import Replica, Replicas

Json = dict[str, Any]
Kind = Literal[
    "approve", "reject", "cancel", "expire", "edit", "put", "withdraw", "lapse", "swap", "kill", "kill within"
]
Edit = Literal["as they are", "no tasks", "no releases", "another task_create"]
Point = Literal["decided", "worked", "recorded", "going on"]
"""Before a decision is written, its work, the record of that; before the run goes on."""

ASKER, DECIDER = "partner", "SYSTEM_ADMIN"
TOOLS = ("task_create", "release_submit")
ENGAGEMENT = str(FIRM_A.id("other_engagement"))
KEYS: Mapping[Point, int] = {"decided": 11, "worked": 12, "recorded": 13, "going on": 14}
LIKELY: Mapping[Kind, int] = {
    "approve": 7, "reject": 3, "cancel": 1, "expire": 2, "edit": 2, "put": 3, "withdraw": 2, "lapse": 2, "swap": 1,
    "kill": 2, "kill within": 3
}  # fmt: skip
WITHIN_S = 180
LOOK_S = 0.01

# Who is about to write what a key is for waits for as long as the test holds the key.
HALTS = """
CREATE FUNCTION public.halt() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint); RETURN NEW; END';
CREATE TRIGGER a_halt_decided BEFORE UPDATE ON approvals FOR EACH ROW
    WHEN (OLD.state = 'pending' AND NEW.state <> 'pending') EXECUTE FUNCTION public.halt(11);
CREATE TRIGGER a_halt_worked BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION public.halt(12);
CREATE TRIGGER a_halt_worked BEFORE INSERT ON releases FOR EACH ROW EXECUTE FUNCTION public.halt(12);
CREATE TRIGGER a_halt_recorded BEFORE INSERT ON activity_events FOR EACH ROW
    WHEN (NEW.kind = 'tool.completed') EXECUTE FUNCTION public.halt(13);
CREATE TRIGGER a_halt_going_on BEFORE UPDATE ON runs FOR EACH ROW
    WHEN (OLD.status = 'waiting' AND NEW.status = 'running') EXECUTE FUNCTION public.halt(14);
"""
HALTED = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = $1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# The database hears of a client's death only when it has something to tell it.
BURY = """
SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# What the killed had in hand is known by their silence.
SILENT = (
    "UPDATE queue.pgqueuer SET heartbeat = heartbeat - interval '1 minute', updated = updated - interval '1 minute'"
)
# What a release names by an id alone, and whoever decides is shown.
SWAP = "UPDATE engagements SET client_name = client_name || ' and others' WHERE engagement_id = $1"
EXPIRE = "UPDATE approvals SET expires_at = now() - interval '1 second' WHERE approval_id = $1 AND state = 'pending'"


FORBIDS = """@id("no_{tool}")
@says("Not any more.")
forbid (principal, action == Action::"call", resource == Tool::"{tool}");
"""
# Of the firm's own: not another program's files, but rows, which hold at both servers from the next call on.
OWN = """@id("{id}")
@says("Not in this firm any more.")
forbid (principal, action == Action::"call", resource == Tool::"{tool}");
"""
CHANGES = """
SELECT policy_id, text IS NOT NULL AS in_force FROM organization_policies WHERE organization_id = $1
ORDER BY changed_at, change_id
"""


def own_id(tool: str) -> str:
    """What the firm's own policy against this tool is known by."""
    return f"own_no_{tool}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens; what does not matter for its kind is drawn all the same."""

    kind: Kind
    at: int
    """Which of the two servers."""
    of: int
    """Which of the two questions."""
    who: str
    edit: Edit
    point: Point
    gently: bool
    """Whether a server that makes room for another is told to end, or killed."""
    after_s: float

    def __str__(self) -> str:
        own = {kind: f" {own_id(TOOLS[self.of])}" for kind in ("put", "withdraw")}
        told = {**own, "edit": f" {self.edit}", "kill within": f" {self.point}, approving {TOOLS[self.of]}"}
        decides = f" {TOOLS[self.of]} by {self.who}" if self.kind in ("approve", "reject", "expire") else ""
        return f"{self.kind}{decides}{told.get(self.kind, '')} at {self.at}"


Course = tuple[tuple[Step, ...], ...]
"""Steps that are taken at once, one set after another."""


def drawn(chance: random.Random) -> Course:
    """A course of two to five sets of up to three steps."""
    return tuple(tuple(_step(chance) for _ in range(chance.choice((1, 1, 2, 3)))) for _ in range(chance.randint(2, 5)))


def _step(chance: random.Random) -> Step:
    return Step(
        kind=chance.choices(tuple(LIKELY), tuple(LIKELY.values()))[0],
        at=chance.randrange(2),
        of=chance.randrange(2),
        who=chance.choice((DECIDER, DECIDER, DECIDER, ASKER)),
        edit=chance.choice(get_args(Edit)),
        point=chance.choice(get_args(Point)),
        gently=chance.random() < 0.5,
        after_s=chance.random() * 0.03,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What somebody who tried to settle something was told."""

    step: Step
    edit: Edit
    """The rules of the server that was asked."""
    lapsed: bool
    """Whether the control had lapsed before the question was put."""
    swapped: bool
    """Whether what the release names had become something else."""
    forbidden: bool
    """Whether the firm's own policy against the tool was in force all the while."""
    allowed: bool
    """Whether it was in force at no time of that."""
    status: int
    body: Json


@dataclass(slots=True, kw_only=True)
class Server:
    """One of the two, which has its place until it is killed or makes room."""

    replica: Replica
    edit: Edit
    stack: AsyncExitStack
    alive: bool = True

    async def end(self, number: signal.Signals) -> None:
        """Tell it to end, or kill it, once."""
        if self.alive:
            self.alive = False
            self.replica.signal(number)
            if number is signal.SIGKILL:
                await self.stack.aclose()


def rules_in(folder: Path) -> dict[Edit, Path | None]:
    """The project's manifests, and copies that are edited."""
    tasks, releases, another = (folder / name for name in ("tasks", "releases", "another"))
    for copy in (tasks, releases, another):
        shutil.copytree(resource_folder("manifests"), copy)
    for copy, tool in ((tasks, "task_create"), (releases, "release_submit")):
        forbids = FORBIDS.format(tool=tool)
        (copy / "policies" / "edited.cedar").write_text(forbids, encoding="utf-8")
    manifest = another / "tools" / "task_create.yaml"
    text = manifest.read_text(encoding="utf-8")
    assert "maxLength: 200\n" in text
    manifest.write_text(text.replace("maxLength: 200\n", "maxLength: 199\n"), encoding="utf-8")
    return {"as they are": None, "no tasks": tasks, "no releases": releases, "another task_create": another}


@dataclass(slots=True, kw_only=True)
class Pair:
    """Two servers that take jobs too, by one set of rules or another."""

    started: Replicas
    rules: Mapping[Edit, Path | None]
    owner: Connection
    inspector: Connection
    holder: Connection
    stack: AsyncExitStack
    servers: list[Server] = field(default_factory=list[Server])
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    expiring: asyncio.Lock = field(default_factory=asyncio.Lock)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fill(self, *, anew: bool = False) -> None:
        """Have two of them, who find what others had in hand; `anew`: by the rules as they are."""
        async with self.asking:
            await self.inspector.execute(SILENT)
        for at in range(2):
            if len(self.servers) <= at:
                self.servers.append(await self.opened("as they are"))
            elif not self.servers[at].alive or (anew and self.servers[at].edit != "as they are"):
                await self.replace(at, "as they are" if anew else self.servers[at].edit, signal.SIGKILL)

    async def replace(self, at: int, edit: Edit, number: signal.Signals) -> None:
        """Have another take the place; for a moment both may be there."""
        async with self.starting:
            before, self.servers[at] = self.servers[at], await self.opened(edit)
            await before.end(number)

    async def opened(self, edit: Edit) -> Server:
        stack = await self.stack.enter_async_context(AsyncExitStack())
        replica = await stack.enter_async_context(self.started.running(works=True, manifests=self.rules[edit]))
        return Server(replica=replica, edit=edit, stack=stack)

    async def fetch(self, query: str, *values: object) -> list[Json]:
        async with self.asking:
            return [dict(row) for row in await self.inspector.fetch(query, *values)]

    async def own_changes(self) -> list[tuple[str, bool]]:
        """The changes of the firm's own policies, in order: of which, and whether it was in force from then on."""
        rows = await self.fetch(CHANGES, FIRM_A.organization_id)
        return [(row["policy_id"], row["in_force"]) for row in rows]

    async def swap(self) -> None:
        """What a release names becomes something else."""
        async with self.expiring:
            await self.owner.execute(SWAP, UUID(ENGAGEMENT))

    async def expire(self, question: UUID) -> None:
        """The time of a question is over, unless it is answered."""
        async with self.expiring:
            await self.owner.execute(EXPIRE, question)

    @asynccontextmanager
    async def held(self, point: Point) -> AsyncGenerator[None]:
        """Nobody comes beyond this point for the length of the block."""
        await self.holder.execute("SELECT pg_advisory_lock($1)", KEYS[point])
        try:
            yield
        finally:
            await self.holder.execute("SELECT pg_advisory_unlock($1)", KEYS[point])

    async def comes_to(self, point: Point, deciding: "asyncio.Task[None]") -> None:
        """Returns once somebody would go beyond it, or nobody will, since the decision has come to its end."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                if deciding.done() or (await self.fetch(HALTED, KEYS[point]))[0]["count"]:
                    return
                await asyncio.sleep(LOOK_S)


@dataclass(slots=True, kw_only=True)
class Case:
    """One run, its two questions, and what became of those who tried to settle them."""

    pair: Pair
    number: int
    run_id: UUID
    questions: Sequence[UUID]
    holding: asyncio.Lock = field(default_factory=asyncio.Lock)
    lapsed: bool = False
    swapping: bool = False
    swapped: bool = False
    cancelled: bool = False
    killed: bool = False
    answered: list[Answered] = field(default_factory=list[Answered])

    async def take(self, course: Course) -> None:
        """All of it; between two sets the place of who was killed is taken by another."""
        for steps in course:
            await asyncio.gather(*(self._take(step) for step in steps))
            await self.pair.fill()

    async def _take(self, step: Step) -> None:
        await asyncio.sleep(step.after_s)
        server = self.pair.servers[step.at]
        match step.kind:
            case "approve" | "reject":
                await self.decide(step, step.kind, server)
            case "cancel":
                self.cancelled = True
                await self.post(server, ASKER, f"/v1/runs/{self.run_id}/cancel", None)
            case "expire":
                await self.pair.expire(self.questions[step.of])
            case "edit":
                self.killed = True
                await self.pair.replace(step.at, step.edit, signal.SIGTERM if step.gently else signal.SIGKILL)
            case "put":
                await self._put(server, TOOLS[step.of])
            case "withdraw":
                answer = await self._withdraw(server, own_id(TOOLS[step.of]))
                assert answer is None or answer.status_code in {200, 404, 409, 422, 503, 504}, answer.text
            case "lapse" | "swap":
                await (self._lapse(server) if step.kind == "lapse" else self._swap())
            case "kill":
                self.killed = True
                await server.end(signal.SIGKILL)
            case "kill within":
                await self._kill_within(step, server)

    async def decide(self, step: Step, decision: Literal["approve", "reject"], server: Server) -> None:
        """What is told of it is kept."""
        lapsed, swapped, path = self.lapsed, self.swapped, f"/v1/approvals/{self.questions[step.of]}/decision"
        before = await self.pair.own_changes()
        answer = await self.post(server, step.who, path, {"decision": decision})
        if answer is not None:
            stood = _stood(own_id(TOOLS[step.of]), before, await self.pair.own_changes())
            told = Answered(
                step=step,
                edit=server.edit,
                lapsed=lapsed,
                swapped=swapped,
                forbidden=stood == {True},
                allowed=stood == {False},
                status=answer.status_code,
                body=answer.json(),
            )
            self.answered.append(told)

    async def withdraw_all(self) -> None:
        """None of the firm's own policies is in force any more."""
        for policy_id, in_force in dict(await self.pair.own_changes()).items():
            if in_force:
                answer = await self._withdraw(self.pair.servers[0], policy_id)
                assert answer is not None
                assert answer.status_code == 200, answer.text

    async def _put(self, server: Server, tool: str) -> None:
        body = {"text": OWN.format(id=own_id(tool), tool=tool), "reason": "So it is.", "replace": True}
        answer = await self.post(server, DECIDER, "/v1/policies", body)
        # One that says the same already is not put again.
        assert answer is None or answer.status_code in {201, 409, 422, 503, 504}, answer.text

    async def _withdraw(self, server: Server, policy_id: str) -> httpx.Response | None:
        return await self.post(server, DECIDER, f"/v1/policies/{policy_id}?reason=Over.", None, "DELETE")

    async def _lapse(self, server: Server) -> None:
        """A newer version of what leaves is signed by one of the two who sign: the other's word is of the older one."""
        answer = await self.post(server, ASKER, "/v1/sign-offs", sign_off("REPORT_FINAL", f"{self.number} anew"))
        self.lapsed = self.lapsed or (answer is not None and answer.is_success)

    async def _swap(self) -> None:
        self.swapping = True
        await self.pair.swap()
        self.swapped = True

    async def _kill_within(self, step: Step, server: Server) -> None:
        self.killed = True
        async with self.holding:
            async with self.pair.held(step.point):
                deciding = asyncio.create_task(self.decide(step, "approve", server))
                await self.pair.comes_to(step.point, deciding)
                await server.end(signal.SIGKILL)
                await self.pair.fetch(BURY)
            await deciding

    async def post(
        self, server: Server, who: str, path: str, body: Json | None, method: str = "POST"
    ) -> httpx.Response | None:
        """None: the server was killed before it had answered."""
        try:
            async with server.replica.client(who) as client:
                return await client.request(method, path, json=body)
        except httpx.TransportError:
            assert self.killed, "a server that lives has not answered"
            return None


def _stood(policy_id: str, before: Sequence[tuple[str, bool]], after: Sequence[tuple[str, bool]]) -> set[bool]:
    """Whether it was in force, and whether it was not, at any time from the one look to the other."""
    changed = [in_force for changed_id, in_force in after[len(before) :] if changed_id == policy_id]
    return {dict(before).get(policy_id, False), *changed}


def sign_off(kind: str, version: str) -> Json:
    """One of the two words that the control needs."""
    said = {"engagement_id": ENGAGEMENT, "decision": "accept", "subject": "Report"}
    return {**said, "kind": kind, "version": version}
