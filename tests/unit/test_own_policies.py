"""What an organization may put in force for itself: by what it parses to, only stricter, and never what cannot be
evaluated or undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.kernel import DOORS, EFFECTS, Decision, Level, Role
from domain.policies.model import OwnPolicies, OwnPolicy, UnreadPolicies, own_policies
from tests.support.policies import firm_policies, situation
from tools.outcomes import Deny, NeedsApproval, decision_of
from tools.policy import PolicyFilesError, Rulebook, Situation
from tools.policy.own import BRACKETS, TEXT_LIMIT, accept
from tools.policy.rulebook import ANSWERS, BEYOND, NOT_LATER, firm_digest_of, own_digest_of

STRICTER: dict[Decision, int] = {"allow": 0, "needs_approval": 1, "deny": 2}


def forbid(
    when: str = "true", *, name: str = "ours", action: str = "call", head: str = "principal", resource: str = ""
) -> str:
    tool = f"resource == Tool::{resource!r}".replace("'", '"') if resource else "resource"
    scope = f'{head}, action == Action::"{action}", {tool}'
    return f'@id("{name}") @says("So we want it.") forbid ({scope}) when {{ {when} }};'


def beside(*texts: str) -> OwnPolicies:
    return own_policies(accept(text)[0] for text in texts)


REFUSED = {
    "permits": ('@id("ours") @says("S") permit (principal, action == Action::"call", resource);', "it permits"),
    "permits_beside_a_forbid": (
        forbid() + ' @id("more") permit (principal, action == Action::"call", resource);',
        "holds 2 policies",
    ),
    "permits_in_what_looks_like_a_comment": (
        '// forbid\n@id("ours") @says("S") permit (principal, action == Action::"call", resource);',
        "it permits",
    ),
    "template": ('@id("ours") forbid (principal == ?principal, action, resource);', "template"),
    "no_id": ('@says("S") forbid (principal, action == Action::"call", resource);', "@id is None"),
    "odd_id": (forbid(name="Ours!"), "takes the form"),
    "reserved_id": (forbid(name="policy_error"), "gives itself"),
    "no_words": ('@id("ours") forbid (principal, action == Action::"call", resource);', "lacks @says"),
    "too_many_words": (forbid().replace("So we want it.", "x" * 301), "longer than 300"),
    "another_annotation": ('@why("x") ' + forbid(), "@why"),
    "any_action": ('@id("ours") @says("S") forbid (principal, action, resource);', "does not say what of"),
    "no_such_action": (forbid(action="delete"), "does not say what of"),
    "two_actions": (forbid().replace('== Action::"call"', 'in [Action::"call"]'), "does not say what of"),
    "names_a_principal": (forbid(head='principal == Principal::"caller"'), "names a principal"),
    "unknown_role": (forbid('principal.role == Role::"BOSS"'), "no role is named"),
    "arithmetic": (forbid("principal.level + 9223372036854775807 > 0"), "`+`"),
    "negation": (forbid("-principal.level > 0"), "`neg`"),
    "extension": (forbid('ip("127.0.0.1").isLoopback()'), "uses `"),
    "attribute_of_a_literal": (forbid('Tool::"task_list".effect == Effect::"read"'), "an attribute of something other"),
    "record": (forbid("{a: true}.a"), "uses `Record`"),
    "nothing": ("// nothing", "holds no policies"),
    "no_policy": ("forbid", ""),
    "too_long": (forbid() + " " * TEXT_LIMIT + "//", "longer than"),
    "too_many_brackets": (forbid("(" * BRACKETS + "true" + ")" * BRACKETS), "brackets"),
    "crashes_the_parser": ("[" * 3000, "brackets"),
    "too_many_parts": (forbid(" && ".join(["principal.attended"] * 100)), "too large"),
    "too_deep": (forbid("!" * 3 + "!(" * 40 + "true" + ")" * 40), "too large"),
    "endless_attributes": (forbid("context" + ".a" * 1500), "nested"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_organization_may_not_have_is_refused_in_words(name: str) -> None:
    text, told = REFUSED[name]
    with pytest.raises(PolicyFilesError) as refused:
        accept(text)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "when",
    [
        "principal.nobody",
        'principal.role == Role::"MANAGER"',  # may be absent, and is not asked for
        'resource.effect == Effect::"total"',
        "context.approval.own",
        'principal.level == "L1"',
        'resource.control like "file*"',
    ],
)
def test_what_the_schema_forbids_is_refused(when: str) -> None:
    own = beside(forbid(when))
    with pytest.raises(PolicyFilesError):
        Rulebook(firm_policies()).checked(own)


def test_the_tools_that_a_policy_names_are_told() -> None:
    assert accept(forbid('resource in [Tool::"task_run"]', resource="task_list"))[1] == ("task_list", "task_run")


ACCEPTED = [
    forbid('principal.door == Door::"slack" && resource.effect != Effect::"read"'),
    forbid('principal has role && principal.role == Role::"CLIENT"', action="call_without_approval"),
    forbid("!principal.attended", resource="task_create"),
    forbid('resource has control && resource.control like "filings*"', action="call_without_approval"),
    forbid('if principal.by_hand then false else resource.doors.contains(Door::"chat")'),
    forbid("context has approval && context.approval.own", action="call"),
    forbid('[Role::"READONLY", Role::"CLIENT"].contains(resource.least_role) && principal.level >= 2'),
    forbid("resource.extra_roles.isEmpty() && resource is Tool", action="call_without_approval"),
]


situations = st.builds(
    situation,
    role=st.sampled_from([None, *Role]),
    kind=st.sampled_from(["person", "service_account"]),
    mode=st.sampled_from(["person", "agent"]),
    attended=st.booleans(),
    door=st.sampled_from(DOORS),
    level=st.sampled_from(list(Level)),
    tool=st.sampled_from(["task_create", "task_list", "release_submit", *BEYOND, *ANSWERS, *NOT_LATER]),
    effect=st.sampled_from(EFFECTS),
    least_role=st.sampled_from(list(Role)),
    person_only=st.booleans(),
    control=st.sampled_from([None, "filings_submit", "plan_freeze"]),
    control_state=st.sampled_from(["not_applicable", "satisfied", "pending"]),
    assigns_other=st.booleans(),
    client_own_engagement=st.sampled_from([None, True, False]),
    run_cancelled=st.booleans(),
    approval_needs_role=st.sampled_from([None, Role.PARTNER]),
    approval_own=st.booleans(),
    approved=st.booleans(),
)
FIRM = Rulebook(firm_policies())


@given(situations, st.sets(st.sampled_from(range(len(ACCEPTED)))))
def test_an_organization_only_makes_stricter_and_never_by_an_error(asked: Situation, chosen: set[int]) -> None:
    own = own_policies(OwnPolicy(id=f"ours_{n}", text=ACCEPTED[n].replace('"ours"', f'"ours_{n}"')) for n in chosen)
    policies = FIRM.of(own)
    verdict, firms = policies.decide(asked), firm_policies().decide(asked)
    assert STRICTER[decision_of(verdict)] >= STRICTER[decision_of(firms)]
    assert "policy_error" not in verdict.reasons
    if decision_of(verdict) == decision_of(firms) == "allow":
        assert verdict == firms


EVERYTHING = [forbid(name="never"), forbid(name="ask_first", action="call_without_approval")]


def test_what_forbids_everything_does_not_forbid_taking_it_back() -> None:
    policies = FIRM.of(beside(*EVERYTHING))
    hand = {"mode": "person", "role": Role.SYSTEM_ADMIN, "effect": "commit", "person_only": True}
    assert policies.decide(situation(tool="policy_remove", **hand)) == firm_policies().decide(
        situation(tool="policy_remove", **hand)
    )
    assert policies.decide(situation(tool="policy_add", **hand)) == Deny(reasons=("never",))
    upkeep = situation(tool="approval_expire", role=Role.SERVICE_ACCOUNT, kind="service_account", attended=False)
    assert decision_of(policies.decide(upkeep)) == "allow"


def test_an_answer_is_not_asked_about_and_may_be_forbidden() -> None:
    answer = situation(tool="approval_decide", mode="person", role=Role.PARTNER, effect="commit")
    assert decision_of(FIRM.of(beside(EVERYTHING[1])).decide(answer)) == "allow"
    assert FIRM.of(beside(EVERYTHING[0])).decide(answer) == Deny(reasons=("never",))


@pytest.mark.parametrize("tool", sorted(NOT_LATER))
def test_what_cannot_wait_is_refused_where_a_person_would_have_to_be_asked(tool: str) -> None:
    asked = situation(tool=tool, mode="person", effect="prepare")
    assert FIRM.of(beside(EVERYTHING[1])).decide(asked) == Deny(reasons=("ask_first",))


def test_it_is_a_second_person_who_is_asked_by_whomever_the_call_is_made() -> None:
    policies = FIRM.of(beside(forbid(name="ask_first", action="call_without_approval", resource="task_create")))
    by_hand = policies.decide(situation(tool="task_create", mode="person", effect="prepare"))
    by_agent = policies.decide(situation(tool="task_create", effect="prepare"))
    assert isinstance(by_hand, NeedsApproval)
    assert isinstance(by_agent, NeedsApproval)
    assert (by_hand.four_eyes, by_agent.four_eyes) == (True, True)


def test_policies_that_are_not_those_recorded_or_not_fit_deny_and_taking_back_goes_on() -> None:
    spoiled = [
        UnreadPolicies(digest=b"\1" * 32),
        own_policies(
            [OwnPolicy(id="ours", text='@id("ours") permit (principal, action == Action::"call", resource);')]
        ),
        own_policies([OwnPolicy(id="ours", text=forbid("principal.gone"))]),
        own_policies([OwnPolicy(id="ours", text="(" * 3000)]),
    ]
    for own in spoiled:
        policies = Rulebook(firm_policies()).of(own)
        assert policies.decide(situation()) == Deny(reasons=("policy_error",))
        assert (
            decision_of(policies.decide(situation(tool="policy_remove", mode="person", role=Role.SYSTEM_ADMIN)))
            == "allow"
        )
        assert own_digest_of(policies.digest) == own.digest
        assert firm_digest_of(policies.digest) == firm_policies().digest


def test_a_name_that_a_later_version_gives_to_a_firm_wide_policy_too_stops_nothing() -> None:
    policies = FIRM.of(beside(forbid("principal.level == 0", name="role_too_low")))
    assert decision_of(policies.decide(situation())) == "allow"
    assert policies.decide(situation(level=Level.L0)) == Deny(reasons=("role_too_low",))


def test_sets_are_parsed_once_and_the_organizations_rules_are_among_the_rules() -> None:
    rulebook = Rulebook(firm_policies())
    own = beside(*ACCEPTED[:1])
    assert rulebook.of(own) is rulebook.of(own)
    assert rulebook.of(None) is rulebook.of(beside()) is firm_policies()
    (rule,) = [rule for rule in rulebook.of(own).rules if rule.file == "organization"]
    assert (rule.id, rule.says) == ("ours", "So we want it.")


def test_the_digest_is_of_ids_and_texts_and_of_nothing_else() -> None:
    one, other = accept(forbid(name="a"))[0], accept(forbid(name="b"))[0]
    assert own_policies([one, other]) == own_policies([other, one])
    assert own_policies([one]) != own_policies([other])
    assert own_policies([one]).having(other).lacking("a") == own_policies([other])
    changed = OwnPolicy(id="a", text=forbid("false", name="a"))
    assert own_policies([one]).having(changed) == own_policies([changed]) != own_policies([one])
