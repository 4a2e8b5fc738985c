"""A manifest is taken whole or not at all, and what is wrong with it is said with its file and place."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from domain.kernel import Level, Role
from domain.resources import resource_folder
from tools.manifest import Manifest
from tools.manifest_files import ManifestFilesError, load_manifests

SCHEMA = resource_folder("manifests") / "manifest.schema.json"

NOTE_READ = """
name: note_read
version: "1.0"
title: Read a note
description: |
  Gives the text of one note.
effect: read
least_role: READONLY
doors: [chat, mcp, rest, cli]
writes: []
timeout_s: 5
result_limit_bytes: 20000
trust: client
subjects: {document: note_id}
arguments:
  type: object
  additionalProperties: false
  required: [note_id]
  properties:
    note_id: {type: string, format: uuid}
result:
  type: object
  additionalProperties: false
  required: [text]
  properties:
    text: {type: string}
standards: [ISQM 1.31]
"""

NOTE_FILE = """
name: note_file
version: "2"
title: File a note
description: Files a note where others rely on it.
effect: commit
least_role: EMPLOYEE
extra_roles: [CLIENT]
doors: [rest]
writes: [notes, note_lines]
approval: {role: PARTNER, four_eyes: true, expires_after: P1DT12H}
control: period_lock
timeout_s: 0.5
result_limit_bytes: 4096
trust: internal
subjects: {engagement: engagement_id, assignee: to}
arguments:
  type: object
  additionalProperties: false
  required: [engagement_id]
  properties:
    engagement_id: {type: string, format: uuid}
    to: {type: [string, "null"], format: email}
result: {type: object, additionalProperties: false, properties: {}}
"""

Write = Callable[..., tuple[Manifest, ...]]


@pytest.fixture
def load(tmp_path: Path) -> Write:
    """Loads these files' texts, by name, as the manifests of a folder of their own."""
    (tmp_path / "tools").mkdir()
    (tmp_path / SCHEMA.name).write_bytes(SCHEMA.read_bytes())

    def written(files: dict[str, str]) -> tuple[Manifest, ...]:
        for name, text in files.items():
            (tmp_path / "tools" / name).write_text(text, encoding="utf-8")
        return load_manifests(tmp_path)

    return written


def changed(text: str, **changes: Any) -> str:
    """The manifest with some keys set anew, or left out where None is given as `...`."""
    raw = cast(dict[str, Any], yaml.safe_load(text)) | changes
    # JSON is YAML too.
    return json.dumps({key: value for key, value in raw.items() if value is not ...})


def faults_of(load: Write, **files: str) -> tuple[str, ...]:
    with pytest.raises(ManifestFilesError) as raised:
        load({f"{name}.yaml": text for name, text in files.items()})
    return raised.value.faults


def test_a_manifest_is_read_as_it_stands(load: Write) -> None:
    filed, read = load({"note_read.yaml": NOTE_READ, "note_file.yaml": NOTE_FILE})
    assert (read.name, read.effect, read.least_role, read.trust) == ("note_read", "read", Role.READONLY, "client")
    assert read.description == "Gives the text of one note."
    assert read.doors == {"chat", "mcp", "rest", "cli"}
    assert read.timeout == timedelta(seconds=5)
    assert dict(read.subjects) == {"document": "note_id"}
    assert read.standards == ("ISQM 1.31",)
    assert (filed.writes, filed.extra_roles, filed.control) == (("notes", "note_lines"), (Role.CLIENT,), "period_lock")
    assert filed.timeout == timedelta(milliseconds=500)
    assert (filed.approval.role, filed.approval.four_eyes) == (Role.PARTNER, True)
    assert filed.approval.expires_after == timedelta(days=1, hours=12)


@pytest.mark.parametrize(
    ("changes", "role", "four_eyes"),
    [
        ({"effect": "prepare"}, Role.EMPLOYEE, False),
        ({"effect": "prepare", "least_role": "READONLY"}, Role.EMPLOYEE, False),
        ({"effect": "prepare", "least_role": "PARTNER"}, Role.PARTNER, False),
        ({"effect": "commit"}, Role.MANAGER, False),
        ({"effect": "irreversible"}, Role.PARTNER, True),
        ({"effect": "prepare", "approval": {"four_eyes": True}}, Role.EMPLOYEE, True),
    ],
)
def test_what_a_manifest_leaves_out_of_its_approval_the_effect_says(
    changes: dict[str, Any], role: Role, four_eyes: bool, load: Write
) -> None:
    (read,) = load({"note_file.yaml": changed(NOTE_FILE, **({"approval": ...} | changes))})
    assert (read.approval.role, read.approval.four_eyes) == (role, four_eyes)
    assert read.approval.expires_after == timedelta(hours=24)


def test_hours_are_an_expiry_too(load: Write) -> None:
    (read,) = load({"note_file.yaml": changed(NOTE_FILE, approval={"expires_after": 1.5})})
    assert read.approval.expires_after == timedelta(minutes=90)


def test_a_workflow_tool_names_its_minimum(load: Write) -> None:
    text = changed(NOTE_FILE, effect="prepare", autonomy="workflow", minimum_autonomy="L1", approval=...)
    (read,) = load({"note_file.yaml": text})
    assert (read.autonomy, read.minimum_autonomy) == ("workflow", Level.L1)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "Note-File"}, "/name"),
        ({"name": "note_files"}, "/name: 'note_files' belongs in a file of that name"),
        ({"version": 2}, "/version"),
        ({"title": ""}, "/title"),
        ({"description": ...}, "description"),
        ({"effect": "destroy"}, "/effect"),
        ({"least_role": "CLIENT"}, "/least_role"),
        ({"extra_roles": ["PARTNER"]}, "/extra_roles/0"),
        ({"doors": []}, "/doors"),
        ({"doors": ["window"]}, "/doors/0"),
        ({"doors": ["rest", "rest"]}, "/doors"),
        ({"writes": []}, "/writes: a tool that changes something names the tables"),
        ({"outside": True}, "/outside: what acts outside changes something there, and writes no table of ours"),
        ({"writes": ["Notes; DROP"]}, "/writes/0"),
        ({"effect": "read", "approval": ...}, "/writes: a tool that reads writes nothing"),
        ({"approval": {"role": "EMPLOYEE"}}, "/approval/role: EMPLOYEE is laxer than policy"),
        ({"effect": "irreversible", "approval": {"role": "MANAGER"}}, "/approval/role: MANAGER is laxer"),
        ({"effect": "irreversible", "approval": {"four_eyes": False}}, "/approval/four_eyes"),
        ({"approval": {"expires_after": 0}}, "/approval/expires_after"),
        ({"approval": {"expires_after": "PT0S"}}, "/approval/expires_after: gives nobody time"),
        ({"approval": {"expires_after": "a day"}}, "/approval/expires_after"),
        ({"approval": {"forever": True}}, "/approval"),
        ({"control": "moon_phase"}, "/control"),
        ({"subjects": {}}, "/control: a release control is an engagement's"),
        ({"subjects": {"engagement": "nothing"}}, "/subjects/engagement: there is no argument 'nothing'"),
        ({"subjects": {"engagement": "to"}}, "/subjects/engagement: the argument 'to' is not a string of format uuid"),
        ({"subjects": {"engagement": "engagement_id", "planet": "to"}}, "/subjects"),
        ({"person_only": True, "doors": ["rest", "mcp"]}, "/doors: mcp knows no person's own hand"),
        ({"person_only": "yes"}, "/person_only"),
        ({"autonomy": "workflow"}, "/autonomy: workflow replaces the row `prepare`"),
        ({"minimum_autonomy": "L1"}, "/minimum_autonomy: holds only with autonomy: workflow"),
        ({"timeout_s": 0}, "/timeout_s"),
        ({"result_limit_bytes": 1e12}, "/result_limit_bytes"),
        ({"trust": "blind"}, "/trust"),
        ({"colour": "red"}, "colour"),
        ({"standards": [""]}, "/standards/0"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_with_file_and_place(
    changes: dict[str, Any], fault: str, load: Write
) -> None:
    faults = faults_of(load, note_file=changed(NOTE_FILE, **changes))
    assert all(found.startswith("note_file.yaml: ") for found in faults)
    assert any(fault in found for found in faults)


OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "array"}, "/arguments: is not of type object with additionalProperties: false"),
        ({"type": "object"}, "/arguments: an object is open"),
        ({**OBJECT, "additionalProperties": True, "$comment": "why not"}, "/arguments: is not of type object with"),
        ({**OBJECT, "properties": {"a": {"type": "object"}}}, "/arguments/properties/a: an object is open"),
        (
            {**OBJECT, "properties": {"a": {"type": "array", "items": {"type": ["object", "null"]}}}},
            "/arguments/properties/a/items: an object is open",
        ),
        (
            {**OBJECT, "properties": {"a": {"oneOf": [{"type": "string"}, {"type": "object"}]}}},
            "/arguments/properties/a/oneOf/1: an object is open",
        ),
        ({**OBJECT, "$defs": {"a": {"type": "object"}}}, "/arguments/$defs/a: an object is open"),
        ({**OBJECT, "properties": {"a": {"properties": {}}}}, "/arguments/properties/a: has properties without being"),
        ({**OBJECT, "properties": {"a": {"type": "strng"}}}, "/arguments: is no JSON Schema 2020-12"),
        ({**OBJECT, "properties": {"a": {"$ref": "#/$defs/none"}}}, "/arguments: is no JSON Schema 2020-12"),
        ({**OBJECT, "properties": []}, "/arguments: is no JSON Schema 2020-12"),
        ({**OBJECT, "properties": {"a": {"type": "string", "maxlength": 5}}}, "'maxlength' is no keyword that is held"),
        ({**OBJECT, "properties": {"a": {"type": "string", "format": "colour"}}}, "format 'colour' is not asserted"),
        ({**OBJECT, "properties": {"a": {"type": "string", "pattern": "(a)\\1"}}}, "is no JSON Schema 2020-12"),
    ],
)
def test_a_schema_that_would_hold_nothing_is_refused(schema: dict[str, Any], fault: str, load: Write) -> None:
    faults = faults_of(load, note_read=changed(NOTE_READ, arguments=schema, subjects={}))
    assert any(fault in found for found in faults)


def test_a_reference_out_of_the_schema_is_refused_and_never_followed(load: Write) -> None:
    schema = {**OBJECT, "properties": {"a": {"$ref": "https://schemas.example/a.json"}}}
    faults = faults_of(load, note_read=changed(NOTE_READ, arguments=schema, subjects={}))
    assert len(faults) == 1


@pytest.mark.parametrize(
    "schema",
    [
        {**OBJECT, "properties": {"a": {"type": "object", "additionalProperties": {"type": "integer"}}}},
        {
            **OBJECT,
            "properties": {"a": {"type": "object", "additionalProperties": True, "$comment": "a workflow's own input"}},
        },
        {**OBJECT, "properties": {"a": {"type": "string"}}, "dependentRequired": {"a": ["a"]}},
        {**OBJECT, "properties": {"a": {"type": "string"}}, "allOf": [{"if": {"properties": {"a": {"const": "x"}}}}]},
        {**OBJECT, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"type": "string", "format": "date"}}},
    ],
)
def test_a_schema_may_be_a_map_or_open_on_purpose_or_narrow_itself(schema: dict[str, Any], load: Write) -> None:
    (read,) = load({"note_read.yaml": changed(NOTE_READ, arguments=schema, subjects={})})
    assert read.arguments == schema


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is no mapping"),
        ("- a\n- b\n", "is no mapping"),
        ("name: [", "while parsing"),
        (NOTE_READ + "name: note_read\n", "'name' stands twice"),
        (NOTE_READ.replace("text: {type: string}", "text: {type: string, type: integer}"), "'type' stands twice"),
        (NOTE_READ + "1: 2\n", "a key that is no string"),
        (NOTE_READ + "extra: &self [*self]\n", "nested more than"),
        (NOTE_READ + "extra: !!python/object:os.system {}\n", "could not determine a constructor"),
        (NOTE_READ + "---\n" + NOTE_READ, "expected a single document"),
        (NOTE_READ.replace('version: "1.0"', "version: 2026-01-01"), "/version: is not a JSON value"),
    ],
)
def test_yaml_that_says_two_things_or_more_than_data_is_refused(text: str, fault: str, load: Write) -> None:
    (found,) = faults_of(load, note_read=text)
    assert found.startswith("note_read.yaml: ")
    assert fault in found


def test_a_file_that_is_no_yaml_is_refused(load: Write) -> None:
    with pytest.raises(ManifestFilesError, match=r"note_read\.yml: is no \.yaml file"):
        load({"note_read.yml": NOTE_READ})


def test_a_file_that_is_no_text_is_refused(load: Write, tmp_path: Path) -> None:
    (tmp_path / "tools" / "note_read.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestFilesError, match=r"note_read\.yaml: "):
        load({})


def test_the_faults_of_all_files_are_told_at_once(load: Write) -> None:
    faults = faults_of(
        load, note_read=changed(NOTE_READ, writes=["notes"]), note_file=changed(NOTE_FILE, writes=[], control="x")
    )
    assert {fault.split(":")[0] for fault in faults} == {"note_read.yaml", "note_file.yaml"}
