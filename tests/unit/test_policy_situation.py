"""What of principal, manifest and facts policy gets to see, and what a list of tools shows."""

from datetime import timedelta
from typing import Any, get_args

import pytest

from domain.autonomy.model import AutonomyRange
from domain.kernel import DOORS, Door, Level, Mode, PrincipalKind, Role
from tests.support.policies import facts, firm_policies, manifest, principal
from tools.facts import Facts
from tools.manifest import ApprovalRule, Manifest
from tools.policy import Situation, situation_of


def seen(
    tool: Manifest | None = None,
    found: Facts | None = None,
    *,
    persona_ceiling: Level = Level.L3,
    minimum_level: Level | None = None,
    approved: bool = False,
    **who: Any,
) -> Situation:
    return situation_of(
        tool or manifest(),
        principal(**who),
        found or facts(),
        persona_ceiling=persona_ceiling,
        minimum_level=minimum_level,
        approved=approved,
        control=(tool or manifest()).control_in({}),
        sign_off_kind=None,
    )


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("kind", get_args(PrincipalKind))
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scheduled", [False, True])
def test_mode_door_and_attendance_are_the_principals(
    mode: Mode, kind: PrincipalKind, door: Door, scheduled: bool
) -> None:
    asked = seen(mode=mode, kind=kind, door=door, scheduled=scheduled)
    assert (asked.mode, asked.kind, asked.door) == (mode, kind, door)
    assert asked.attended is (kind == "person" and door != "worker" and not scheduled)


def test_the_level_is_the_one_in_force_under_every_ceiling() -> None:
    bounds = AutonomyRange(
        organization_level=Level.L3,
        floor=Level.L0,
        ceiling=Level.L3,
        tool_ceiling=Level.L3,
        autopilot_disabled=False,
    )
    assert seen(found=facts(range=bounds)).level is Level.L3
    assert seen(found=facts(range=bounds), persona_ceiling=Level.L1).level is Level.L1


def test_the_manifest_is_seen_whole_and_in_one_order() -> None:
    tool = manifest(
        effect="commit",
        least_role=Role.MANAGER,
        extra_roles=(Role.EQR, Role.CLIENT),
        doors=frozenset({"rest", "cli"}),
        person_only=True,
        control="period_lock",
        approval=ApprovalRule(role=Role.PARTNER, four_eyes=True, expires_after=timedelta(hours=1)),
    )
    asked = seen(tool, facts(control_state="pending"))
    assert (asked.effect, asked.least_role, asked.person_only) == ("commit", Role.MANAGER, True)
    assert (asked.extra_roles, asked.doors) == ((Role.CLIENT, Role.EQR), ("cli", "rest"))
    assert (asked.rule_role, asked.rule_four_eyes) == (Role.PARTNER, True)
    assert (asked.control, asked.control_state) == ("period_lock", "pending")


def test_a_minimum_counts_only_for_a_tool_that_starts_workflows() -> None:
    assert seen(minimum_level=Level.L1).minimum_level is None
    starts = manifest(effect="prepare", autonomy="workflow")
    assert seen(starts, minimum_level=Level.L1).minimum_level is Level.L1


@pytest.mark.parametrize(
    ("subjects", "assigns"),
    [
        ({}, False),
        ({"assignee": {"self": True}}, False),
        ({"assignee": {"self": False}}, True),
        ({"assignee": None}, False),
    ],
)
def test_an_assignee_who_is_somebody_else_is_seen(subjects: dict[str, Any], assigns: bool) -> None:
    assert seen(found=facts(subjects=subjects)).assigns_other is assigns


@pytest.mark.parametrize(
    ("subjects", "own"),
    [
        ({}, None),
        ({"engagement": None}, None),
        ({"engagement": {"member": True}}, True),
        ({"engagement": {"member": False}}, False),
        ({"document": {"engagement_id": "x"}}, True),
        ({"task": {"kind": None}}, True),
        ({"engagement": {"member": False}, "document": {"engagement_id": "x"}}, False),
    ],
)
def test_a_clients_subjects_are_its_own_or_not(subjects: dict[str, Any], own: bool | None) -> None:
    assert seen(found=facts(role=Role.CLIENT, subjects=subjects)).client_own_engagement is own
    assert seen(found=facts(role=Role.MANAGER, subjects=subjects)).client_own_engagement is None


def test_a_waiting_call_is_seen_with_its_role_and_eyes() -> None:
    waiting = {"needs_role": "PARTNER", "own": True, "four_eyes": True, "state": "pending", "tool": "x"}
    asked = seen(found=facts(subjects={"approval": waiting}))
    assert (asked.approval_needs_role, asked.approval_own, asked.approval_four_eyes) == (Role.PARTNER, True, True)
    unknown = seen(found=facts(subjects={"approval": None}))
    assert (unknown.approval_needs_role, unknown.approval_own) == (None, False)


def test_a_stranger_has_no_role() -> None:
    assert seen(found=facts(role=None)).role is None


@pytest.mark.parametrize(
    ("tool", "who", "role", "offered"),
    [
        (manifest(), {}, Role.READONLY, True),
        (manifest(), {}, None, False),
        (manifest(least_role=Role.MANAGER), {}, Role.EMPLOYEE, False),
        (manifest(doors=frozenset({"rest"})), {"door": "mcp"}, Role.PARTNER, False),
        (manifest(doors=frozenset({"rest"})), {"door": "rest", "mode": "person"}, Role.PARTNER, True),
        (manifest(effect="commit", person_only=True), {"door": "rest", "mode": "person"}, Role.PARTNER, True),
        (manifest(effect="commit", person_only=True), {"door": "rest", "mode": "agent"}, Role.PARTNER, False),
        (manifest(effect="irreversible"), {}, Role.EMPLOYEE, True),
        (manifest(effect="commit", control="period_lock"), {}, Role.EMPLOYEE, True),
        (manifest(effect="prepare", least_role=Role.EMPLOYEE, extra_roles=(Role.CLIENT,)), {}, Role.CLIENT, True),
        (manifest(effect="prepare", least_role=Role.EMPLOYEE), {}, Role.CLIENT, False),
        (manifest(least_role=Role.PARTNER), {}, Role.EQR, True),
        (manifest(name="approval_decide", effect="commit"), {"door": "rest", "mode": "person"}, Role.EMPLOYEE, True),
        (manifest(name="approval_decide", effect="commit"), {"door": "mcp"}, Role.PARTNER, False),
    ],
)
def test_a_list_of_tools_shows_what_is_not_forbidden_before_arguments_are_known(
    tool: Manifest, who: dict[str, Any], role: Role | None, offered: bool
) -> None:
    assert firm_policies().may_offer(tool, principal(**who), facts(role=role, control_state="pending")) is offered


def test_autonomy_hides_no_tool_from_whoever_may_ask_for_it() -> None:
    for level in Level:
        assert firm_policies().may_offer(manifest(effect="commit"), principal(), facts(level=level))
