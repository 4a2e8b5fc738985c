"""Situations, manifests, facts and policy folders in one line each, for tests of policy, registry and gate."""

import re
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from domain.autonomy.model import AutonomyRange
from domain.kernel import (
    DOORS,
    Decision,
    Door,
    Effect,
    Level,
    Mode,
    OrganizationId,
    Principal,
    PrincipalId,
    PrincipalKind,
    Role,
)
from domain.resources import resource_folder
from tools.facts import Facts
from tools.manifest import ApprovalRule, Json, Manifest
from tools.outcomes import Verdict, decision_of
from tools.policy import Policies, Situation, least_decider
from tools.policy.files import SCHEMA_NAME, read_policy_texts

LADDER = (Role.READONLY, Role.EMPLOYEE, Role.MANAGER, Role.PARTNER, Role.SYSTEM_ADMIN)
CLOSED: Json = {"type": "object", "additionalProperties": False, "properties": {}}
POLICY_FOLDER = resource_folder("manifests") / "policies"


@cache
def firm_policies() -> Policies:
    """The policies that ship."""
    return Policies.load(POLICY_FOLDER)


def situation(**changes: Any) -> Situation:
    """An employee's agent, attended, at L2, about to read; with changes."""
    plain: dict[str, Any] = {
        "role": Role.EMPLOYEE,
        "kind": "person",
        "mode": "agent",
        "attended": True,
        "door": "chat",
        "level": Level.L2,
        "tool": "some_tool",
        "effect": "read",
        "least_role": Role.READONLY,
        "extra_roles": (),
        "doors": tuple(sorted(DOORS)),
        "person_only": False,
        "autonomy": "effect",
        "minimum_level": None,
        "rule_role": Role.EMPLOYEE,
        "rule_four_eyes": False,
        "control": None,
        "control_state": "not_applicable",
        "sign_off_kind": None,
        "assigns_other": False,
        "client_own_engagement": None,
        "client_own_task": None,
        "run_cancelled": False,
        "own_statement": None,
        "budget_exhausted": None,
        "approval_needs_role": None,
        "approval_own": False,
        "approval_four_eyes": False,
        "approval_deputy_role": None,
        "approval_deputy_own": False,
        "delegate_role": None,
        "delegation_concerned": None,
        "taint": None,
        "widens": None,
        "approved": False,
    }
    return Situation(**(plain | changes))


def manifest(**changes: Any) -> Manifest:
    """A reading tool for everyone at every door, without arguments; with changes."""
    effect: Effect = changes.get("effect", "read")
    least_role: Role = changes.get("least_role", Role.READONLY)
    plain: dict[str, Any] = {
        "name": "some_tool",
        "version": "1",
        "title": "Some tool",
        "description": "Does something.",
        "effect": effect,
        "least_role": least_role,
        "doors": frozenset(DOORS),
        "writes": () if effect == "read" else ("tasks",),
        "approval": ApprovalRule(
            role=least_decider(effect, least_role),
            four_eyes=effect == "irreversible",
            expires_after=timedelta(hours=24),
        ),
        "control": None,
        "timeout": timedelta(seconds=5),
        "result_limit": 100_000,
        "trust": "internal",
        "subjects": {},
        "arguments": CLOSED,
        "result": CLOSED,
    }
    return Manifest(**(plain | changes))


def principal(
    *, mode: Mode = "agent", door: Door = "chat", kind: PrincipalKind = "person", scheduled: bool = False
) -> Principal:
    """Somebody of some organization."""
    return Principal(
        organization_id=OrganizationId(UUID(int=1)),
        principal_id=PrincipalId(UUID(int=2)),
        kind=kind,
        mode=mode,
        door=door,
        scheduled=scheduled,
    )


def facts(*, role: Role | None = Role.EMPLOYEE, level: Level = Level.L2, **changes: Any) -> Facts:
    """What the database says of a member whose organization is at `level`, about arguments that name nothing."""
    plain: dict[str, Any] = {
        "role": role,
        "range": AutonomyRange(
            organization_level=level,
            floor=Level.L0,
            ceiling=Level.L3,
            tool_ceiling=Level.L3,
            autopilot_disabled=False,
        ),
        "subjects": {},
        "control_state": "not_applicable",
        "control_missing": (),
    }
    return Facts(**(plain | changes))


def decided(asked: Situation, policies: Policies | None = None) -> Decision:
    """The decision's word, by the policies that ship unless others are given."""
    return decision_of(verdict_on(asked, policies))


def verdict_on(asked: Situation, policies: Policies | None = None) -> Verdict:
    """The verdict, by the policies that ship unless others are given."""
    return (policies or firm_policies()).decide(asked)


def shipped_files() -> dict[str, str]:
    """The texts of the policies that ship, by file name."""
    return read_policy_texts(POLICY_FOLDER)


def policies_of(folder: Path, files: dict[str, str]) -> Policies:
    """The policies that these files make, written to a fresh folder; the shipped schema unless they bring one."""
    for name, text in ({SCHEMA_NAME: shipped_files()[SCHEMA_NAME]} | files).items():
        (folder / name).write_text(text, encoding="utf-8")
    return Policies.load(folder)


def without_rule(files: dict[str, str], rule_id: str) -> dict[str, str]:
    """The same files, one policy taken out."""
    rule = re.compile(rf'@id\("{rule_id}"\)[^;]*;')
    assert sum(len(rule.findall(text)) for text in files.values()) == 1
    return {name: rule.sub("", text) for name, text in files.items()}
