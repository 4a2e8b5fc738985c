"""Why a verdict is what it is: what is said to change it does, and nothing that would is left out."""

from dataclasses import replace
from typing import Any

import pytest

from domain.kernel import Level, Role
from tests.support.policies import firm_policies, situation, verdict_on
from tools.explanations import Change, Explanation
from tools.outcomes import decision_of
from tools.policy import Situation, explain

CALLS: dict[str, dict[str, Any]] = {
    "the agent prepares at L1": {"effect": "prepare", "level": Level.L1},
    "the agent prepares at L2": {"effect": "prepare"},
    "a reader changes something": {"role": Role.READONLY, "effect": "commit", "least_role": Role.MANAGER},
    "a stranger": {"role": None},
    "a release without its sign-offs": {"effect": "irreversible", "control": "plan_freeze", "control_state": "pending"},
    "one's own question that takes four eyes": {
        "mode": "person",
        "tool": "approval_decide",
        "effect": "commit",
        "role": Role.PARTNER,
        "approval_needs_role": Role.PARTNER,
        "approval_own": True,
        "approval_four_eyes": True,
    },
    "a service account at L0": {
        "role": Role.SERVICE_ACCOUNT,
        "kind": "service_account",
        "attended": False,
        "level": Level.L0,
    },
}


def explained(**changes: Any) -> Explanation:
    return explain(firm_policies(), situation(**changes))


def ways(told: Explanation) -> dict[str, Change]:
    return {change.fact: change for change in told.would_change}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_said_to_change_a_verdict_does_and_what_did_not_matter_does_not(call: str) -> None:
    asked = situation(**CALLS[call])
    told = explain(firm_policies(), asked)
    assert told.verdict == verdict_on(asked)
    for change in told.would_change:
        for value in change.to:
            other = verdict_on(replace(asked, **{change.fact: value}))
            assert other == change.verdict
            assert decision_of(other) != decision_of(told.verdict)
    unmoved = {"mode": ("person", "agent"), "level": tuple(Level), "attended": (True, False), "approved": (True, False)}
    for fact in unmoved.keys() - set(told.mattered):
        if fact != "attended" or asked.kind == "person":
            assert {verdict_on(replace(asked, **{fact: value})) for value in unmoved[fact]} == {told.verdict}


def test_what_needs_approval_is_allowed_by_a_higher_level_a_persons_hand_or_an_approval() -> None:
    told = explained(effect="prepare", level=Level.L1)
    ways_out = {fact: change.to for fact, change in ways(told).items() if decision_of(change.verdict) == "allow"}
    assert ways_out == {"mode": ("person",), "level": (Level.L2, Level.L3), "approved": (True,)}
    assert [because.policy for because in told.because] == ["autonomy_needs_approval_prepare"]
    assert told.because[0].says == "Below L2 a person approves what the agent prepares."


def test_a_refusal_for_two_reasons_is_lifted_by_no_single_fact_and_both_facts_mattered() -> None:
    told = explained(role=Role.READONLY, least_role=Role.EMPLOYEE, control="plan_freeze", control_state="pending")
    assert told.would_change == ()
    assert {"role", "control_state"} <= set(told.mattered)


def test_facts_that_the_call_says_nothing_of_are_left_as_they_are() -> None:
    told = explained(effect="prepare")
    assert not {"control_state", "own_statement", "approval_own", "client_own_task"} & set(told.mattered)
    fixed = explain(firm_policies(), situation(), fixed={"run_cancelled"})
    assert "run_cancelled" in explained().mattered
    assert "run_cancelled" not in fixed.mattered


def test_reasons_that_are_no_policys_have_words_too() -> None:
    told = explained(effect="commit", approved=True)
    assert [(because.policy, because.file) for because in told.because] == [("approved", None)]
    assert told.because[0].says


def test_what_was_seen_is_what_the_record_would_keep() -> None:
    asked: Situation = situation(level=Level.L3)
    assert explain(firm_policies(), asked).saw["level"] == 3
    assert set(explain(firm_policies(), asked).saw) == set(asked.__slots__)
