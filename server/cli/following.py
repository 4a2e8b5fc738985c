"""`glow tasks run` and `glow tasks follow`: a run's progress as a line that moves, or as JSON lines for machines."""

import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

import typer

from domain.kernel import CallId, Principal, TaskRunId
from domain.tasks.service import TaskRunNotFound
from server.cli.moving import moving_bar
from server.cli.opening import acting, acting_hub
from server.cli.printing import complain, plain_json, say, why_not
from server.cli.running import run
from server.following import TaskRunFrame
from server.http.strict_json import MalformedJson, decoded
from server.hub import Hub
from tools.outcomes import CallRequest, Json

Show = Callable[[TaskRunFrame], None]


def start(task_id: UUID, given: str, organization: str, user: str | None, *, follow: bool, as_json: bool) -> bool:
    """Start the run, and follow it where asked to; False when it was refused, or did not complete."""
    try:
        arguments: Json = {"task_id": str(task_id), "input": decoded(given.encode())}
    except (MalformedJson, UnicodeEncodeError) as error:
        raise typer.BadParameter(str(error).replace("the body", "it"), param_hint="--input") from error
    return run(_start(arguments, organization, user, follow=follow, as_json=as_json))


def follow(task_run_id: UUID, organization: str, user: str | None, *, as_json: bool) -> bool:
    """Show a run to its end; False where it was not completed."""
    return run(_follow(TaskRunId(task_run_id), organization, user, as_json=as_json))


async def _start(arguments: Json, organization: str, user: str | None, *, follow: bool, as_json: bool) -> bool:
    async with acting_hub() as hub:
        principal = await acting(hub, organization, user)
        request = CallRequest(call_id=CallId(hub.new_id()), tool="task_run", arguments=arguments)
        outcome = await hub.gate.call(request, principal)
        if outcome.approval is not None:
            say(f"It waits for approval; decide it at {hub.approval_url(outcome.approval.approval_id)}")
            return True
        if outcome.result is None:
            complain(f"glow: {why_not(outcome)}")
            return False
        task_run_id = str(cast(Json, outcome.result["task_run"])["task_run_id"])
        if not follow:
            say(json.dumps(outcome.result["task_run"]) if as_json else task_run_id)
            return True
        return await _shown(hub, principal, TaskRunId(UUID(task_run_id)), as_json=as_json)


async def _follow(task_run_id: TaskRunId, organization: str, user: str | None, *, as_json: bool) -> bool:
    async with acting_hub() as hub:
        return await _shown(hub, await acting(hub, organization, user), task_run_id, as_json=as_json)


async def _shown(hub: Hub, principal: Principal, task_run_id: TaskRunId, *, as_json: bool) -> bool:
    completed = False
    with _lines() if as_json else _bar() as show:
        try:
            async for frames in hub.task_runs.pages(principal, task_run_id, 0):
                for frame in frames:
                    show(frame)
                    completed = frame.type == "task_run.completed"
        except TaskRunNotFound as missing:
            complain(f"glow: {missing}")
            return False
    return completed


@contextmanager
def _lines() -> Generator[Show]:
    def show(frame: TaskRunFrame) -> None:
        sys.stdout.write(plain_json(frame.data) + "\n")
        sys.stdout.flush()

    yield show


@contextmanager
def _bar() -> Generator[Show]:
    """A bar with the run's own words on a terminal; a line for each change where there is none."""
    if not sys.stderr.isatty():
        yield lambda frame: say(_words(frame))
        return
    last: list[TaskRunFrame] = []
    with moving_bar("queued") as move:

        def show(frame: TaskRunFrame) -> None:
            last[:] = [frame]
            move(cast(float, frame.run["progress"]), _said(frame))

        yield show
    for frame in last:
        say(_words(frame))


def _words(frame: TaskRunFrame) -> str:
    share = round(100 * cast(float, frame.run["progress"]))
    return f"{frame.run['status']:10} {share:3} %  {_said(frame)}"


def _said(frame: TaskRunFrame) -> str:
    return str(frame.run["message"]) or str(frame.run["status"])
