"""Approve, reject, cancel, expire, edit rules, lapse the control, swap what is named, kill -9: in any order, on two
servers at once.

Whatever comes between question and answer, each call has one outcome, is made at most once, and approval, record, run
and model say the same of it. `make test` takes a few courses; `make interleavings` takes 200 (GLOW_TEST_INTERLEAVINGS),
drawn anew each time. A failure names its seed and course: GLOW_TEST_SEED and GLOW_TEST_CASE repeat it.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast
from uuid import UUID

import orjson
import pytest

from domain.kernel import Role
from server.database.connection import Connection, connected
from tests.doors.test_waiting_killed import LEVEL, QUIET, SAID, assert_valid, assert_whole, begun, frames_of
from tests.support.calls import add_member
from tests.support.database import Database
from tests.support.fake_openai import FakeOpenAI
from tests.support.fake_turns import Call, Turn
from tests.support.fake_turns import Json as Body
from tests.support.firms import FIRM_A, seed_firms
from tests.support.interleaved import (
    ASKER,
    DECIDER,
    ENGAGEMENT,
    HALTS,
    LOOK_S,
    TOOLS,
    WITHIN_S,
    Answered,
    Case,
    Course,
    Edit,
    Json,
    Pair,
    Step,
    drawn,
    rules_in,
    sign_off,
)
from tests.support.replicas import Replica, replicas

CASES = int(os.environ.get("GLOW_TEST_INTERLEAVINGS", "3"))
SEED = os.environ.get("GLOW_TEST_SEED", "sample" if CASES < 50 else str(random.SystemRandom().getrandbits(32)))
ONLY = os.environ.get("GLOW_TEST_CASE")
NUMBERS = range(CASES) if ONLY is None else (int(ONLY),)

pytestmark = pytest.mark.timeout(180 + 30 * CASES)

CONTROL = "INSERT INTO release_controls (organization_id, name, needs) VALUES ($1, 'report_release', $2)"
QUESTIONS = "SELECT approval_id, call_id, tool, state FROM approvals WHERE run_id = $1 ORDER BY tool DESC"
EVENTS = """
SELECT kind, outcome FROM activity_events WHERE call_id = $1
ORDER BY recorded_at, opens DESC, kind <> 'tool.allowed', kind
"""
DECIDED = """
SELECT count(*) FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
WHERE e.kind = 'tool.completed' AND e.tool = 'approval_decide' AND p.result::jsonb #>> '{approval,id}' = $1
"""
EFFECTS: Mapping[str, str] = {
    "task_create": """
        SELECT count(*) FROM tasks t WHERE t.title = (
            SELECT p.arguments::jsonb ->> 'title' FROM activity_events e
            JOIN activity_payloads p USING (organization_id, event_id) WHERE e.call_id = $1 AND e.opens)
    """,
    "release_submit": "SELECT count(*) FROM releases WHERE call_id = $1",
}
COURSES: Mapping[str, Sequence[tuple[list[str], str]]] = {
    "executed": [(["tool.waiting", "tool.allowed", "tool.completed"], "done")],
    "failed": [
        (["tool.waiting", "tool.denied"], "denied"),
        # The control lapsed between the verdict and the lock under which it is looked at once more.
        (["tool.waiting", "tool.allowed", "tool.invalid"], "invalid"),
    ],
    "rejected": [(["tool.waiting", "tool.rejected"], "rejected")],
    "expired": [(["tool.waiting", "tool.expired"], "expired")],
    "cancelled": [(["tool.waiting", "tool.cancelled"], "cancelled")],
}
"""What the record may have of a call whose approval ended so, and the outcome."""
STRICTER: Mapping[Edit, tuple[str, ...]] = {
    "as they are": (),
    "no tasks": ("task_create",),
    "no releases": ("release_submit",),
    "another task_create": ("task_create",),
}
"""What no server makes that goes by these rules."""
LAST = Step(
    kind="reject", at=0, of=0, who=DECIDER, edit="as they are", point="decided", gently=True, after_s=0
)  # fmt: skip
AFTERWARDS = "And what has become of it?"


@dataclass(slots=True)
class Thinking:
    """A model that asks for a task and a release when it is told of a case, and remembers all that it was told."""

    heard: list[list[Json]] = field(default_factory=list[list[Json]])

    def think(self, body: Body) -> Turn:
        messages = cast("list[Json]", body["messages"])
        self.heard.append(messages)
        said = max(place for place, each in enumerate(messages) if each["role"] == "user")
        case = str(messages[said]["content"])
        if len(messages) > said + 1 or not case.startswith("case "):
            return Turn(text="That is so.")
        evidence = [{"subject": "Report", "version": case.removeprefix("case ")}]
        release = {"control": "report_release", "engagement_id": ENGAGEMENT, "evidence": evidence}
        asked = zip(TOOLS, ({"title": case}, release), strict=True)
        return Turn(calls=tuple(_call(name, arguments, case) for name, arguments in asked))

    def told_of(self, case: str) -> list[list[Json]]:
        """What it was told of the two calls, each time that it was told of them; for each an envelope."""
        found: list[list[Json]] = []
        for messages in self.heard:
            texts = {str(each["tool_call_id"]): str(each["content"]) for each in messages if each["role"] == "tool"}
            ids = [f"{name} {case}" for name in TOOLS]
            if all(each in texts for each in ids):
                found.append([orjson.loads(texts[each]) for each in ids])
        return found


def _call(name: str, arguments: Json, case: str) -> Call:
    return Call(name=name, arguments=orjson.dumps(arguments).decode(), id=f"{name} {case}")


@asynccontextmanager
async def opened(
    database: Database, owner: Connection, inspector: Connection, folder: Path
) -> AsyncGenerator[tuple[Pair, Thinking]]:
    """Both servers, in a firm where a release needs two words and an agent may do nothing unasked."""
    await seed_firms(owner)
    await owner.execute(QUIET)
    await owner.execute(LEVEL, FIRM_A.organization_id, FIRM_A.id("partner"))
    await owner.execute(CONTROL, FIRM_A.organization_id, ["REPORT_FINAL", "EQR_REVIEW"])
    for role in (Role.EQR, Role.SYSTEM_ADMIN):
        await add_member(owner, role)
    await inspector.execute(HALTS)
    thinking = Thinking()
    async with (
        FakeOpenAI(brain=thinking.think) as model,
        replicas(database, model.base_url) as started,
        connected(database.dsn("postgres")) as holder,
        AsyncExitStack() as stack,
    ):
        yield (
            Pair(
                started=started,
                rules=rules_in(folder),
                owner=owner,
                inspector=inspector,
                holder=holder,
                stack=stack,
            ),
            thinking,
        )


async def asked(pair: Pair, number: int) -> Case:
    """A run that waits for both answers; what it would release is signed by both."""
    await pair.fill(anew=True)
    replica = pair.servers[number % 2].replica
    for who, kind in ((ASKER, "REPORT_FINAL"), ("EQR", "EQR_REVIEW")):
        async with replica.client(who) as client:
            answer = await client.post("/v1/sign-offs", json=sign_off(kind, str(number)))
            assert answer.is_success, answer.text
    run_id = await begun(replica, f"case {number}", ASKER)
    await comes_to(pair, run_id, "waiting")
    rows = await pair.fetch(QUESTIONS, run_id)
    assert [row["tool"] for row in rows] == list(TOOLS)
    return Case(pair=pair, number=number, run_id=run_id, questions=[row["approval_id"] for row in rows])


async def status(pair: Pair, run_id: UUID) -> str:
    return (await pair.fetch("SELECT status FROM runs WHERE run_id = $1", run_id))[0]["status"]


async def comes_to(pair: Pair, run_id: UUID, wanted: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            if (now := await status(pair, run_id)) == wanted:
                return
            assert now == "running", now
            await asyncio.sleep(LOOK_S)


async def brought_to_its_end(case: Case) -> None:
    """Whatever is still open is rejected; what has lapsed takes no answer, and is written down by a worker."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            if await status(case.pair, case.run_id) not in ("running", "waiting"):
                return
            for of, row in enumerate(await case.pair.fetch(QUESTIONS, case.run_id)):
                if row["state"] == "pending":
                    await case.decide(replace(LAST, of=of), "reject", case.pair.servers[of])
            await asyncio.sleep(LOOK_S)


async def asked_afterwards(replica: Replica, case: Case) -> None:
    """Another turn of the conversation: its model is told what has become of the calls, however the run ended."""
    async with replica.client(ASKER) as client:
        run = (await client.get(f"/v1/runs/{case.run_id}")).json()
        body = {"message": AFTERWARDS, "conversation_id": run["conversation_id"]}
        answer = await client.post("/v1/chat", json=body)
        assert (answer.status_code, answer.json()["status"]) == (200, "completed"), answer.text


async def outcomes_of(case: Case) -> list[str]:
    """How each call ended: approval, record and effect agree, and nothing has happened twice."""
    ended: list[str] = []
    for row in await case.pair.fetch(QUESTIONS, case.run_id):
        events = await case.pair.fetch(EVENTS, row["call_id"])
        course = [event["kind"] for event in events], events[-1]["outcome"]
        assert course in COURSES[row["state"]], row
        effects = (await case.pair.fetch(EFFECTS[row["tool"]], row["call_id"]))[0]["count"]
        assert effects == (1 if row["state"] == "executed" else 0), row
        decisions = (await case.pair.fetch(DECIDED, str(row["approval_id"])))[0]["count"]
        assert decisions == (1 if row["state"] in ("executed", "failed", "rejected") else 0), row
        assert_answered(case, TOOLS.index(row["tool"]), row["state"], course[1])
        ended.append(course[1])
    return ended


def assert_answered(case: Case, of: int, state: str, outcome: str) -> None:
    """Who decided was told the truth, and one at most did; the rules and the control in force then were kept to."""
    told = [each for each in case.answered if each.step.of == of]
    assert {each.status for each in told} <= SAID | ({403} if TOOLS[of] == "release_submit" else set()), told
    done = [each for each in told if each.status == 200]
    assert len(done) <= 1, told
    for each in done:
        assert (each.body["state"], each.body["call"]["outcome"]) == (state, outcome), each
        assert each.body["decided_by"] is not None
        if _refuses(each, TOOLS[of]):
            assert state in ("failed", "rejected"), each
        elif each.allowed and not case.lapsed and not (case.swapping and TOOLS[of] == "release_submit"):
            assert state != "failed", each
    if TOOLS[of] == "release_submit":
        assert {each.status for each in told if each.step.who == ASKER} <= SAID - {200} | {403}, told
    if not done and not case.killed:
        assert state in ("expired", "cancelled")


def _refuses(answered: Answered, tool: str) -> bool:
    lapsed = (answered.lapsed or answered.swapped) and tool == "release_submit"
    return tool in STRICTER[answered.edit] or answered.forbidden or lapsed


def assert_run_tells(frames: Sequence[Json], outcomes: Sequence[str], questions: Sequence[UUID]) -> None:
    """The run's events are whole, and say of each call what the record says."""
    assert_whole(frames)
    called = {frame["call_id"]: frame["tool"] for frame in frames if frame["type"] == "tool.called"}
    told = {called[frame["call_id"]]: frame["outcome"] for frame in frames if frame["type"] == "tool.completed"}
    assert told == dict(zip(TOOLS, outcomes, strict=True))
    decided = {frame["approval_id"]: frame["decision"] for frame in frames if frame["type"] == "approval.decided"}
    for approval_id, outcome in zip(questions, outcomes, strict=True):
        by_hand = {"done": "approve", "denied": "approve", "invalid": "approve", "rejected": "reject"}
        assert decided.get(str(approval_id)) in (by_hand.get(outcome), None), decided


async def assert_one_truth(case: Case, thinking: Thinking) -> None:
    both = [server.replica for server in case.pair.servers]
    outcomes = await outcomes_of(case)
    told = [await frames_of(replica, case.run_id, ASKER) for replica in both]
    assert told[0] == told[1]
    frames = [cast(Json, orjson.loads(frame)) for frame in told[0]]
    assert_run_tells(frames, outcomes, case.questions)
    await asked_afterwards(both[0], case)
    heard = thinking.told_of(f"case {case.number}")
    assert heard
    for envelopes in heard:
        assert [each["outcome"] for each in envelopes] == outcomes
    for messages in thinking.heard:
        assert_valid(messages)
    # A run that has come to its end had the model told, and not only whoever asked afterwards.
    assert len(heard) >= (2 if frames[-1]["type"] == "run.completed" else 1)


def written(number: int, course: Course) -> str:
    """How a course is told, and repeated."""
    steps = " | ".join(" & ".join(str(step) for step in steps) for steps in course)
    return f"GLOW_TEST_SEED={SEED} GLOW_TEST_CASE={number}: {steps}"


async def test_whatever_comes_between_question_and_answer_there_is_one_outcome_and_everybody_is_told_it(
    database: Database, owner_connection: Connection, superuser_connection: Connection, tmp_path: Path
) -> None:
    async with opened(database, owner_connection, superuser_connection, tmp_path) as (pair, thinking):
        for number in NUMBERS:
            course = drawn(random.Random(f"{SEED} {number}"))
            thinking.heard.clear()
            try:
                case = await asked(pair, number)
                await case.take(course)
                await brought_to_its_end(case)
                await case.withdraw_all()
                await assert_one_truth(case, thinking)
            except BaseException as fault:
                fault.add_note(written(number, course))
                raise
