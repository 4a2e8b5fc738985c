"""Manifests and handlers pair one to one, or the server stays down; arguments become types, or faults one can mend."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.kernel import Role
from domain.resources import resource_folder
from server.rules import fetched
from tests.support.policies import firm_policies, manifest
from tools.handlers import (
    HANDLERS,
    agent_handlers,
    document_handlers,
    page_handlers,
    policy_handlers,
    source_handlers,
)
from tools.json_schema import Checker, Fault
from tools.manifest import Json
from tools.outside import Outside, OutsideContext, Unsure
from tools.policy import Rulebook
from tools.registry import Invalid, Parsed, Registry, RegistryError, Tool
from tools.work import CallContext, Handler


class NoteArguments(BaseModel):
    """What the tool under test takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    note_id: UUID
    lines: int = 1
    since: str | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _holds_together(self) -> "NoteArguments":
        if self.lines == 13:
            raise ValueError("thirteen lines bring bad luck")
        return self


ARGUMENTS: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["note_id"],
    "properties": {
        "note_id": {"type": "string", "format": "uuid"},
        "lines": {"type": "integer", "minimum": 1},
        "from": {"type": ["string", "null"], "format": "date"},
    },
}
RESULT: Json = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {"text": {"type": "string", "maxLength": 5}},
}
NOTE_ID = "12345678-1234-4234-8234-123456789012"


NONE: dict[str, Handler[Any]] = {}


def handler(arguments: type[BaseModel] = NoteArguments) -> Handler[Any]:
    async def work(taken: Any, context: CallContext) -> Json:
        return {"text": str(taken.lines)}

    return Handler(arguments=arguments, work=work)


def note(name: str = "note_read", **changes: Any) -> Any:
    return manifest(**({"name": name, "arguments": ARGUMENTS, "result": RESULT} | changes))


@pytest.fixture
def tool() -> Tool:
    found = Registry([note()], {"note_read": handler()}).find("note_read")
    assert found is not None
    return found


def test_a_tool_is_found_by_its_exact_name_and_all_are_in_order() -> None:
    registry = Registry([note("b"), note("a")], {"a": handler(), "b": handler()})
    assert [tool.manifest.name for tool in registry.all()] == ["a", "b"]
    assert registry.find("a") is registry.all()[0]
    for unknown in ("A", "a ", "", "c", "\x00", "\ud800"):
        assert registry.find(unknown) is None


def test_handlers_may_come_in_several_tables() -> None:
    assert len(Registry([note("a"), note("b")], {"a": handler()}, {"b": handler()}).all()) == 2


def test_the_manifests_and_handlers_that_ship_pair_one_to_one() -> None:
    nothing: Any = None
    registry = Registry.load(
        resource_folder("manifests"),
        HANDLERS,
        document_handlers(nothing, nothing),
        page_handlers(fetched),
        source_handlers({}),
        agent_handlers({}),
        policy_handlers(Rulebook(firm_policies())),
    )
    names = [tool.manifest.name for tool in registry.all()]
    assert names == sorted(path.stem for path in (resource_folder("manifests") / "tools").glob("*.yaml"))


@pytest.mark.parametrize(
    ("manifests", "tables", "faults"),
    [
        ([note("a")], [NONE], ["a: has a manifest and no handler"]),
        ([], [{"a": handler()}], ["a: has a handler and no manifest"]),
        ([note("a"), note("a")], [{"a": handler()}], ["a: has 2 manifests"]),
        ([note("a")], [{"a": handler()}, {"a": handler()}], ["a: has 2 handlers"]),
        (
            [note("a"), note("b")],
            [{"b": handler(), "c": handler()}],
            ["a: has a manifest and no handler", "c: has a handler and no manifest"],
        ),
    ],
)
def test_a_missing_spare_or_doubled_handler_stops_the_start_and_is_named(
    manifests: list[Any], tables: list[dict[str, Any]], faults: list[str]
) -> None:
    with pytest.raises(RegistryError) as raised:
        Registry(manifests, *tables)
    assert list(raised.value.faults) == faults
    assert all(fault in str(raised.value) for fault in faults)


def test_a_manifest_and_its_handler_agree_on_whether_the_tool_acts_outside() -> None:
    with pytest.raises(RegistryError, match="the manifest says that it acts outside, its handler does not"):
        Registry([note(outside=True, effect="commit")], {"note_read": handler()})

    async def act(taken: object, context: OutsideContext) -> object:
        return None

    async def settle(taken: object, context: OutsideContext) -> Unsure:
        return Unsure()

    acting = replace(handler(), outside=Outside(act=act, settle=settle))
    with pytest.raises(RegistryError, match="the handler acts outside, and the manifest does not say so"):
        Registry([note()], {"note_read": acting})


def test_one_handler_behind_two_names_stops_the_start() -> None:
    shared = handler()
    with pytest.raises(RegistryError, match="a, b: have one handler between them"):
        Registry([note("a"), note("b")], {"a": shared, "b": shared})


class Narrower(BaseModel):
    note_id: UUID


class Wider(NoteArguments):
    colour: str = "red"


class Stricter(Narrower):
    lines: int
    since: str | None = Field(default=None, alias="from")


@pytest.mark.parametrize(
    ("taken", "fault"),
    [
        (Narrower, "a: the manifest has an argument 'lines' that its handler does not take"),
        (Wider, "a: the handler takes 'colour', which the manifest does not have"),
        (Stricter, "a: the handler needs 'lines', which the manifest does not require"),
    ],
)
def test_a_manifest_whose_words_are_not_true_of_its_handler_stops_the_start(taken: type[BaseModel], fault: str) -> None:
    with pytest.raises(RegistryError) as raised:
        Registry([note("a")], {"a": handler(taken)})
    assert fault in raised.value.faults


def test_the_digest_tells_manifests_apart_and_not_their_order() -> None:
    def digest(*manifests: Any) -> bytes:
        return Registry(manifests, {held.name: handler() for held in manifests}).digest

    base = digest(note("a"), note("b"))
    assert base == digest(note("b"), note("a"))
    assert base != digest(note("a"))
    assert base != digest(note("a"), note("b", least_role=Role.MANAGER))
    assert base == digest(note("a"), note("b", description="Other words."))


def test_manifest_files_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "a.yaml").write_text("name: b")
    schema = resource_folder("manifests") / "manifest.schema.json"
    (tmp_path / schema.name).write_bytes(schema.read_bytes())
    with pytest.raises(RegistryError, match=r"a\.yaml: "):
        Registry.load(tmp_path, {"a": handler()})


def test_arguments_become_the_handlers_type_and_canonical_json(tool: Tool) -> None:
    parsed = tool.parse({"note_id": NOTE_ID, "from": "2026-11-22"})
    assert isinstance(parsed, Parsed)
    assert parsed.model == NoteArguments.model_validate({"note_id": NOTE_ID, "since": "2026-11-22"})
    assert parsed.arguments == {"note_id": NOTE_ID, "from": "2026-11-22"}
    assert parsed.canonical == f'{{"from":"2026-11-22","note_id":"{NOTE_ID}"}}'


def faults_of(tool: Tool, arguments: object) -> tuple[Fault, ...]:
    parsed = tool.parse(arguments)
    assert isinstance(parsed, Invalid)
    assert parsed.faults
    return parsed.faults


@pytest.mark.parametrize(
    ("arguments", "path", "words"),
    [
        (None, "", "object"),
        ([], "", "object"),
        ("{}", "", "object"),
        ({}, "", "note_id"),
        ({"note_id": "x"}, "/note_id", "uuid"),
        ({"note_id": f"{{{NOTE_ID}}}"}, "/note_id", "uuid"),
        ({"note_id": 5}, "/note_id", "string"),
        ({"note_id": NOTE_ID, "colour": "red"}, "", "colour"),
        ({"note_id": NOTE_ID, "lines": 0}, "/lines", "minimum"),
        ({"note_id": NOTE_ID, "lines": 1.5}, "/lines", "integer"),
        ({"note_id": NOTE_ID, "lines": "2"}, "/lines", "integer"),
        ({"note_id": NOTE_ID, "lines": True}, "/lines", "integer"),
        ({"note_id": NOTE_ID, "from": "2026-02-30"}, "/from", "date"),
        ({"note_id": NOTE_ID, "lines": 13}, "", "thirteen lines bring bad luck"),
        ({"note_id": NOTE_ID, "lines": 2**53 + 1}, "/lines", "beyond 2^53"),
        ({"note_id": NOTE_ID, "lines": -(2**53) - 1}, "/lines", "beyond 2^53"),
        ({"note_id": NOTE_ID, "lines": 10**400}, "/lines", "beyond 2^53"),
        ({"note_id": NOTE_ID, "lines": 1e300}, "/lines", "beyond 2^53"),
        ({"note_id": NOTE_ID, "lines": math.nan}, "/lines", "finite"),
        ({"note_id": NOTE_ID, "lines": -math.inf}, "/lines", "finite"),
        ({"note_id": "\ud800"}, "/note_id", "surrogate"),
        ({"note_id": "a\x00b"}, "/note_id", "U+0000"),
        ({"\ud800": 1}, "", "surrogate"),
        ({"a\x00": 1}, "", "U+0000"),
        ({1: 2}, "", "not a string"),
        ({10**5000: 2}, "", "not a string"),
        ({"note_id": b"bytes"}, "/note_id", "not a JSON value"),
        ({"note_id": (NOTE_ID,)}, "/note_id", "not a JSON value"),
        ({"note_id": {NOTE_ID}}, "/note_id", "not a JSON value"),
        ({"a/b~c": "\x00"}, "/a~1b~0c", "U+0000"),
    ],
)
def test_arguments_that_do_not_hold_are_refused_with_their_place(
    arguments: object, path: str, words: str, tool: Tool
) -> None:
    faults = faults_of(tool, arguments)
    assert any(fault.path == path and words in fault.message for fault in faults)


def test_the_largest_integer_that_all_readers_agree_on_is_taken(tool: Tool) -> None:
    assert isinstance(tool.parse({"note_id": NOTE_ID, "lines": 2**53}), Parsed)


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_deep_arguments_are_refused_before_anything_recurses(kind: str, tool: Tool) -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value] if kind == "list" else {"note_id": value}
    (fault,) = faults_of(tool, value)
    assert fault.message == "is nested more than 32 deep"


def test_a_fault_quotes_little_of_what_was_sent(tool: Tool) -> None:
    sent: dict[str, Any] = {"note_id": "secret " * 10_000, "k" * 10_000: 1, "x\n" * 500: "\x00"}
    for arguments in (sent, {"note_id": "secret " * 10_000}, {"k" * 10_000: 1}):
        for fault in faults_of(tool, arguments):
            assert len(fault.message) <= 200
            assert len(fault.path) <= 200
    (fault,) = faults_of(tool, {"note_id": "secret " * 10_000})
    assert fault.message.endswith('is not a "uuid"')


def test_no_more_than_twenty_faults_are_told() -> None:
    checker = Checker({"type": "array", "items": {"type": "string"}})
    assert len(checker.check(list(range(1000)))) == 20
    assert len(checker.check([math.nan] * 1000)) == 20


def test_a_result_is_held_to_its_schema(tool: Tool) -> None:
    assert tool.result_faults({"text": "short"}) == ()
    for result in ({"text": "too long"}, {}, {"text": "a", "more": 1}, {"text": "\x00"}, None):
        assert tool.result_faults(result)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=200, derandomize=True)
@given(json_values | st.fixed_dictionaries({"note_id": json_values}, optional={"lines": json_values}))
def test_whatever_comes_is_parsed_or_refused_in_words_that_can_be_stored(arguments: object) -> None:
    found = Registry([note()], {"note_read": handler()}).find("note_read")
    assert found is not None
    parsed = found.parse(arguments)
    if isinstance(parsed, Invalid):
        for fault in parsed.faults:
            (fault.path + fault.message).encode()
            assert "\x00" not in fault.path + fault.message
