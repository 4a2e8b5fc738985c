"""Whether the tests suffice: for each policy some test fails without it, and some where it would hold of everything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tools.policy import Policies
from tools.policy.files import PolicyFiles
from tools.policy.mutants import unconditional, without
from tools.policy_cases.model import Case

Spoiled = Literal["removed", "unconditional"]
WORDS: dict[Spoiled, str] = {
    "removed": "no test fails when it is taken out: expect it as a reason somewhere",
    "unconditional": "no test fails when it always holds: expect somewhere that it is no reason",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Untested:
    """A policy that could be spoiled, and no test would tell."""

    rule: str
    file: str
    spoiled: Spoiled

    @property
    def says(self) -> str:
        """The same for a person."""
        return f"{self.file}: {self.rule}: {WORDS[self.spoiled]}"


def untested(cases: Sequence[Case], files: PolicyFiles) -> tuple[Untested, ...]:
    """The policies that these cases, which all pass, would not miss.

    A permit may well be as wide as can be, so only its absence must be told.
    """
    kept = Policies.of(files)
    expected = {reason for case in cases for reason in kept.decide(case.situation).reasons}
    return tuple(_untested(cases, files, expected))


def _untested(cases: Sequence[Case], files: PolicyFiles, expected: set[str]) -> Iterator[Untested]:
    for rule in files.rules:
        if rule.id not in expected and not _told(cases, without(files, rule.id)):
            yield Untested(rule=rule.id, file=rule.file, spoiled="removed")
        if rule.effect == "forbid" and not _told(cases, unconditional(files, rule.id)):
            yield Untested(rule=rule.id, file=rule.file, spoiled="unconditional")


def _told(cases: Sequence[Case], spoiled: PolicyFiles) -> bool:
    policies = Policies.of(spoiled)
    return any(not case.expected.holds_of(policies.decide(case.situation)) for case in cases)
