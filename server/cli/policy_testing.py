"""`glow policy test`: the tests beside the policies, run; a table of what came otherwise than expected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from domain.resources import resource_folder
from server.cli.printing import complain, say, say_json, say_table
from tools.manifest_files import load_manifests
from tools.outcomes import Json, NeedsApproval, Verdict, verdict_json
from tools.policy import Policies
from tools.policy.files import PolicyFiles, read_policy_files
from tools.policy_cases import Case, Expected, Failure, Untested, failures, read_cases, untested
from tools.workflows import load_workflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What came of one folder's tests."""

    cases: tuple[Case, ...]
    policies: int
    failures: tuple[Failure, ...]
    untested: tuple[Untested, ...]
    """Empty where a test failed: what its failure hides is not known then."""
    words: Mapping[str, str]
    """What each rule says, by its id."""


def test(folder: Path | None, *, as_json: bool) -> bool:
    """Run them and print what came of it; False where one failed, or a policy is not tested.

    Raises  PolicyFilesError, CasesInvalid, ManifestFilesError, WorkflowFilesError.
    """
    tested = run_tests(folder or resource_folder("manifests") / "policies")
    say_json(_as_json(tested)) if as_json else _print(tested)
    return not tested.failures and not tested.untested


def run_tests(folder: Path) -> Tested:
    """The tests of that folder, of calls of the tools that ship."""
    manifests_folder = resource_folder("manifests")
    manifests = {manifest.name: manifest for manifest in load_manifests(manifests_folder)}
    workflows = load_workflows(manifests_folder / "workflows", manifests)
    files = read_policy_files(folder)
    policies = Policies.of(files)
    cases = read_cases(folder, manifests, workflows, {rule.id for rule in files.rules})
    failed = failures(cases, policies)
    return Tested(
        cases=cases,
        policies=len(files.rules),
        failures=failed,
        untested=() if failed else untested(cases, files),
        words=_words(files),
    )


def _words(files: PolicyFiles) -> Mapping[str, str]:
    return {rule.id: rule.says for rule in files.rules if rule.says is not None}


def _print(tested: Tested) -> None:
    if tested.failures:
        rows = [_row(failure, tested.words) for failure in tested.failures]
        say_table(("test", "expected", "came", "because"), rows)
        say(f"\n{len(tested.failures)} of {len(tested.cases)} calls are decided otherwise than expected.")
        return
    for gap in tested.untested:
        complain(gap.says)
    if tested.untested:
        say(f"{len(tested.cases)} calls are decided as expected, and {len(tested.untested)} gaps are left.")
    else:
        say(
            f"{len(tested.cases)} calls are decided as expected; each of {tested.policies} policies would be missed "
            "if it went, or if it held of everything."
        )


def _row(failure: Failure, words: Mapping[str, str]) -> tuple[str, str, str, str]:
    case = failure.case
    named = case.name + (f" [{case.variant}]" if case.variant else "")
    because = " ".join(words.get(reason, reason) for reason in failure.verdict.reasons)
    return f"{case.file}: {named}", _expected(case.expected), _came(failure.verdict, case.expected), because


def _expected(expected: Expected) -> str:
    return _told(expected.decision, expected.reasons or (), expected.decided_by, expected.four_eyes)


def _came(verdict: Verdict, expected: Expected) -> str:
    """Who decides is shown where the test says anything of it."""
    asks = verdict if isinstance(verdict, NeedsApproval) else None
    decision = str(verdict_json(verdict)["decision"])
    by = asks and expected.decided_by and asks.needs_role
    eyes = None if asks is None or expected.four_eyes is None else asks.four_eyes
    return _told(decision, verdict.reasons, by, eyes)


def _told(decision: str, reasons: Sequence[str], decided_by: str | None, four_eyes: bool | None) -> str:
    parts = [decision, *([", ".join(reasons)] if reasons else [])]
    parts += [f"decided by {decided_by}"] if decided_by else []
    parts += [] if four_eyes is None else ["four eyes" if four_eyes else "two eyes"]
    return "; ".join(parts)


def _as_json(tested: Tested) -> Json:
    return {
        "calls": len(tested.cases),
        "policies": tested.policies,
        "failures": [_failure_json(failure) for failure in tested.failures],
        "untested": [{"rule": gap.rule, "file": gap.file, "spoiled": gap.spoiled} for gap in tested.untested],
    }


def _failure_json(failure: Failure) -> Json:
    expected = failure.case.expected
    return {
        "file": failure.case.file,
        "test": failure.case.name,
        "variant": failure.case.variant,
        "expected": {
            "decision": expected.decision,
            **({} if expected.reasons is None else {"reasons": list(expected.reasons)}),
            **({} if expected.decided_by is None else {"decided_by": str(expected.decided_by)}),
            **({} if expected.four_eyes is None else {"four_eyes": expected.four_eyes}),
        },
        "came": {**verdict_json(failure.verdict), **_asks_json(failure.verdict)},
    }


def _asks_json(verdict: Verdict) -> Json:
    if not isinstance(verdict, NeedsApproval):
        return {}
    return {"decided_by": str(verdict.needs_role), "four_eyes": verdict.four_eyes}
