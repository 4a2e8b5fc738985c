"""Workflows: read and held to the tools they use at start, and their references replaced at run time."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel import CallId, Level
from domain.resources import resource_folder
from tools.manifest import Manifest
from tools.manifest_files import load_manifests
from tools.outcomes import Json
from tools.workflows import (
    MOST_RETRIES,
    MissingValue,
    Retries,
    WorkflowFilesError,
    Workflows,
    load_workflows,
    resolve_arguments,
    step_arguments,
)

FOLDER = resource_folder("manifests")


@cache
def manifests() -> Mapping[str, Manifest]:
    return {manifest.name: manifest for manifest in load_manifests(FOLDER)}


def test_the_projects_workflows_ask_before_they_begin_from_the_level_that_the_firm_set() -> None:
    workflows = load_workflows(FOLDER / "workflows", manifests())
    assert {found.name: found.minimum_autonomy for found in workflows} == {
        "close_cycle": Level.L2,
        "extract_documents": Level.L2,
        "knowledge_sync": Level.L2,
        "refresh_analytics": Level.L1,
        "remind_pbc": Level.L2,
    }
    refresh = workflows.find("refresh_analytics")
    assert refresh is not None
    assert workflows.kinds == {
        "objective",
        "close_cycle",
        "extract_documents",
        "knowledge_sync",
        "refresh_analytics",
        "remind_pbc",
    }
    assert refresh.minimum_autonomy == Level.L1
    assert [(found.name, manifests()[found.tool].effect) for found in refresh.steps] == [
        ("by_tool", "read"),
        ("by_day", "read"),
        ("follow_up", "prepare"),
    ]
    assert workflows.find("refresh_analytics") is refresh


@pytest.mark.parametrize("kind", [None, "", "knowledge_synch"])
def test_a_kind_that_names_no_workflow_finds_none(kind: str | None) -> None:
    assert load_workflows(FOLDER / "workflows", manifests()).find(kind) is None


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
    return load_workflows(folder / "workflows", manifests() if known is None else known)


def test_a_plain_workflow_loads(tmp_path: Path) -> None:
    assert load(tmp_path, plain()).kinds == {"objective", "tidy"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "other"}, "its name is 'other'"),
        ({"name": "Tidy"}, "/name"),
        ({"minimum_autonomy": "L4"}, "/minimum_autonomy"),
        ({"minimum_autonomy": "L0"}, "/minimum_autonomy"),
        ({"timeout_s": 0}, "/timeout_s"),
        ({"steps": [{"name": "a", "tool": "task_list", "needs": ["b"]}]}, "a: needs 'b', which is no step"),
        (
            {"steps": [{"name": "a", "tool": "task_list", "needs": ["a"]}]},
            "a: these steps need one another in a circle",
        ),
        (
            {"steps": [{"name": name, "tool": "task_list", "needs": [need]} for name, need in ("ab", "bc", "ca")]},
            "a, b, c: these steps need one another in a circle",
        ),
        ({"steps": [{"name": "a", "tool": "task_list", "retries": {"times": 0}}]}, "/steps/0/retries/times"),
        ({"steps": [{"name": "a", "tool": "task_list", "timeout_s": 500}]}, "task_list ends after 15 s by itself"),
        ({"steps": [{"name": "a", "tool": "task_list", "when": {"$from": "b.c"}}]}, "no step that this one needs"),
        ({"steps": [{"name": "a", "tool": "task_list", "for_each": {"$from": "run.names"}}]}, "run gives no 'names'"),
        ({"steps": [{"name": "item", "tool": "task_list"}]}, "/steps/0/name"),
        ({"steps": [{"name": "a", "tool": "task_get", "pages": {"most": 9}}]}, "task_get gives no list page by page"),
        ({"steps": [{"name": "a", "tool": "task_list", "pages": {"most": 0}}]}, "/steps/0/pages/most"),
        (
            {"steps": [{"name": "a", "tool": "task_list", "pages": {"most": 9}, "arguments": {"cursor": "x"}}]},
            "finds its cursor by itself",
        ),
        (
            {"steps": [{"name": "a", "tool": "task_list", "repeat": {"while": "more", "most": 9}}]},
            "task_list gives no 'more' that is true or false",
        ),
        ({"steps": [{"name": "a", "tool": "task_list", "repeat": {"while": "more"}}]}, "/steps/0/repeat"),
        ({"steps": []}, "/steps"),
        ({"surprise": 1}, "surprise"),
        ({"title": None}, "/title"),
        ({"steps": [{"name": "input", "tool": "task_list"}]}, "/steps/0/name"),
        ({"steps": [{"name": "a", "tool": "made_up"}]}, "there is no tool named 'made_up'"),
        ({"steps": [{"name": "a", "tool": "task_list"}] * 2}, "two steps have this name"),
        ({"steps": [{"name": "a", "tool": "approval_decide"}]}, "approval_decide takes a person's own hand"),
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
        ({"$from": "look.nothing"}, "look gives no 'nothing' there"),
        ({"$from": "look.items.*.titel"}, "look gives no 'titel' there"),
        ({"$from": "item.title"}, "only a step with for_each has an item"),
        ({"$from": "note.task"}, "no step that this one needs is named 'note'"),
        ({"$from": "after.items"}, "no step that this one needs is named 'after'"),
        ({"$from": 5}, "is no text"),
        ({"$text": "See {look.nothing}"}, "gives no 'nothing'"),
        ({"$text": "See {1 + 1}"}, "is no reference"),
        ({"$text": "See {look.items}", "optional": True}, "neither a $from nor a $text"),
        ({"$from": "look.items", "else": 1}, "neither a $from nor a $text"),
        ({"$from": "look.items", "$text": "x"}, "neither a $from nor a $text"),
        ({"$eval": "1"}, "neither a $from nor a $text"),
        ([{"deep": {"$from": "late.items"}}], "no step that this one needs"),
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
        load_workflows(tmp_path / "workflows", manifests())
    assert [fault.split(":")[0] for fault in refused.value.faults] == ["a.yaml", "b.txt", "c.yaml"]


def test_a_step_is_retried_no_more_often_than_its_attempts_are_looked_for() -> None:
    schema = json.loads((FOLDER / "workflows.schema.json").read_text())
    step = schema["properties"]["steps"]["items"]["properties"]
    assert step["retries"]["properties"]["times"]["maximum"] == MOST_RETRIES


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
    assert resolve_arguments({"x": value}, {**RESULTS, "input": {"days": 30}}) == {"x": resolved}


@pytest.mark.parametrize("reference", ["input.none", "look.none", "look.items.first", "other.items", "look.who.name.x"])
def test_a_value_that_is_not_there_is_missing_unless_it_is_optional(reference: str) -> None:
    with pytest.raises(MissingValue, match=reference):
        resolve_arguments({"x": {"$from": reference}}, {**RESULTS, "input": {}})
    assert resolve_arguments({"x": {"$from": reference, "optional": True}}, {**RESULTS, "input": {}}) == {}


@given(st.text())
def test_what_a_value_says_is_never_read_as_a_reference(text: str) -> None:
    results: Mapping[str, Json] = {"look": {"said": text}}
    held = resolve_arguments({"x": {"$text": "> {look.said}"}}, {**results, "input": {"look": {"said": "other"}}})
    assert held == {"x": "> " + text}


def test_a_star_stands_for_each_item_of_a_list() -> None:
    known: Mapping[str, Json] = {"look": {"items": [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}]}}
    assert resolve_arguments({"x": {"$from": "look.items.*.id"}}, known) == {"x": [1, 2]}
    assert resolve_arguments({"x": {"$from": "look.items.*.tags.*"}}, known) == {"x": [["a"], []]}
    with pytest.raises(MissingValue):
        resolve_arguments({"x": {"$from": "look.items.*.name"}}, known)


def test_a_text_that_comes_out_longer_than_its_tool_takes_is_cut_and_a_value_is_left_as_it_is(tmp_path: Path) -> None:
    arguments: Json = {"title": {"$text": "All: {input.names}"}, "description": {"$from": "input.names"}}
    (tidy,) = load(tmp_path, plain() | {"steps": [{"name": "a", "tool": "task_create", "arguments": arguments}]})
    long = "x" * 10_001
    held = step_arguments(tidy.steps[0], {"input": {"names": long}})
    assert held == {"title": "All: " + "x" * 194 + "…", "description": long}


def test_a_step_follows_the_one_before_it_unless_it_says_what_it_needs(tmp_path: Path) -> None:
    steps: list[Json] = [
        {"name": "a", "tool": "task_list"},
        {"name": "b", "tool": "task_list"},
        {"name": "c", "tool": "task_list", "needs": []},
        {"name": "d", "tool": "task_list", "needs": ["b", "c"], "when": {"$from": "c.items"}},
    ]
    (tidy,) = load(tmp_path, plain() | {"steps": steps, "timeout_s": 90})
    assert {found.name: found.needs for found in tidy.steps} == {"a": (), "b": ("a",), "c": (), "d": ("b", "c")}
    assert (tidy.steps[3].when, tidy.timeout) == ("c.items", timedelta(seconds=90))


def test_what_a_step_says_of_each_item_is_held_to_the_lists_own_schema(tmp_path: Path) -> None:
    steps = [
        {"name": "look", "tool": "task_list"},
        {
            "name": "note",
            "tool": "task_create",
            "for_each": {"$from": "look.items"},
            "arguments": {"title": {"$from": "item.titel"}},
        },
    ]
    with pytest.raises(WorkflowFilesError, match=r"note: item.titel: item gives no 'titel' there"):
        load(tmp_path, plain() | {"steps": steps})


@given(st.integers(min_value=1, max_value=10), st.uuids(version=4))
def test_pauses_double_and_keep_within_their_bounds(retry: int, call_id: UUID) -> None:
    retries = Retries(times=10, pause=timedelta(seconds=2), longest=timedelta(seconds=60))
    whole = min(2.0 * 2 ** (retry - 1), 60.0)
    pause = retries.pause_before(retry, CallId(call_id))
    assert whole / 2 <= pause.total_seconds() <= whole
    assert retries.pause_before(retry, CallId(call_id)) == pause
