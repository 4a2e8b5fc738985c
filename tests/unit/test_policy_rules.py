"""Every named refusal fires where it must, alone, and nothing else refuses in its place."""

from pathlib import Path
from typing import Any

import pytest

from domain.kernel import DOORS, EFFECTS, Effect, Role
from tests.support.policies import (
    LADDER,
    decided,
    firm_policies,
    policies_of,
    shipped_files,
    situation,
    verdict_on,
    without_rule,
)
from tools.outcomes import Allow, Deny, NeedsApproval

BY_HAND: dict[str, Any] = {"mode": "person", "door": "rest"}
CLIENT: dict[str, Any] = {"role": Role.CLIENT, "client_own_engagement": True}
DECIDING: dict[str, Any] = {
    **BY_HAND,
    "tool": "approval_decide",
    "effect": "commit",
    "role": Role.MANAGER,
    "approval_needs_role": Role.MANAGER,
}
STANDING_IN: dict[str, Any] = {
    **DECIDING,
    "approval_needs_role": Role.PARTNER,
    "approval_deputy_role": Role.PARTNER,
}
CONCLUDING: dict[str, Any] = {**DECIDING, "tool": "call_conclude", "least_role": Role.MANAGER}
SIGNING: dict[str, Any] = {
    **BY_HAND,
    "tool": "signoff_record",
    "effect": "commit",
    "least_role": Role.MANAGER,
    "extra_roles": (Role.EQR,),
    "person_only": True,
}

REMEMBERING: dict[str, Any] = {"tool": "preference_set", "effect": "prepare"}
FIRES: dict[str, list[dict[str, Any]]] = {
    "not_a_member": [{"role": None}],
    "role_too_low": [
        {"role": Role.READONLY, "least_role": Role.EMPLOYEE},
        {"role": Role.PARTNER, "least_role": Role.SYSTEM_ADMIN},
        {**CLIENT, "least_role": Role.EMPLOYEE},
        {"role": Role.EQR, "least_role": Role.SYSTEM_ADMIN},
        {"role": Role.SERVICE_ACCOUNT, "kind": "service_account", "least_role": Role.MANAGER, "attended": False},
    ],
    "eqr_only_reads_and_signs": [{"role": Role.EQR, "effect": "prepare"}],
    "client_outside_own_engagement": [
        {"role": Role.CLIENT, "client_own_engagement": False},
        {
            "role": Role.CLIENT,
            "effect": "prepare",
            "least_role": Role.EMPLOYEE,
            "extra_roles": (Role.CLIENT,),
            "client_own_engagement": None,
        },
        {
            "role": Role.CLIENT,
            "effect": "prepare",
            "least_role": Role.EMPLOYEE,
            "extra_roles": (Role.CLIENT,),
            "client_own_engagement": False,
        },
    ],
    "client_changes_own_tasks_only": [
        {
            **CLIENT,
            "tool": "task_update",
            "effect": "prepare",
            "least_role": Role.EMPLOYEE,
            "extra_roles": (Role.CLIENT,),
            "client_own_task": False,
        },
    ],
    "task_run_cancelled": [
        {"run_cancelled": True, "door": "worker", "attended": False},
        {"run_cancelled": True, "door": "worker", "attended": False, "effect": "commit", "approved": True, "level": 3},
    ],
    "budget_exhausted": [
        {"budget_exhausted": True},
        {"budget_exhausted": True, **BY_HAND, "effect": "commit"},
        {"budget_exhausted": True, "effect": "prepare", "approved": True, "level": 1},
    ],
    "service_account_with_other_role": [{"kind": "service_account", "attended": False, "role": Role.PARTNER}],
    "assigning_others_needs_manager": [
        {"effect": "prepare", "assigns_other": True},
        {**BY_HAND, "effect": "prepare", "assigns_other": True},
    ],
    "door_not_offered": [{"door": "mcp", "doors": ("chat", "rest")}],
    "agent_may_not": [
        {"person_only": True},
        {"person_only": True, **BY_HAND, "kind": "service_account", "role": Role.SERVICE_ACCOUNT},
        {**DECIDING, "mode": "agent", "level": 3},
        {"tool": "signoff_record", "effect": "commit", "level": 3},
        {"tool": "autonomy_set", "effect": "commit", "level": 3},
        {"tool": "policy_add", "effect": "commit", "level": 3},
        {"tool": "policy_remove", "effect": "commit", "level": 3},
    ],
    "autonomy_l0_unattended": [{"level": 0, "attended": False, "door": "worker"}],
    "autonomy_needs_approval_prepare": [{"level": 1, "effect": "prepare"}, {"level": 0, "effect": "prepare"}],
    "autonomy_below_workflow_minimum": [
        {"level": 1, "effect": "prepare", "autonomy": "workflow", "minimum_level": 2},
        {"level": 2, "effect": "prepare", "autonomy": "workflow", "minimum_level": 3},
    ],
    "upload_cannot_wait": [
        {"tool": "document_upload", "level": 1, "effect": "prepare"},
        {"tool": "document_upload", "level": 0, "effect": "prepare"},
    ],
    "autonomy_needs_approval_commit": [{"level": 2, "effect": "commit"}],
    "untrusted_content_read": [
        {"effect": "commit", "level": 3, "taint": "client"},
        {"effect": "commit", "level": 3, "taint": "external", "door": "worker", "attended": False},
    ],
    "wider_audience": [
        {"effect": "prepare", "widens": True},
        {"effect": "prepare", "level": 3, "widens": True, "taint": "internal"},
    ],
    "upload_to_wider_audience": [{"tool": "document_upload", "level": 3, "effect": "prepare", "widens": True}],
    "irreversible_needs_approval": [{"level": 3, "effect": "irreversible"}, {**BY_HAND, "effect": "irreversible"}],
    "control_not_satisfied": [
        {"level": 3, "effect": "commit", "control": "period_lock", "control_state": "pending"},
        {"level": 3, "effect": "commit", "control": "period_lock", "control_state": "changes_required"},
    ],
    "releasing_needs_partner": [
        {
            "tool": "release_submit",
            "level": 3,
            "role": Role.MANAGER,
            "least_role": Role.MANAGER,
            "effect": "commit",
            "control": control,
            "control_state": "satisfied",
        }
        for control in ("plan_freeze", "period_lock", "report_release")
    ],
    "signoff_needs_partner": [
        {**SIGNING, "role": Role.MANAGER, "sign_off_kind": kind} for kind in ("PLAN_REVIEW", "REPORT_FINAL")
    ],
    "signoff_needs_eqr": [
        {**SIGNING, "role": role, "sign_off_kind": "EQR_REVIEW"}
        for role in (Role.MANAGER, Role.PARTNER, Role.SYSTEM_ADMIN)
    ],
    "signoff_needs_manager": [
        {**SIGNING, "role": Role.EQR, "sign_off_kind": "VAT_RETURN"},
        {**SIGNING, "role": Role.EQR, "sign_off_kind": "WHATEVER_ELSE"},
    ],
    "approval_role_too_low": [
        {**DECIDING, "approval_needs_role": Role.PARTNER},
        {**DECIDING, "role": Role.READONLY, "approval_needs_role": Role.EMPLOYEE},
        {**DECIDING, "role": Role.EMPLOYEE},
    ],
    "linking_others_needs_approval": [
        {**BY_HAND, "tool": "identity_link", "effect": "commit", "role": Role.SYSTEM_ADMIN, "assigns_other": True},
    ],
    "preference_not_own_words": [{**REMEMBERING, "own_statement": False}],
    "preference_takes_own_hand": [
        {**REMEMBERING, "role": Role.READONLY, "own_statement": False},
        {**REMEMBERING, "role": Role.CLIENT, "level": 1},
        {**REMEMBERING, "role": Role.SERVICE_ACCOUNT, "kind": "service_account", "attended": False, "level": 1},
        {**REMEMBERING, "tool": "preference_forget", "role": Role.READONLY, "level": 0},
    ],
    "four_eyes_needed": [{**DECIDING, "approval_own": True, "approval_four_eyes": True}],
    "conclusion_role_too_low": [{**CONCLUDING, "approval_needs_role": Role.PARTNER}],
    "conclusion_needs_four_eyes": [{**CONCLUDING, "approval_own": True, "approval_four_eyes": True}],
    "deputy_asked": [{**STANDING_IN, "approval_own": True}],
    "deputy_of_the_asker": [{**STANDING_IN, "approval_deputy_own": True, "approval_four_eyes": True}],
    "deputy_too_low": [{**STANDING_IN, "role": Role.EMPLOYEE}],
    "delegate_decides_nothing": [
        {**BY_HAND, "tool": "delegation_give", "effect": "commit", "delegate_role": role}
        for role in (Role.READONLY, Role.CLIENT, Role.EQR, Role.SERVICE_ACCOUNT)
    ],
    "delegation_of_others": [
        {**BY_HAND, "tool": "delegation_revoke", "effect": "commit", "role": role, "delegation_concerned": False}
        for role in (Role.EMPLOYEE, Role.MANAGER)
    ],
}
CASES = [
    pytest.param(rule, changes, id=f"{rule}-{number}")
    for rule, cases in FIRES.items()
    for number, changes in enumerate(cases, 1)
]


def test_every_forbid_that_ships_has_a_case_here() -> None:
    assert {rule.id for rule in firm_policies().rules if rule.effect == "forbid"} == set(FIRES)


@pytest.mark.parametrize(("rule", "changes"), CASES)
def test_a_refusal_names_the_one_rule_that_made_it(rule: str, changes: dict[str, Any]) -> None:
    verdict = verdict_on(situation(**changes))
    assert not isinstance(verdict, Allow)
    assert verdict.reasons == (rule,)


@pytest.mark.parametrize(("rule", "changes"), CASES)
def test_without_the_rule_the_call_would_be_allowed(rule: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """But for a stranger, whom no permit lets through either, and for what would wait for nobody."""
    policies = policies_of(tmp_path, without_rule(shipped_files(), rule))
    verdict = verdict_on(situation(**changes), policies)
    if rule == "not_a_member":
        assert verdict == Deny(reasons=("no_permit",))
    elif rule in ("upload_cannot_wait", "upload_to_wider_audience", "preference_takes_own_hand"):
        assert isinstance(verdict, NeedsApproval)
    else:
        assert isinstance(verdict, Allow)


@pytest.mark.parametrize("least_role", LADDER)
@pytest.mark.parametrize("role", LADDER)
@pytest.mark.parametrize("effect", EFFECTS)
def test_on_the_ladder_a_role_meets_its_own_step_and_all_below(role: Role, least_role: Role, effect: Effect) -> None:
    met = decided(situation(role=role, least_role=least_role, effect=effect, level=3)) != "deny"
    assert met is (LADDER.index(role) >= LADDER.index(least_role))


@pytest.mark.parametrize(
    ("role", "effect", "meets"),
    [
        (Role.CLIENT, "read", {Role.READONLY}),
        (Role.CLIENT, "prepare", {Role.READONLY}),
        (Role.SERVICE_ACCOUNT, "read", {Role.READONLY, Role.EMPLOYEE}),
        (Role.SERVICE_ACCOUNT, "commit", {Role.READONLY, Role.EMPLOYEE}),
        (Role.EQR, "read", {Role.READONLY, Role.EMPLOYEE, Role.MANAGER, Role.PARTNER}),
        (Role.EQR, "prepare", set[Role]()),
        (Role.EQR, "commit", set[Role]()),
        (Role.EQR, "irreversible", set[Role]()),
    ],
)
def test_a_role_beside_the_ladder_meets_no_more_than_it_was_given(role: Role, effect: Effect, meets: set[Role]) -> None:
    kind = "service_account" if role is Role.SERVICE_ACCOUNT else "person"
    met = {
        least
        for least in LADDER
        if decided(situation(role=role, kind=kind, effect=effect, least_role=least, level=3)) != "deny"
    }
    assert met == meets


@pytest.mark.parametrize("role", [Role.CLIENT, Role.EQR])
def test_a_manifest_may_let_a_role_beside_the_ladder_in(role: Role) -> None:
    asked = situation(
        role=role,
        effect="prepare",
        least_role=Role.EMPLOYEE,
        extra_roles=(role,),
        client_own_engagement=True if role is Role.CLIENT else None,
    )
    assert decided(asked) == "allow"


@pytest.mark.parametrize("state", ["satisfied", "not_applicable"])
def test_a_control_that_is_satisfied_or_not_set_stands_in_nobodys_way(state: str) -> None:
    assert decided(situation(effect="commit", level=3, control="period_lock", control_state=state)) == "allow"


def test_whoever_holds_the_role_decides_what_another_or_it_itself_asked_unless_four_eyes_are_needed() -> None:
    assert decided(situation(**DECIDING)) == "allow"
    assert decided(situation(**DECIDING, approval_own=True)) == "allow"
    assert decided(situation(**DECIDING, approval_four_eyes=True)) == "allow"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["person", "service_account"])
def test_no_agent_decides_an_approval_at_any_door(door: str, kind: str) -> None:
    for role in Role:
        asked = situation(**{**DECIDING, "mode": "agent", "door": door, "kind": kind, "role": role, "level": 3})
        verdict = verdict_on(asked)
        assert isinstance(verdict, Deny)
        assert "agent_may_not" in verdict.reasons


def test_several_refusals_are_all_named_and_sorted() -> None:
    verdict = verdict_on(situation(role=Role.READONLY, least_role=Role.EMPLOYEE, doors=("rest",), person_only=True))
    assert verdict == Deny(reasons=("agent_may_not", "door_not_offered", "role_too_low"))


def test_an_allowed_call_says_by_which_permit() -> None:
    assert verdict_on(situation()) == Allow(reasons=("within_role_and_autonomy",))


def test_an_approval_answers_what_policy_asks_and_nothing_that_it_forbids() -> None:
    asking = situation(effect="commit", level=1)
    assert decided(asking) == "needs_approval"
    assert verdict_on(situation(effect="commit", level=1, approved=True)) == Allow(reasons=("approved",))
    assert decided(situation(effect="commit", level=1, approved=True, role=Role.READONLY, least_role=Role.MANAGER)) == (
        "deny"
    )
