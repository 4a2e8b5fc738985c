"""Workflows: read and held to the tools they use at start, and their references replaced at run time."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel import Level
from domain.resources import resource_folder
from tools.manifest import Manifest
from tools.manifest_files import load_manifests
from tools.outcomes import Json
from tools.workflows import MissingValue, Step, WorkflowFilesError, Workflows, resolve_arguments

FOLDER = resource_folder("manifests")


@cache
def manifests() -> Mapping[str, Manifest]:
    return {manifest.name: manifest for manifest in load_manifests(FOLDER)}


def step(**arguments: object) -> Step:
    return Step(name="next", tool="task_create", arguments=arguments)


def test_the_project_has_one_workflow_that_reads_and_drafts() -> None:
    workflows = Workflows.load(FOLDER / "workflows", manifests())
    (refresh,) = workflows
    assert workflows.kinds == {"refresh_analytics"}
    assert refresh.minimum_autonomy == Level.L1
    assert [(found.name, manifests()[found.tool].effect) for found in refresh.steps] == [
        ("by_tool", "read"),
        ("by_day", "read"),
        ("follow_up", "prepare"),
    ]
    assert workflows.find("refresh_analytics") is refresh


@pytest.mark.parametrize("kind", [None, "", "close_cycle"])
def test_a_kind_that_names_no_workflow_finds_none(kind: str | None) -> None:
    assert Workflows.load(FOLDER / "workflows", manifests()).find(kind) is None


def plain() -> Json:
    return {
        "name": "tidy",
        "title": "Tidy up",
        "description": "Tidies up.",
        "minimum_autonomy": "L2",
        "steps": [
            {"name": "look", "tool": "task_list"},
            {"name": "note", "tool": "task_create", "arguments": {"title": "Tidy"}},
        ],
    }


def load(folder: Path, raw: object, known: Mapping[str, Manifest] | None = None) -> Workflows:
    shutil.copy(FOLDER / "workflows.schema.json", folder)
    (folder / "workflows").mkdir()
    (folder / "workflows" / "tidy.yaml").write_text(json.dumps(raw))
    return Workflows.load(folder / "workflows", manifests() if known is None else known)


def test_a_plain_workflow_loads(tmp_path: Path) -> None:
    assert load(tmp_path, plain()).kinds == {"tidy"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "other"}, "its name is 'other'"),
        ({"name": "Tidy"}, "/name"),
        ({"minimum_autonomy": "L4"}, "/minimum_autonomy"),
        ({"steps": []}, "/steps"),
        ({"surprise": 1}, "surprise"),
        ({"title": None}, "/title"),
        ({"steps": [{"name": "input", "tool": "task_list"}]}, "/steps/0/name"),
        ({"steps": [{"name": "a", "tool": "made_up"}]}, "there is no tool named 'made_up'"),
        ({"steps": [{"name": "a", "tool": "task_list"}] * 2}, "two steps have this name"),
        ({"steps": [{"name": "a", "tool": "approval_decide"}]}, "is commit; a step reads or prepares"),
        ({"steps": [{"name": "a", "tool": "document_upload"}]}, "is not offered to background work"),
        ({"steps": [{"name": "a", "tool": "task_run"}]}, "starts work of its own"),
        ({"steps": [{"name": "a", "tool": "task_create"}]}, "task_create needs 'title'"),
        ({"steps": [{"name": "a", "tool": "task_list", "arguments": {"x": 1}}]}, "task_list takes no 'x'"),
    ],
)
def test_a_workflow_that_does_not_make_sense_stops_the_start_and_says_which(
    tmp_path: Path, changes: Json, fault: str
) -> None:
    with pytest.raises(WorkflowFilesError) as refused:
        load(tmp_path, plain() | changes)
    assert refused.value.faults[0].startswith("tidy.yaml")
    assert fault in "\n".join(refused.value.faults)


@pytest.mark.parametrize(
    ("title", "fault"),
    [
        ({"$from": "look"}, "is no reference"),
        ({"$from": "look.nothing"}, "task_list gives no 'nothing'"),
        ({"$from": "note.task"}, "no earlier step is named 'note'"),
        ({"$from": "after.items"}, "no earlier step is named 'after'"),
        ({"$from": 5}, "is no text"),
        ({"$text": "See {look.nothing}"}, "gives no 'nothing'"),
        ({"$text": "See {1 + 1}"}, "is no reference"),
        ({"$text": "See {look.items}", "optional": True}, "neither a $from nor a $text"),
        ({"$from": "look.items", "else": 1}, "neither a $from nor a $text"),
        ({"$from": "look.items", "$text": "x"}, "neither a $from nor a $text"),
        ({"$eval": "1"}, "neither a $from nor a $text"),
        ([{"deep": {"$from": "late.items"}}], "no earlier step"),
    ],
)
def test_a_reference_that_leads_nowhere_stops_the_start(tmp_path: Path, title: object, fault: str) -> None:
    steps = [
        {"name": "look", "tool": "task_list"},
        {"name": "note", "tool": "task_create", "arguments": {"title": title}},
    ]
    with pytest.raises(WorkflowFilesError, match="note") as refused:
        load(tmp_path, plain() | {"steps": steps})
    assert fault in str(refused.value)


def test_every_fault_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    shutil.copy(FOLDER / "workflows.schema.json", tmp_path)
    (tmp_path / "workflows" / "a.yaml").write_text("[]")
    (tmp_path / "workflows" / "b.txt").write_text("")
    (tmp_path / "workflows" / "c.yaml").write_text("name: c\nname: d\n")
    with pytest.raises(WorkflowFilesError) as refused:
        Workflows.load(tmp_path / "workflows", manifests())
    assert [fault.split(":")[0] for fault in refused.value.faults] == ["a.yaml", "b.txt", "c.yaml"]


def test_a_step_is_held_to_the_doors_of_its_tool(tmp_path: Path) -> None:
    away = replace(manifests()["task_list"], doors=frozenset({"chat"}))
    with pytest.raises(WorkflowFilesError, match="not offered to background work"):
        load(tmp_path, plain(), {**manifests(), "task_list": away})


RESULTS: Mapping[str, Json] = {"look": {"items": [1, 2], "count": 2, "who": {"name": "Lena"}}}


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("plain", "plain"),
        (5, 5),
        (None, None),
        ({"$from": "look.items"}, [1, 2]),
        ({"$from": "look.who.name"}, "Lena"),
        ({"$from": "input.days"}, 30),
        ({"$text": "{look.who.name} has {look.count}: {look.items}"}, "Lena has 2: [1,2]"),
        ({"$text": "no reference"}, "no reference"),
        ([{"a": {"$from": "look.count"}}], [{"a": 2}]),
        ({"a": {"$from": "look.none", "optional": True}, "b": 1}, {"b": 1}),
    ],
)
def test_each_reference_stands_for_its_value(value: object, resolved: object) -> None:
    assert resolve_arguments(step(x=value), {"days": 30}, RESULTS) == {"x": resolved}


@pytest.mark.parametrize("reference", ["input.none", "look.none", "look.items.first", "other.items", "look.who.name.x"])
def test_a_value_that_is_not_there_is_missing_unless_it_is_optional(reference: str) -> None:
    with pytest.raises(MissingValue, match=reference):
        resolve_arguments(step(x={"$from": reference}), {}, RESULTS)
    assert resolve_arguments(step(x={"$from": reference, "optional": True}), {}, RESULTS) == {}


@given(st.text())
def test_what_a_value_says_is_never_read_as_a_reference(text: str) -> None:
    results: Mapping[str, Json] = {"look": {"said": text}}
    held = resolve_arguments(step(x={"$text": "> {look.said}"}), {"look": {"said": "other"}}, results)
    assert held == {"x": "> " + text}


def test_the_workflows_input_cannot_stand_in_for_a_step() -> None:
    held = resolve_arguments(step(x={"$from": "look.count"}), cast(Json, {"look": {"count": 99}}), RESULTS)
    assert held == {"x": 2}
