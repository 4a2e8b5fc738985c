"""What a task's kind stands for: the workflows of manifests/workflows, checked at start, and their steps' arguments.

References in a step's arguments name a value and nothing else: `{"$from": "step.member"}` stands for the value itself,
`{"$text": "... {step.member} ..."}` for a text with it. There is no expression, no condition and no loop on purpose.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson

from domain.kernel import Level
from tools.json_schema import Checker
from tools.manifest import Manifest
from tools.outcomes import Json
from tools.yaml_files import UnreadableYaml, read_yaml

SCHEMA_NAME = "workflows.schema.json"
EFFECTS_OF_STEPS = frozenset({"read", "prepare"})

_REFERENCE = re.compile(r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_]+)+")
_IN_TEXT = re.compile(r"\{([^{}]*)\}")


class WorkflowFilesError(Exception):
    """The workflows cannot be used; the server does not start. Lists every fault that was found."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class MissingValue(Exception):
    """A reference names a value that the run's input or an earlier step's result does not have."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"there is no {reference}")
        self.reference = reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a workflow; `arguments` still hold references."""

    name: str
    tool: str
    arguments: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """What a task of this kind does; each step is a call of its own through the gate."""

    name: str
    title: str
    description: str
    minimum_autonomy: Level
    """The level from which the agent may start it without asking."""
    steps: tuple[Step, ...]


class Workflows:
    """All workflows, by name."""

    def __init__(self, workflows: Sequence[Workflow]) -> None:
        self._by_name = {workflow.name: workflow for workflow in sorted(workflows, key=lambda found: found.name)}
        self.kinds = frozenset(self._by_name)
        """Every word that a task's kind can be."""

    @classmethod
    def load(cls, folder: Path, manifests: Mapping[str, Manifest]) -> "Workflows":
        """The workflows of a folder, which is that of `manifests`; their steps are held to the tools' own manifests.

        Raises  WorkflowFilesError: a file that is no workflow, a step that no background work may make, a reference
        to what is not there.
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
        return cls(workflows)

    def __iter__(self) -> Iterator[Workflow]:
        return iter(self._by_name.values())

    def find(self, kind: str | None) -> Workflow | None:
        """The workflow that a task's kind names."""
        return None if kind is None else self._by_name.get(kind)


def resolve_arguments(step: Step, given: Json, results: Mapping[str, Json]) -> Json:
    """The step's arguments, every reference replaced; `given` is the run's input, `results` are by step name.

    Raises  MissingValue: a reference that is not optional names nothing.
    """
    return _members(step.arguments, {**results, "input": given})


def _members(members: Json, known: Mapping[str, Json]) -> Json:
    return {name: _resolved(value, known) for name, value in members.items() if not _left_out(value, known)}


def _left_out(value: object, known: Mapping[str, Json]) -> bool:
    if not isinstance(value, dict) or cast(Json, value).get("optional") is not True:
        return False
    try:
        _look_up(cast(str, value["$from"]), known)
    except MissingValue:
        return True
    return False


def _resolved(value: object, known: Mapping[str, Json]) -> object:
    if isinstance(value, list):
        return [_resolved(item, known) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    members = cast(Json, value)
    if "$from" in members:
        return _look_up(cast(str, members["$from"]), known)
    if "$text" in members:
        return _IN_TEXT.sub(lambda found: _as_text(_look_up(found[1], known)), cast(str, members["$text"]))
    return _members(members, known)


def _look_up(reference: str, known: Mapping[str, Json]) -> object:
    value: object = known
    for part in reference.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise MissingValue(reference)
        value = cast("Mapping[str, object]", value)[part]
    return value


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


# The files ------------------------------------------------------------------------------------------------------------


def _read(path: Path, checker: Checker, manifests: Mapping[str, Manifest]) -> Workflow:
    """One file. Raises  WorkflowFilesError: all that is wrong with it."""
    try:
        raw = read_yaml(path)
    except UnreadableYaml as unreadable:
        raise WorkflowFilesError([str(unreadable)]) from unreadable
    faults = [f"{path.name}: {fault.path or '/'}: {fault.message}" for fault in checker.check(raw)]
    if faults:
        raise WorkflowFilesError(faults)
    workflow = _workflow(raw)
    faults = [f"{path.name}: {fault}" for fault in _faults(workflow, path.stem, manifests)]
    if faults:
        raise WorkflowFilesError(faults)
    return workflow


def _workflow(raw: Json) -> Workflow:
    return Workflow(
        name=cast(str, raw["name"]),
        title=cast(str, raw["title"]),
        description=cast(str, raw["description"]),
        minimum_autonomy=Level[cast(str, raw["minimum_autonomy"])],
        steps=tuple(_step(step) for step in cast("list[Json]", raw["steps"])),
    )


def _step(raw: Json) -> Step:
    return Step(
        name=cast(str, raw["name"]), tool=cast(str, raw["tool"]), arguments=cast(Json, raw.get("arguments", {}))
    )


def _faults(workflow: Workflow, stem: str, manifests: Mapping[str, Manifest]) -> Iterator[str]:
    if workflow.name != stem:
        yield f"its name is {workflow.name!r}"
    before: dict[str, Manifest] = {}
    for step in workflow.steps:
        manifest = manifests.get(step.tool)
        if step.name in before:
            yield f"{step.name}: two steps have this name"
        if manifest is None:
            yield f"{step.name}: there is no tool named {step.tool!r}"
            continue
        yield from (f"{step.name}: {fault}" for fault in _step_faults(step, manifest, before))
        before[step.name] = manifest


def _step_faults(step: Step, manifest: Manifest, before: Mapping[str, Manifest]) -> Iterator[str]:
    if manifest.effect not in EFFECTS_OF_STEPS:
        yield f"{step.tool} is {manifest.effect}; a step reads or prepares"
    if "worker" not in manifest.doors:
        yield f"{step.tool} is not offered to background work"
    if manifest.autonomy == "workflow":
        yield f"{step.tool} starts work of its own; a workflow that could start itself would never end"
    properties = cast(Json, manifest.arguments.get("properties", {}))
    required = cast("list[str]", manifest.arguments.get("required", []))
    yield from (f"{step.tool} takes no {name!r}" for name in step.arguments if name not in properties)
    yield from (f"{step.tool} needs {name!r}" for name in required if name not in step.arguments)
    yield from _reference_faults(step.arguments, before)


def _reference_faults(value: object, before: Mapping[str, Manifest]) -> Iterator[str]:
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _reference_faults(item, before)
    elif isinstance(value, dict):
        members = cast(Json, value)
        special = sorted(name for name in members if name.startswith("$"))
        if special:
            yield from _form_faults(members, special, before)
        else:
            for item in members.values():
                yield from _reference_faults(item, before)


def _form_faults(members: Json, special: Sequence[str], before: Mapping[str, Manifest]) -> Iterator[str]:
    allowed = {"$from": {"$from", "optional"}, "$text": {"$text"}}
    if len(special) != 1 or special[0] not in allowed or not members.keys() <= allowed[special[0]]:
        yield f"{members}: neither a $from nor a $text"
        return
    text = members[special[0]]
    if not isinstance(text, str):
        yield f"{special[0]}: {text!r} is no text"
        return
    references = [text] if special[0] == "$from" else _IN_TEXT.findall(text)
    for reference in references:
        yield from _target_faults(reference, before)


def _target_faults(reference: str, before: Mapping[str, Manifest]) -> Iterator[str]:
    if not _REFERENCE.fullmatch(reference):
        yield f"{reference!r} is no reference; it takes the form step.member"
        return
    step, member, *_ = reference.split(".")
    if step == "input":
        return
    if step not in before:
        yield f"{reference}: no earlier step is named {step!r}"
    elif member not in cast(Json, before[step].result.get("properties", {})):
        yield f"{reference}: {before[step].name} gives no {member!r}"
