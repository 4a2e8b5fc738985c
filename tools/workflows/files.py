"""Workflows, read from their YAML files at start: each held to the workflows' schema, and to the tools it calls."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import orjson

from domain.kernel import Level
from domain.tasks.model import OBJECTIVE
from tools.json_schema import Checker
from tools.manifest import Manifest
from tools.outcomes import Json
from tools.workflows.model import NO_RETRIES, RUN_TIMEOUT, Repeat, Retries, Step, Workflow, Workflows
from tools.workflows.references import OF_RUN, argument_faults, reference_faults
from tools.yaml_files import UnreadableYaml, read_yaml

SCHEMA_NAME = "workflows.schema.json"

_RUN: Json = {"properties": {name: {"type": "string"} for name in OF_RUN}}


class WorkflowFilesError(Exception):
    """The workflows cannot be used; the server does not start. Lists every fault that was found."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def load_workflows(folder: Path, manifests: Mapping[str, Manifest]) -> Workflows:
    """The workflows of a folder, which is that of `manifests`; their steps are held to the tools' own manifests.

    Raises  WorkflowFilesError: a file that is no workflow, steps that need one another in a circle, a step that no
    background work may make, a reference to what is not there.
    """
    checker = Checker(cast(Json, orjson.loads((folder.parent / SCHEMA_NAME).read_bytes())))
    faults: list[str] = []
    workflows: list[Workflow] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__")):
            continue
        try:
            workflows.append(_read(path, checker, manifests))
        except WorkflowFilesError as unusable:
            faults += unusable.faults
    if faults:
        raise WorkflowFilesError(faults)
    return Workflows(workflows)


def _read(path: Path, checker: Checker, manifests: Mapping[str, Manifest]) -> Workflow:
    """One file. Raises  WorkflowFilesError: all that is wrong with it."""
    try:
        raw = read_yaml(path)
    except UnreadableYaml as unreadable:
        raise WorkflowFilesError([str(unreadable)]) from unreadable
    faults = [f"{path.name}: {fault.path or '/'}: {fault.message}" for fault in checker.check(raw)]
    if faults:
        raise WorkflowFilesError(faults)
    workflow = _workflow(raw, manifests)
    faults = [f"{path.name}: {fault}" for fault in _faults(workflow, path.stem, manifests)]
    if faults:
        raise WorkflowFilesError(faults)
    return workflow


# What a file says -----------------------------------------------------------------------------------------------------


def _workflow(raw: Json, manifests: Mapping[str, Manifest]) -> Workflow:
    steps = [_step(step, manifests) for step in cast("list[Json]", raw["steps"])]
    return Workflow(
        name=cast(str, raw["name"]),
        title=cast(str, raw["title"]),
        description=cast(str, raw["description"]).strip(),
        minimum_autonomy=Level[cast(str, raw["minimum_autonomy"])],
        steps=tuple(_after_the_last(steps, cast("list[Json]", raw["steps"]))),
        timeout=_seconds(raw.get("timeout_s")) or RUN_TIMEOUT,
    )


def _after_the_last(steps: Sequence[Step], raw: Sequence[Json]) -> Iterator[Step]:
    """A step that does not say what it needs follows the one that is written before it."""
    before: tuple[str, ...] = ()
    for step, said in zip(steps, raw, strict=True):
        yield step if "needs" in said else replace(step, needs=before)
        before = (step.name,)


def _step(raw: Json, manifests: Mapping[str, Manifest]) -> Step:
    tool = cast(str, raw["tool"])
    return Step(
        name=cast(str, raw["name"]),
        tool=tool,
        arguments=cast(Json, raw.get("arguments", {})),
        needs=tuple(cast("list[str]", raw.get("needs", []))),
        for_each=_reference(raw.get("for_each")),
        when=_reference(raw.get("when")),
        retries=_retries(cast("Json | None", raw.get("retries"))),
        timeout=_seconds(raw.get("timeout_s")),
        pages=cast("dict[str, int]", raw["pages"])["most"] if "pages" in raw else None,
        repeat=_repeat(cast("Json | None", raw.get("repeat"))),
        longest=_longest(manifests[tool]) if tool in manifests else {},
    )


def _repeat(raw: Json | None) -> Repeat | None:
    if raw is None:
        return None
    return Repeat(
        while_=cast(str, raw["while"]), most=cast(int, raw["most"]), rest_s=cast("str | None", raw.get("rest_s"))
    )


def _longest(manifest: Manifest) -> Mapping[str, int]:
    properties = cast("dict[str, Json]", manifest.arguments.get("properties", {}))
    return {name: cast(int, said["maxLength"]) for name, said in properties.items() if "maxLength" in said}


def _reference(raw: object) -> str | None:
    return None if raw is None else cast("dict[str, str]", raw)["$from"]


def _retries(raw: Json | None) -> Retries:
    if raw is None:
        return NO_RETRIES
    times = cast(int, raw["times"])
    pause, longest = _seconds(raw.get("pause_s")), _seconds(raw.get("longest_s"))
    return Retries(times=times, pause=pause or NO_RETRIES.pause, longest=longest or NO_RETRIES.longest)


def _seconds(raw: object) -> timedelta | None:
    return None if raw is None else timedelta(seconds=cast(float, raw))


# What is wrong with it ------------------------------------------------------------------------------------------------


def _faults(workflow: Workflow, stem: str, manifests: Mapping[str, Manifest]) -> Iterator[str]:
    if workflow.name == OBJECTIVE:
        yield "a task of this kind is the agent's"
    if workflow.name != stem:
        yield f"its name is {workflow.name!r}"
    steps = {step.name: step for step in workflow.steps}
    names = [step.name for step in workflow.steps]
    yield from (f"{name}: two steps have this name" for name in steps if names.count(name) > 1)
    unknown = [
        f"{step.name}: needs {name!r}, which is no step"
        for step in workflow.steps
        for name in step.needs
        if name not in steps
    ]
    yield from unknown
    circle = [] if unknown else sorted(name for name in steps if name in _needed(steps[name], steps))
    if circle:
        yield f"{', '.join(circle)}: these steps need one another in a circle"
    for step in workflow.steps:
        manifest = manifests.get(step.tool)
        if manifest is None:
            yield f"{step.name}: there is no tool named {step.tool!r}"
        elif not unknown and not circle:
            known = _known(step, steps, manifests)
            yield from (
                f"{step.name}: {fault}" for fault in (*_tool_faults(step, manifest), *_said_faults(step, known))
            )


def _needed(step: Step, steps: Mapping[str, Step]) -> set[str]:
    """Every step that is done before this one begins."""
    found: set[str] = set()
    left = list(step.needs)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += steps[name].needs
    return found


def _known(step: Step, steps: Mapping[str, Step], manifests: Mapping[str, Manifest]) -> dict[str, Json]:
    """The schema of each name that this step's references may speak of."""
    known: dict[str, Json] = {"input": {}, "run": _RUN}
    for name in _needed(step, steps):
        manifest = manifests.get(steps[name].tool)
        result: Json = {} if manifest is None else manifest.result
        known[name] = _given_by(steps[name], result)
    return known


def _given_by(step: Step, result: Json) -> Json:
    """The schema of what a step gives whose tool gives `result`."""
    if step.pages is not None:
        return _of_pages(result)
    return result if step.for_each is None else _of_each(result)


def _of_pages(result: Json) -> Json:
    """What a step with pages gives: the items of all of them, and how many are left for the next run."""
    items = cast(Json, result.get("properties", {})).get("items", {})
    counts = {"count": {"type": "integer"}, "left": {"type": "integer"}}
    return {"type": "object", "properties": {"items": items, **counts}}


def _of_each(result: Json) -> Json:
    """What a step with for_each gives: the result of each of its calls, in the order of the list."""
    return {"type": "object", "properties": {"items": {"type": "array", "items": result}, "count": {"type": "integer"}}}


def _tool_faults(step: Step, manifest: Manifest) -> Iterator[str]:
    if manifest.person_only:
        yield f"{step.tool} takes a person's own hand"
    if "worker" not in manifest.doors:
        yield f"{step.tool} is not offered to background work"
    if manifest.autonomy == "workflow":
        yield f"{step.tool} starts work of its own; a workflow that could start itself would never end"
    if step.timeout is not None and step.timeout > manifest.timeout:
        yield f"timeout_s: {step.tool} ends after {manifest.timeout.total_seconds():g} s by itself"
    properties = cast(Json, manifest.arguments.get("properties", {}))
    if step.pages is not None:
        yield from _pages_faults(step, manifest)
    if step.repeat is not None:
        yield from _repeat_faults(step, step.repeat, manifest)
    required = cast("list[str]", manifest.arguments.get("required", []))
    yield from (f"{step.tool} takes no {name!r}" for name in step.arguments if name not in properties)
    yield from (f"{step.tool} needs {name!r}" for name in required if name not in step.arguments)


def _pages_faults(step: Step, manifest: Manifest) -> Iterator[str]:
    given = cast(Json, manifest.result.get("properties", {}))
    if (
        "cursor" not in cast(Json, manifest.arguments.get("properties", {}))
        or not {"items", "next_cursor"} <= given.keys()
    ):
        yield f"pages: {step.tool} gives no list page by page"
    if step.for_each is not None or "cursor" in step.arguments:
        yield "pages: such a step has no for_each, and finds its cursor by itself"


def _repeat_faults(step: Step, repeat: Repeat, manifest: Manifest) -> Iterator[str]:
    given = cast("dict[str, Json]", manifest.result.get("properties", {}))
    if given.get(repeat.while_, {}).get("type") != "boolean":
        yield f"repeat: {step.tool} gives no {repeat.while_!r} that is true or false"
    if repeat.rest_s is not None and given.get(repeat.rest_s, {}).get("type") != "number":
        yield f"repeat: {step.tool} gives no {repeat.rest_s!r} that is a number"
    if step.for_each is not None or step.pages is not None:
        yield "repeat: such a step has neither for_each nor pages"


def _said_faults(step: Step, known: Mapping[str, Json]) -> Iterator[str]:
    """What is wrong with what the step says of other steps."""
    for reference in (step.for_each, step.when):
        if reference is not None:
            yield from reference_faults(reference, known)
    item = {} if step.for_each is None else {"item": _item_of(step.for_each, known)}
    yield from argument_faults(step.arguments, {**known, **item})


def _item_of(reference: str, known: Mapping[str, Json]) -> Json:
    """The schema of what a list that is named holds; an empty one where it is not said."""
    name, *members = reference.split(".")
    schema = known.get(name, {})
    for member in (*members, "*"):
        inner = schema.get("items") if member == "*" else cast(Json, schema.get("properties", {})).get(member)
        schema = cast(Json, inner) if isinstance(inner, dict) else {}
    return schema
