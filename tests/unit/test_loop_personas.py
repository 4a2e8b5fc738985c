"""Personas are data that is held to its schema at start."""

import shutil
from pathlib import Path

import pytest

from agent.budget import Budget
from agent.conversations.refusals import UnknownAgent
from agent.personas import DEFAULT, PersonaInvalid, load_personas
from domain.kernel import Level
from domain.resources import resource_folder

MINIMAL = "name: assistant\ntitle: T\ndescription: D\nwords: W\ntools: [task_list]\n"


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    """A manifests folder with the shipped schema and one minimal persona."""
    shutil.copy(resource_folder("manifests") / "agent.schema.json", tmp_path)
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "assistant.yaml").write_text(MINIMAL)
    return tmp_path


def test_the_shipped_persona_is_valid_and_is_the_default() -> None:
    personas = load_personas(resource_folder("manifests"))
    assert personas.get(None) == personas.get(DEFAULT)
    assert personas.get(None).budget == Budget()
    assert "knowledge_search" in personas.get(None).tools


def test_an_agent_that_does_not_exist_is_not_found_and_those_that_do_are_named(manifests: Path) -> None:
    with pytest.raises(UnknownAgent) as unknown:
        load_personas(manifests).get("ghost")
    assert unknown.value.known == (DEFAULT,)


def test_the_shipped_personas_differ_in_what_they_may_and_the_default_comes_first() -> None:
    shipped = load_personas(resource_folder("manifests")).all()
    assert [each.name for each in shipped] == [DEFAULT, "audit", "librarian", "operations", "tax"]
    librarian = next(each for each in shipped if each.name == "librarian")
    assert (librarian.autonomy_ceiling, librarian.model) == (Level.L1, None)
    assert set(librarian.tools) == {
        "knowledge_search",
        "knowledge_read",
        "preference_set",
        "preference_forget",
        "agent_handover",
    }


def test_a_persona_may_name_its_model(manifests: Path) -> None:
    (manifests / "agents" / "assistant.yaml").write_text(MINIMAL + "model: careful-1\n")
    assert load_personas(manifests).get(None).model == "careful-1"


def test_what_a_persona_does_not_say_is_as_usual(manifests: Path) -> None:
    persona = load_personas(manifests).get(DEFAULT)
    assert (persona.autonomy_ceiling, persona.budget) == (Level.L3, Budget())


def test_ceiling_and_budget_are_read(manifests: Path) -> None:
    words = MINIMAL + "autonomy_ceiling: L1\nbudget: {turns: 3, calls: 4, repairs: 1, tokens: 5000, seconds: 1.5}\n"
    (manifests / "agents" / "assistant.yaml").write_text(words)
    persona = load_personas(manifests).get(DEFAULT)
    assert persona.autonomy_ceiling == Level.L1
    assert persona.budget == Budget(turns=3, calls=4, repairs=1, tokens=5000, seconds=1.5)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (MINIMAL + "color: red\n", "color"),
        ("name: assistant\n", "title"),
        (MINIMAL.replace("assistant", "other"), "not the file's name"),
        (MINIMAL + "autonomy_ceiling: L9\n", "autonomy_ceiling"),
        ("[]", "is no mapping"),
        (MINIMAL + "title: U\n", "stands twice"),
    ],
)
def test_a_faulty_persona_stops_the_start_and_names_file_and_fault(manifests: Path, words: str, fault: str) -> None:
    (manifests / "agents" / "assistant.yaml").write_text(words)
    with pytest.raises(PersonaInvalid, match=fault) as invalid:
        load_personas(manifests)
    assert invalid.value.file == "assistant.yaml"


def test_a_missing_default_stops_the_start(manifests: Path) -> None:
    (manifests / "agents" / "assistant.yaml").unlink()
    with pytest.raises(PersonaInvalid, match="default persona is missing"):
        load_personas(manifests)


def test_a_tool_that_does_not_exist_stops_the_start(manifests: Path) -> None:
    personas = load_personas(manifests)
    personas.check_tools({"task_list"})
    with pytest.raises(PersonaInvalid, match="there is no tool task_list"):
        personas.check_tools({"task_get"})
