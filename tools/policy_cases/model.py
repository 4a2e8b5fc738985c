"""One test of the policies: a call as policy would see it, and the verdict that the firm expects of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.kernel import Decision, Role
from tools.outcomes import NeedsApproval, Verdict, decision_of
from tools.policy import Policies, Situation


class CasesInvalid(Exception):
    """The tests cannot be used. Lists every fault that was found, each with its file and test."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the test says of the verdict; None: it says nothing of that."""

    decision: Decision
    reasons: tuple[str, ...] | None
    """Sorted, and all of them."""
    decided_by: Role | None = None
    """The least role that may approve."""
    four_eyes: bool | None = None

    def holds_of(self, verdict: Verdict) -> bool:
        """Whether the verdict is the one that the test expects."""
        asks = verdict if isinstance(verdict, NeedsApproval) else None
        return (
            decision_of(verdict) == self.decision
            and self.reasons in (None, verdict.reasons)
            and self.decided_by in (None, asks and asks.needs_role)
            and self.four_eyes in (None, asks and asks.four_eyes)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call that a test speaks of; a test that lists several roles, tools or doors speaks of each."""

    file: str
    name: str
    variant: str
    """Which of the calls that the test speaks of; empty where it is only one."""
    situation: Situation
    expected: Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A case whose verdict is another than the test expects."""

    case: Case
    verdict: Verdict


def failures(cases: Sequence[Case], policies: Policies) -> tuple[Failure, ...]:
    """The cases that these policies decide otherwise than expected, in their order."""
    decided = ((case, policies.decide(case.situation)) for case in cases)
    return tuple(
        Failure(case=case, verdict=verdict) for case, verdict in decided if not case.expected.holds_of(verdict)
    )
