"""Tests that stand beside the policies: what ships passes and suffices, and what is wrong is told plainly."""

import json
import re
from pathlib import Path

import pytest

from domain.resources import resource_folder
from server.cli.main import main
from tests.support.policies import POLICY_FOLDER, firm_policies, shipped_files, without_rule
from tools.manifest_files import load_manifests
from tools.policy import Policies
from tools.policy.files import PolicyFiles, policy_files, read_policy_files
from tools.policy_cases import Case, CasesInvalid, failures, read_cases, untested
from tools.workflows import load_workflows

MANIFESTS = {manifest.name: manifest for manifest in load_manifests(resource_folder("manifests"))}
WORKFLOWS = load_workflows(resource_folder("manifests") / "workflows", MANIFESTS)
GOOD: dict[str, object] = {"name": "Searches", "role": "EMPLOYEE", "tool": "knowledge_search", "expect": "allow"}
ASKS: dict[str, object] = {
    "name": "Asks",
    "role": "EMPLOYEE",
    "tool": "task_create",
    "level": "L1",
    "expect": "needs_approval",
    "reasons": ["autonomy_needs_approval_prepare"],
}


def cases_of(folder: Path) -> tuple[Case, ...]:
    return read_cases(folder, MANIFESTS, WORKFLOWS, {rule.id for rule in firm_policies().rules})


def written(folder: Path, *tests: object, name: str = "a.test.yaml") -> Path:
    (folder / name).write_text(json.dumps({"tests": tests}), encoding="utf-8")
    return folder


def shipped() -> PolicyFiles:
    return read_policy_files(POLICY_FOLDER)


def test_what_ships_is_decided_as_its_tests_expect_and_every_policy_would_be_missed() -> None:
    cases = cases_of(POLICY_FOLDER)
    assert failures(cases, firm_policies()) == ()
    assert untested(cases, shipped()) == ()


def test_every_policy_that_ships_says_in_its_own_words_what_it_means() -> None:
    assert [rule.id for rule in firm_policies().rules if not rule.says] == []


def test_a_policy_without_a_test_is_named_for_what_no_test_would_tell() -> None:
    cases = cases_of(POLICY_FOLDER)
    without_one = [case for case in cases if case.file != "runs.test.yaml"]
    assert [(gap.rule, gap.spoiled) for gap in untested(without_one, shipped())] == [("task_run_cancelled", "removed")]
    named_only = [case for case in cases if case.situation.tool != "identity_link" or case.situation.assigns_other]
    assert [(gap.rule, gap.spoiled) for gap in untested(named_only, shipped())] == [
        ("linking_others_needs_approval", "unconditional")
    ]


def test_a_new_policy_is_untested_until_it_has_one() -> None:
    texts = shipped_files() | {
        "new.cedar": '@id("never_on_slack") forbid (principal, action == Action::"call", resource == '
        'Tool::"figure_list") when { principal.door == Door::"slack" };'
    }
    gaps = untested(cases_of(POLICY_FOLDER), policy_files(texts))
    assert [(gap.rule, gap.file, gap.spoiled) for gap in gaps] == [
        ("never_on_slack", "new.cedar", "removed"),
        ("never_on_slack", "new.cedar", "unconditional"),
    ]


def test_a_changed_policy_fails_the_tests_that_speak_of_it() -> None:
    lax = Policies.of(policy_files(without_rule(shipped_files(), "agent_may_not")))
    failed = {failure.case.file for failure in failures(cases_of(POLICY_FOLDER), lax)}
    assert "doors.test.yaml" in failed


def test_a_test_that_lists_several_speaks_of_each(tmp_path: Path) -> None:
    listed = GOOD | {"role": ["EMPLOYEE", "none"], "level": ["L0", "L3"]}
    cases = cases_of(written(tmp_path, listed))
    assert [case.variant for case in cases] == ["EMPLOYEE, L0", "EMPLOYEE, L3", "none, L0", "none, L3"]
    assert [failure.case.variant for failure in failures(cases, firm_policies())] == ["none, L0", "none, L3"]


@pytest.mark.parametrize(
    "wrong", [{"decided_by": "PARTNER"}, {"four_eyes": True}, {"reasons": ["approved"]}, {"expect": "deny"}]
)
def test_every_part_of_what_is_expected_is_held_to(wrong: dict[str, object], tmp_path: Path) -> None:
    right = ASKS | {"decided_by": "EMPLOYEE", "four_eyes": False}
    if wrong == {"expect": "deny"}:
        right = ASKS
    assert failures(cases_of(written(tmp_path, right)), firm_policies()) == ()
    assert len(failures(cases_of(written(tmp_path, right | wrong)), firm_policies())) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"tool": "knowledge_serach"}, "'Searches': tool: there is no tool named 'knowledge_serach'"),
        ({"role": "KING"}, "'Searches': role: Input should be 'READONLY'"),
        ({"role": None}, "'Searches': role: "),
        ({"role": []}, "'Searches': role: "),
        ({"rôle": "KING"}, "'Searches': rôle: there is no such key"),
        ({"door": "window"}, "'Searches': door: "),
        ({"level": "L4"}, "'Searches': level: "),
        ({"level": 2}, "'Searches': level: "),
        ({"expect": "perhaps"}, "'Searches': expect: "),
        ({"expect": "deny"}, "'Searches': reasons: say the @id"),
        ({"expect": "deny", "reasons": ["role_to_low"]}, "reasons: no policy has the @id 'role_to_low'"),
        ({"reasons": "role_too_low"}, "'Searches': reasons: "),
        ({"decided_by": "PARTNER"}, "decided_by, four_eyes: nobody decides"),
        ({"facts": {"hat": "red"}}, "facts: there is no fact 'hat'; the facts are "),
        ({"facts": {"role": "PARTNER"}}, "facts: there is no fact 'role'"),
        ({"facts": {"assigns_other": "yes"}}, "facts: assigns_other: "),
        ({"arguments": {"kwery": "x"}}, "arguments: knowledge_search takes no 'kwery'"),
        ({"workflow": "close_cycle"}, "workflow: knowledge_search starts none"),
        ({"tool": "task_run", "workflow": "dance"}, "workflow: there is no workflow named 'dance'"),
        ({"attended": "yes"}, "'Searches': attended: "),
        ({"name": ""}, "'': name: "),
    ],
)
def test_a_test_that_makes_no_sense_is_told_by_file_name_and_key(
    wrong: dict[str, object], told: str, tmp_path: Path
) -> None:
    with pytest.raises(CasesInvalid) as raised:
        cases_of(written(tmp_path, GOOD | wrong))
    (fault,) = raised.value.faults
    assert fault.startswith("a.test.yaml: ")
    assert told in fault


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no mapping"),
        ("tests: [", "a.test.yaml: "),
        ("tests: []", "holds one key, `tests`"),
        ("test:\n- name: x", "holds one key, `tests`"),
        ("tests: [x]", "a.test.yaml: test 1: "),
        ("tests: [{tool: 3}]", "a.test.yaml: test 1: name: "),
        ("tests: [{name: x, name: y}]", "stands twice"),
    ],
)
def test_a_file_that_is_none_of_tests_is_told(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.test.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CasesInvalid, match=re.escape(told)):
        cases_of(tmp_path)


def test_two_tests_of_one_name_and_a_folder_without_any_are_told(tmp_path: Path) -> None:
    with pytest.raises(CasesInvalid, match="has no tests"):
        cases_of(tmp_path)
    with pytest.raises(CasesInvalid, match="another test of this file has this name"):
        cases_of(written(tmp_path, GOOD, GOOD))


def test_tests_beside_policies_are_no_part_of_what_decides(tmp_path: Path) -> None:
    for name, text in shipped_files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    before = Policies.load(tmp_path).digest
    written(tmp_path, {"not": "read at the start"})
    assert Policies.load(tmp_path).digest == before == firm_policies().digest


def test_the_command_says_that_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test"]) == 0
    assert "would be missed" in capsys.readouterr().out


def test_the_command_shows_what_came_otherwise_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in shipped_files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    written(tmp_path, ASKS | {"expect": "deny", "reasons": ["role_too_low"]})
    assert main(["policy", "test", "--policies", str(tmp_path)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of 1 calls are decided otherwise" in shown
    assert "Below L2" in shown, "in the policies' own words"


def test_the_command_fails_where_a_policy_has_no_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in shipped_files().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    written(tmp_path, GOOD)
    assert main(["policy", "test", "--policies", str(tmp_path)]) == 1
    assert "four_eyes_needed: no test fails when it is taken out" in capsys.readouterr().err


def test_the_command_names_what_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "test", "--policies", str(tmp_path / "nowhere")]) == 1
    assert "has no policies" in capsys.readouterr().err
