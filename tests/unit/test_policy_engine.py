"""What goes wrong in policy is a refusal: bad facts, rules that fail, files that are not what they seem."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.kernel import Level, Role
from tests.support.policies import (
    POLICY_FOLDER,
    decided,
    firm_policies,
    policies_of,
    shipped_files,
    situation,
    verdict_on,
)
from tools.outcomes import Allow, Deny
from tools.policy import Policies, PolicyFilesError, Situation, situation_from_json
from tools.policy.cedar import Answer, Engine
from tools.policy.files import read_policy_files

ERROR = Deny(reasons=("policy_error",))
PERMIT_ALL = """
@id("anyone") permit (principal, action == Action::"call", resource);
@id("anyone_unasked") permit (principal, action == Action::"call_without_approval", resource);
"""


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "KING"},
        {"role": ["PARTNER"]},
        {"kind": "robot"},
        {"attended": "yes"},
        {"attended": None},
        {"door": "window"},
        {"door": None},
        {"level": 4},
        {"level": -1},
        {"level": "L3"},
        {"level": None},
        {"effect": "none"},
        {"effect": None},
        {"least_role": None},
        {"least_role": "NOBODY"},
        {"extra_roles": ("KING",)},
        {"doors": ("window",)},
        {"doors": ["chat"]},
        {"person_only": "no"},
        {"minimum_level": 9},
        {"control": 7},
        {"control": "period_lock", "control_state": "perhaps"},
        {"control_state": None},
        {"assigns_other": None},
        {"client_own_engagement": "mine"},
        {"approval_needs_role": "KING"},
        {"approval_needs_role": Role.MANAGER, "approval_own": None},
        {"tool": None},
        {"tool": "\ud800"},
    ],
)
def test_a_malformed_situation_is_denied(wrong: dict[str, Any]) -> None:
    assert decided(situation()) == "allow"
    assert verdict_on(situation(**wrong)) == ERROR


@pytest.mark.parametrize("tool", ["", "x" * 10_000, 'a"; permit(principal,action,resource);', "a\nb", "ä"])
def test_an_odd_tool_name_is_a_name_and_no_policy_text(tool: str) -> None:
    assert decided(situation(tool=tool)) == "allow"
    assert decided(situation(tool=tool, role=None)) == "deny"


@pytest.mark.parametrize("action", ["call", "call_without_approval"])
def test_a_forbid_that_fails_denies_instead_of_being_skipped(action: str, tmp_path: Path) -> None:
    failing = f"""
    @id("overflows") forbid (principal, action == Action::"{action}", resource)
    when {{ principal.level + 9223372036854775807 < 0 }};
    """
    policies = policies_of(tmp_path, {"all.cedar": PERMIT_ALL + failing})
    assert isinstance(policies.decide(situation(level=Level.L0)), Allow)
    assert policies.decide(situation(level=Level.L1)) == ERROR


def test_an_error_beside_a_refusal_is_still_an_error(tmp_path: Path) -> None:
    rules = """
    @id("never") forbid (principal, action == Action::"call", resource);
    @id("overflows") permit (principal, action == Action::"call", resource)
    when { principal.level + 9223372036854775807 < 0 };
    """
    policies = policies_of(tmp_path, {"all.cedar": rules})
    assert policies.decide(situation(level=Level.L1)) == ERROR


def test_an_error_is_not_kept_and_a_verdict_is() -> None:
    cedar = Engine.parse(read_policy_files(POLICY_FOLDER))

    class Flaky:
        asked = 0

        def ask(self, asked: Situation) -> tuple[Answer, Answer]:
            self.asked += 1
            if self.asked == 1:
                raise RuntimeError("for once")
            return cedar.ask(asked)

    engine: Any = Flaky()
    policies = Policies(engine=engine, rules=(), digest=b"")
    assert policies.decide(situation()) == ERROR
    assert policies.decide(situation()) == policies.decide(situation()) == verdict_on(situation())
    assert engine.asked == 2


def test_the_order_and_the_names_of_files_change_no_reason(tmp_path: Path) -> None:
    """The engine numbers policies by their place; a file put in front renumbers them all."""
    files = {
        ("a_" + name if number % 2 else "z_" + name) if name.endswith(".cedar") else name: text
        for number, (name, text) in enumerate(shipped_files().items())
    }
    files["0_first.cedar"] = '@id("never") forbid (principal == Principal::"nobody", action, resource);'
    moved = policies_of(tmp_path, files)
    for changes in ({}, {"role": None}, {"effect": "commit"}, {"role": Role.EQR, "effect": "prepare", "doors": ()}):
        assert moved.decide(situation(**changes)) == verdict_on(situation(**changes))


def test_each_rule_is_listed_with_its_file_and_effect() -> None:
    by_id = {rule.id: rule for rule in firm_policies().rules}
    assert (by_id["role_too_low"].effect, by_id["role_too_low"].file) == ("forbid", "roles.cedar")
    assert (by_id["member_may_call"].effect, by_id["member_may_call"].file) == ("permit", "permits.cedar")


FORBID = "forbid (principal, action, resource)"


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"a.cedar": f"{FORBID};"}, "a.cedar: a policy's @id is None"),
        ({"a.cedar": f"@id {FORBID};"}, "a.cedar: a policy's @id is"),
        ({"a.cedar": f'@id("Not So") {FORBID};'}, "a.cedar: a policy's @id is 'Not So'"),
        ({"a.cedar": f'@id("policy_error") {FORBID};'}, "a.cedar: @id 'policy_error' is a reason"),
        ({"a.cedar": f'@id("no") {FORBID}; @id("no") {FORBID};'}, "a.cedar: @id 'no' stands in a.cedar already"),
        (
            {"a.cedar": f'@id("no") {FORBID};', "b.cedar": f'@id("no") {FORBID};'},
            "b.cedar: @id 'no' stands in a.cedar already",
        ),
        ({"a.cedar": '@id("no") forbid (principal'}, "a.cedar: "),
        ({"a.cedar": '@id("no") forbid (principal == ?principal, action, resource);'}, "a.cedar: holds a template"),
        (
            {"a.cedar": f'@id("no") {FORBID} when {{ principal has role && principal.role == Role::"KING" }};'},
            "a.cedar: no: no role is named 'KING'",
        ),
        ({"a.cedar": f'@id("no") {FORBID} when {{ principal.door == Door::"window" }};'}, "window"),
        ({"a.cedar": f'@id("no") {FORBID} when {{ principal.role == Role::"CLIENT" }};'}, "role"),
        ({"a.cedar": f'@id("no") {FORBID} when {{ principal.hat == "red" }};'}, "hat"),
        ({"a.cedar": f'@id("no") {FORBID} when {{ principal.level < "2" }};'}, ""),
        ({"a.cedar": PERMIT_ALL, "b.ceder": f'@id("no") {FORBID};'}, "b.ceder: neither *.cedar nor"),
        ({"a.cedar": PERMIT_ALL, "schema.cedarschema": "entity"}, "schema.cedarschema: "),
        ({}, "has no policies"),
    ],
)
def test_files_that_are_not_what_they_seem_stop_the_start(files: dict[str, str], fault: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyFilesError) as raised:
        policies_of(tmp_path, files)
    assert any(fault in found for found in raised.value.faults)


def test_a_folder_without_schema_or_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(PERMIT_ALL)
    with pytest.raises(PolicyFilesError, match="has no schema"):
        Policies.load(tmp_path)
    with pytest.raises(PolicyFilesError, match="has no policies"):
        Policies.load(tmp_path / "nowhere")


def test_a_file_that_is_not_text_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyFilesError, match=r"a\.cedar: cannot be read"):
        policies_of(tmp_path, {})


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PolicyFilesError) as raised:
        policies_of(tmp_path, {"a.cedar": f"{FORBID};", "b.cedar": f"{FORBID};"})
    assert len(raised.value.faults) == 2


def test_the_digest_is_of_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    def digest(name: str, files: dict[str, str]) -> bytes:
        folder = tmp_path / name
        folder.mkdir()
        return policies_of(folder, files).digest

    base = digest("base", {"a.cedar": PERMIT_ALL})
    assert base == digest("same", {"a.cedar": PERMIT_ALL})
    assert base != digest("renamed", {"b.cedar": PERMIT_ALL})
    assert base != digest("changed", {"a.cedar": PERMIT_ALL + "// a word\n"})
    schema = shipped_files()["schema.cedarschema"]
    assert base != digest("other_schema", {"a.cedar": PERMIT_ALL, "schema.cedarschema": schema + "\n"})
    assert len({base, firm_policies().digest, Policies.load(POLICY_FOLDER).digest}) == 2


def test_a_recorded_situation_has_its_keys_sorted_and_no_spaces() -> None:
    text = situation().canonical_json()
    raw = orjson.loads(text)
    assert list(raw) == sorted(raw)
    assert text == orjson.dumps(raw).decode()


@pytest.mark.parametrize(
    "spoiled",
    [
        {"king": True},
        {"role": "KING"},
        {"level": 7},
        {"level": "2"},
        {"attended": 1},
        {"door": "window"},
        {"doors": ["window"]},
        {"extra_roles": "CLIENT"},
    ],
)
def test_what_is_no_situation_is_not_read_as_one(spoiled: dict[str, Any]) -> None:
    raw = orjson.loads(situation().canonical_json())
    with pytest.raises(ValueError, match=r"."):
        situation_from_json(orjson.dumps(raw | spoiled))


def test_a_situation_with_a_key_too_few_is_not_read() -> None:
    raw = orjson.loads(situation().canonical_json())
    for key in raw:
        with pytest.raises(ValueError, match=r"."):
            situation_from_json(orjson.dumps({name: value for name, value in raw.items() if name != key}))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "{}"])
def test_what_is_no_json_object_is_no_situation(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        situation_from_json(text)


def test_equal_situations_are_one_key() -> None:
    assert hash(situation()) == hash(replace(situation(level=Level.L1), level=Level.L2))
