"""The table of autonomy, cell by cell, as the firm wrote it."""

from typing import get_args

import pytest

from domain.kernel import Decision, Effect, Level, Mode, Role
from tests.support.policies import decided, situation, verdict_on
from tools.outcomes import NeedsApproval

ALLOW, ASK, DENY = "allow", "needs_approval", "deny"
ATTENDED, UNATTENDED = True, False

TABLE: dict[Effect, dict[tuple[Level, bool], Decision]] = {
    "read": {
        (Level.L0, ATTENDED): ALLOW,
        (Level.L0, UNATTENDED): DENY,
        (Level.L1, ATTENDED): ALLOW,
        (Level.L1, UNATTENDED): ALLOW,
        (Level.L2, ATTENDED): ALLOW,
        (Level.L2, UNATTENDED): ALLOW,
        (Level.L3, ATTENDED): ALLOW,
        (Level.L3, UNATTENDED): ALLOW,
    },
    "prepare": {
        (Level.L0, ATTENDED): ASK,
        (Level.L0, UNATTENDED): DENY,
        (Level.L1, ATTENDED): ASK,
        (Level.L1, UNATTENDED): ASK,
        (Level.L2, ATTENDED): ALLOW,
        (Level.L2, UNATTENDED): ALLOW,
        (Level.L3, ATTENDED): ALLOW,
        (Level.L3, UNATTENDED): ALLOW,
    },
    "commit": {
        (Level.L0, ATTENDED): ASK,
        (Level.L0, UNATTENDED): DENY,
        (Level.L1, ATTENDED): ASK,
        (Level.L1, UNATTENDED): ASK,
        (Level.L2, ATTENDED): ASK,
        (Level.L2, UNATTENDED): ASK,
        (Level.L3, ATTENDED): ALLOW,
        (Level.L3, UNATTENDED): ALLOW,
    },
    "irreversible": {
        (Level.L0, ATTENDED): ASK,
        (Level.L0, UNATTENDED): DENY,
        (Level.L1, ATTENDED): ASK,
        (Level.L1, UNATTENDED): ASK,
        (Level.L2, ATTENDED): ASK,
        (Level.L2, UNATTENDED): ASK,
        (Level.L3, ATTENDED): ASK,
        (Level.L3, UNATTENDED): ASK,
    },
}
CELLS = [
    pytest.param(effect, level, attended, decision, id=f"{effect}-{level.name}-{'' if attended else 'un'}attended")
    for effect, row in TABLE.items()
    for (level, attended), decision in row.items()
]

PERSON_TABLE: dict[Effect, Decision] = {"read": ALLOW, "prepare": ALLOW, "commit": ALLOW, "irreversible": ASK}


def test_the_table_has_every_cell() -> None:
    assert set(TABLE) == set(get_args(Effect))
    for row in TABLE.values():
        assert set(row) == {(level, attended) for level in Level for attended in (True, False)}


@pytest.mark.parametrize(("effect", "level", "attended", "decision"), CELLS)
def test_an_agents_call_gets_the_verdict_of_its_cell(
    effect: Effect, level: Level, attended: bool, decision: Decision
) -> None:
    asked = situation(effect=effect, level=level, attended=attended, role=Role.PARTNER)
    assert decided(asked) == decision


@pytest.mark.parametrize(("effect", "level", "attended", "decision"), CELLS)
def test_a_service_account_is_bound_by_the_table_even_if_it_says_that_it_is_a_person(
    effect: Effect, level: Level, attended: bool, decision: Decision
) -> None:
    for mode in get_args(Mode):
        asked = situation(
            effect=effect,
            level=level,
            attended=attended,
            mode=mode,
            kind="service_account",
            role=Role.SERVICE_ACCOUNT,
        )
        assert decided(asked) == decision


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize(("effect", "decision"), PERSON_TABLE.items())
def test_a_persons_own_hand_is_subject_to_role_alone_but_for_the_irreversible(
    effect: Effect, decision: Decision, level: Level
) -> None:
    assert decided(situation(mode="person", door="rest", effect=effect, level=level)) == decision
    assert decided(situation(mode="person", effect=effect, level=level, role=Role.READONLY)) == decision
    too_low = situation(mode="person", effect=effect, level=level, role=Role.READONLY, least_role=Role.EMPLOYEE)
    assert decided(too_low) == "deny"


@pytest.mark.parametrize("minimum", Level)
@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize("attended", [True, False])
def test_a_workflows_minimum_replaces_the_row_prepare(minimum: Level, level: Level, attended: bool) -> None:
    asked = situation(effect="prepare", autonomy="workflow", minimum_level=minimum, level=level, attended=attended)
    if level is Level.L0 and not attended:
        assert decided(asked) == "deny"
    else:
        assert decided(asked) == ("allow" if level >= minimum else "needs_approval")


@pytest.mark.parametrize("effect", ["commit", "irreversible"])
def test_a_workflows_minimum_opens_no_other_row(effect: Effect) -> None:
    asked = situation(effect=effect, autonomy="workflow", minimum_level=Level.L0, level=Level.L1)
    assert decided(asked) == "needs_approval"


def test_without_a_known_workflow_the_row_prepare_holds() -> None:
    unknown = situation(effect="prepare", autonomy="workflow", minimum_level=None)
    assert decided(unknown) == "allow"
    assert decided(situation(effect="prepare", autonomy="workflow", minimum_level=None, level=Level.L1)) == ASK


@pytest.mark.parametrize(
    ("effect", "least_role", "rule_role", "needs_role"),
    [
        ("prepare", Role.READONLY, Role.EMPLOYEE, Role.EMPLOYEE),
        ("prepare", Role.EMPLOYEE, Role.EMPLOYEE, Role.EMPLOYEE),
        ("prepare", Role.MANAGER, Role.EMPLOYEE, Role.MANAGER),
        ("prepare", Role.EMPLOYEE, Role.PARTNER, Role.PARTNER),
        ("commit", Role.EMPLOYEE, Role.EMPLOYEE, Role.MANAGER),
        ("commit", Role.EMPLOYEE, Role.PARTNER, Role.PARTNER),
        ("commit", Role.PARTNER, Role.MANAGER, Role.PARTNER),
        ("commit", Role.SYSTEM_ADMIN, Role.MANAGER, Role.PARTNER),
        ("commit", Role.SYSTEM_ADMIN, Role.SYSTEM_ADMIN, Role.SYSTEM_ADMIN),
        ("irreversible", Role.MANAGER, Role.EMPLOYEE, Role.PARTNER),
        ("irreversible", Role.MANAGER, Role.SYSTEM_ADMIN, Role.SYSTEM_ADMIN),
    ],
)
def test_the_effect_says_who_decides_and_a_manifest_may_only_ask_for_more(
    effect: Effect, least_role: Role, rule_role: Role, needs_role: Role
) -> None:
    asked = situation(effect=effect, least_role=least_role, rule_role=rule_role, role=Role.SYSTEM_ADMIN, level=Level.L1)
    verdict = verdict_on(asked)
    assert isinstance(verdict, NeedsApproval)
    assert verdict.needs_role is needs_role


@pytest.mark.parametrize(
    ("effect", "rule_four_eyes", "four_eyes"),
    [
        ("prepare", False, False),
        ("prepare", True, True),
        ("commit", False, False),
        ("commit", True, True),
        ("irreversible", False, True),
        ("irreversible", True, True),
    ],
)
def test_the_irreversible_takes_four_eyes_whatever_the_manifest_says(
    effect: Effect, rule_four_eyes: bool, four_eyes: bool
) -> None:
    verdict = verdict_on(situation(effect=effect, rule_four_eyes=rule_four_eyes, level=Level.L1))
    assert isinstance(verdict, NeedsApproval)
    assert verdict.four_eyes is four_eyes
