"""What must hold of policy in every situation there is, whatever the rules become."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.kernel import DOORS, EFFECTS, Door, Level, Role
from tests.support.policies import LADDER, decided, firm_policies, policies_of, shipped_files, verdict_on
from tools.outcomes import Allow, Deny, NeedsApproval
from tools.policy import Situation, situation_from_json

WEIGHT = {"deny": 0, "needs_approval": 1, "allow": 2}
FORBIDS_ALONE = {name: text for name, text in shipped_files().items() if name != "permits.cedar"}

settings.register_profile("policy", deadline=None, max_examples=200, derandomize=True)
policy_settings = settings.get_profile("policy")


def _subsets(names: tuple[Door, ...]) -> st.SearchStrategy[tuple[Door, ...]]:
    return st.sets(st.sampled_from(names)).map(lambda chosen: tuple(sorted(chosen)))


situations: st.SearchStrategy[Situation] = st.builds(
    Situation,
    role=st.none() | st.sampled_from(Role),
    kind=st.sampled_from(["person", "service_account"]),
    mode=st.sampled_from(["person", "agent"]),
    attended=st.booleans(),
    door=st.sampled_from(DOORS),
    level=st.sampled_from(Level),
    tool=st.sampled_from(["some_tool", "approval_decide", "signoff_record", "autonomy_set", "policy_add"]),
    effect=st.sampled_from(EFFECTS),
    least_role=st.sampled_from(LADDER),
    extra_roles=st.sets(st.sampled_from([Role.CLIENT, Role.EQR, Role.SERVICE_ACCOUNT])).map(
        lambda roles: tuple(sorted(roles))
    ),
    doors=st.just(tuple(sorted(DOORS))) | _subsets(DOORS),
    person_only=st.booleans(),
    autonomy=st.sampled_from(["effect", "workflow"]),
    minimum_level=st.none() | st.sampled_from(Level),
    rule_role=st.sampled_from(LADDER),
    rule_four_eyes=st.booleans(),
    control=st.none() | st.sampled_from(["plan_freeze", "period_lock"]),
    control_state=st.sampled_from(["not_applicable", "satisfied", "pending", "changes_required"]),
    assigns_other=st.booleans(),
    client_own_engagement=st.none() | st.booleans(),
    approval_needs_role=st.none() | st.sampled_from(LADDER),
    approval_own=st.booleans(),
    approval_four_eyes=st.booleans(),
    approved=st.booleans(),
)


def weight(situation: Situation) -> int:
    """How much the verdict lets happen: allow more than asking, asking more than deny."""
    return WEIGHT[decided(situation)]


@policy_settings
@given(situations)
def test_a_stranger_gets_nothing_anywhere(situation: Situation) -> None:
    verdict = verdict_on(replace(situation, role=None))
    assert isinstance(verdict, Deny)
    assert "not_a_member" in verdict.reasons


def test_without_permits_everything_is_denied_by_default(tmp_path: Path) -> None:
    policies = policies_of(tmp_path, FORBIDS_ALONE)

    @policy_settings
    @given(situations)
    def nothing_is_let_through(situation: Situation) -> None:
        verdict = policies.decide(situation)
        assert isinstance(verdict, Deny)
        shipped = verdict_on(situation)
        assert verdict.reasons == (shipped.reasons if isinstance(shipped, Deny) else ("no_permit",))

    nothing_is_let_through()


@policy_settings
@given(situations, st.sampled_from(LADDER), st.sampled_from(LADDER))
def test_a_higher_role_on_the_ladder_never_gets_less(situation: Situation, one: Role, other: Role) -> None:
    lower, higher = sorted((one, other), key=LADDER.index)
    assert weight(replace(situation, role=lower)) <= weight(replace(situation, role=higher))


@policy_settings
@given(situations, st.sampled_from(Level), st.sampled_from(Level))
def test_a_higher_level_never_gets_less(situation: Situation, one: Level, other: Level) -> None:
    lower, higher = sorted((one, other))
    assert weight(replace(situation, level=lower)) <= weight(replace(situation, level=higher))


@policy_settings
@given(situations)
def test_agent_mode_never_gets_more_than_person_mode(situation: Situation) -> None:
    assert weight(replace(situation, mode="agent")) <= weight(replace(situation, mode="person"))


@policy_settings
@given(situations)
def test_an_unattended_call_never_gets_more_than_an_attended_one(situation: Situation) -> None:
    assert weight(replace(situation, attended=False)) <= weight(replace(situation, attended=True))


@policy_settings
@given(situations)
def test_the_irreversible_is_never_done_unasked(situation: Situation) -> None:
    assert decided(replace(situation, effect="irreversible", approved=False)) != "allow"


@policy_settings
@given(situations)
def test_an_unsatisfied_control_lets_nothing_through(situation: Situation) -> None:
    for state in ("pending", "changes_required"):
        assert decided(replace(situation, control="plan_freeze", control_state=state)) == "deny"


@policy_settings
@given(situations, st.sampled_from(DOORS))
def test_the_door_itself_changes_no_verdict_where_it_is_offered(situation: Situation, door: Door) -> None:
    """Whether the call is attended is a fact of its own, held equal here."""
    everywhere = replace(situation, doors=tuple(sorted(DOORS)))
    assert verdict_on(everywhere) == verdict_on(replace(everywhere, door=door))


@policy_settings
@given(situations, st.sampled_from(DOORS))
def test_a_door_that_is_not_offered_adds_its_own_refusal_and_takes_none_away(situation: Situation, door: Door) -> None:
    offered = verdict_on(replace(situation, door=door, doors=(door,)))
    refused = verdict_on(replace(situation, door=door, doors=()))
    assert isinstance(refused, Deny)
    others = offered.reasons if isinstance(offered, Deny) else ()
    assert refused.reasons == tuple(sorted((*others, "door_not_offered")))


@policy_settings
@given(situations)
def test_an_approval_turns_a_question_into_leave_and_changes_nothing_else(situation: Situation) -> None:
    asked, approved = (verdict_on(replace(situation, approved=answer)) for answer in (False, True))
    if isinstance(asked, NeedsApproval):
        assert approved == Allow(reasons=("approved",))
    else:
        assert approved == asked


@policy_settings
@given(situations)
def test_whoever_must_decide_could_have_asked(situation: Situation) -> None:
    verdict = verdict_on(replace(situation, approved=False))
    if isinstance(verdict, NeedsApproval):
        assert verdict.needs_role in LADDER
        # A PARTNER decides of what only an administrator asks for.
        least = min(situation.least_role.rank, Role.PARTNER.rank)
        assert verdict.needs_role.rank >= max(least, situation.rule_role.rank, 1)
        assert verdict.four_eyes or not (situation.rule_four_eyes or situation.effect == "irreversible")


@policy_settings
@given(situations)
def test_every_verdict_gives_its_reasons_sorted_and_by_the_rules_names(situation: Situation) -> None:
    reasons = verdict_on(situation).reasons
    assert reasons
    assert list(reasons) == sorted(set(reasons))
    assert set(reasons) <= {rule.id for rule in firm_policies().rules} | {"no_permit", "approved"}


@policy_settings
@given(situations)
def test_what_is_recorded_of_a_situation_is_enough_to_decide_it_again(situation: Situation) -> None:
    again = situation_from_json(situation.canonical_json())
    assert again == situation
    assert again.canonical_json() == situation.canonical_json()
    assert verdict_on(again) == verdict_on(situation)
