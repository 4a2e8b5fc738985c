"""Whether an organization's own policy, accepted once, can still be used by the program and the policies of now."""

from collections.abc import Collection
from dataclasses import dataclass

from domain.policies.model import OwnPolicy, own_policies
from tools.policy.files import PolicyFilesError
from tools.policy.own import own_rule, tools_in
from tools.policy.rulebook import Rulebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What has become of a policy that was put in force by an earlier version."""

    faults: tuple[str, ...]
    """Why it cannot be used: then all calls that its organization's policies may reach are denied. Empty: it can."""
    gone: tuple[str, ...]
    """The tools that it names and that are not there any more; of a tool of another name it says nothing."""


def standing_of(policy: OwnPolicy, rulebook: Rulebook, tools: Collection[str]) -> Standing:
    """How it stands beside the policies of now; `tools`: those that there are."""
    try:
        rulebook.checked(own_policies([policy]))
        named = tools_in(own_rule(policy.text).parsed)
    except PolicyFilesError as fault:
        return Standing(faults=fault.faults, gone=())
    return Standing(faults=(), gone=tuple(sorted(named - set(tools))))
