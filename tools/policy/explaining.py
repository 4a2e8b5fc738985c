"""Why a situation gets its verdict: each fact is changed by itself, and the policies are asked what they say then."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import cast, get_args

import orjson

from domain.kernel import DOORS, TRUSTS, Level, Mode, Role
from tools.explanations import Because, Change, Explanation
from tools.outcomes import Verdict, decision_of
from tools.policy.files import APPROVED, NO_PERMIT, POLICY_ERROR
from tools.policy.situation import Situation
from tools.policy.verdicts import Policies

OWN_WORDS: Mapping[str, str] = {
    APPROVED: "A person has approved this very call.",
    NO_PERMIT: "No policy permits it.",
    POLICY_ERROR: "The policies could not be evaluated, and what cannot be evaluated is refused.",
}
"""Of the reasons that are no policy's."""
CONTROL_STATES = ("not_applicable", "satisfied", "pending", "changes_required")
_LADDER = (Role.READONLY, Role.EMPLOYEE, Role.MANAGER, Role.PARTNER, Role.SYSTEM_ADMIN)
_TRUTH = (False, True)


def explain(policies: Policies, situation: Situation, fixed: Collection[str] = ()) -> Explanation:
    """The verdict on a situation, which of its facts it hangs on, and which would give another decision.

    `fixed`: facts that cannot be otherwise in any call of this tool, and are left as they are. About fifty verdicts.
    """
    verdict = policies.decide(situation)
    others = {fact: values for fact, values in _others(situation).items() if fact not in fixed}
    changes = [change for change in _changes(policies, situation, others) if change.verdict != verdict]
    return Explanation(
        verdict=verdict,
        because=_because(policies, verdict),
        saw=cast("dict[str, object]", orjson.loads(situation.canonical_json())),
        mattered=tuple(dict.fromkeys(change.fact for change in changes)),
        would_change=tuple(change for change in changes if decision_of(change.verdict) != decision_of(verdict)),
    )


def _changes(policies: Policies, situation: Situation, others: Mapping[str, tuple[object, ...]]) -> Iterator[Change]:
    """One for each fact and each verdict that other values of it give."""
    for fact, values in others.items():
        now = getattr(situation, fact)
        given: dict[Verdict, list[object]] = {}
        for value in values:
            if value != now:
                given.setdefault(policies.decide(replace(situation, **{fact: value})), []).append(value)
        for verdict, to in given.items():
            yield Change(fact=fact, now=now, to=tuple(to), verdict=verdict, because=_because(policies, verdict))


def _others(situation: Situation) -> dict[str, tuple[object, ...]]:
    """The values that each fact of caller and arguments may take; what the tool's manifest says is left as it is.

    What the call does not say anything of stays so.
    """
    person = situation.kind == "person"
    found: dict[str, tuple[object, ...]] = {
        "role": tuple(role for role in Role if role is not Role.SERVICE_ACCOUNT) if person else (),
        "mode": get_args(Mode),
        "attended": _TRUTH if person else (),
        "door": DOORS,
        "level": tuple(Level),
        "approved": _TRUTH,
        "control_state": () if situation.control is None else CONTROL_STATES,
        "taint": () if situation.taint is None else TRUSTS,
        "approval_needs_role": () if situation.approval_needs_role is None else _LADDER,
        "approval_deputy_role": () if situation.approval_needs_role is None else (None, *_LADDER),
    }
    return found | {name: _TRUTH for name in _said(situation) if name not in found}


def _said(situation: Situation) -> Iterator[str]:
    """The facts that are true or false of this call."""
    asked = situation.approval_needs_role is not None
    for name in situation.__slots__:
        manifests = name in ("person_only", "rule_four_eyes")
        unasked = name.startswith("approval_") and not asked
        if isinstance(getattr(situation, name), bool) and not manifests and not unasked:
            yield name


def _because(policies: Policies, verdict: Verdict) -> tuple[Because, ...]:
    rules = {rule.id: rule for rule in policies.rules}
    return tuple(
        Because(policy=reason, says=rules[reason].says, file=rules[reason].file)
        if reason in rules
        else Because(policy=reason, says=OWN_WORDS.get(reason), file=None)
        for reason in verdict.reasons
    )
