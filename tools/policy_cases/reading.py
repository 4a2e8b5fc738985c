"""Reads the tests of a folder of policies, and says plainly what is wrong with one that cannot be used."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import cast
from uuid import UUID

import orjson
from pydantic import ValidationError

from domain.autonomy.model import AutonomyRange
from domain.kernel import Door, Level, Mode, OrganizationId, Principal, PrincipalId, Role
from tools.facts import Facts
from tools.manifest import Manifest
from tools.policy import Situation, situation_from_json, situation_of
from tools.policy.files import APPROVED, NO_PERMIT, POLICY_ERROR, TESTS_SUFFIX
from tools.policy_cases.model import Case, CasesInvalid, Expected
from tools.policy_cases.written import Json, WrittenTest, written_test
from tools.workflows import Workflows
from tools.yaml_files import UnreadableYaml, read_yaml

_OF_CALLER = frozenset({"role", "kind", "mode", "attended", "door", "level", "approved"})
_OF_TOOL = frozenset(
    {"tool", "effect", "least_role", "extra_roles", "doors", "person_only", "autonomy", "minimum_level"}
    | {"rule_role", "rule_four_eyes", "control", "sign_off_kind"}
)
FACTS = frozenset(field.name for field in fields(Situation)) - _OF_CALLER - _OF_TOOL
"""What a test may say under `facts`: what the database would have said of the arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a test may name."""

    manifests: Mapping[str, Manifest]
    workflows: Workflows
    rules: Collection[str]


def read_cases(
    folder: Path, manifests: Mapping[str, Manifest], workflows: Workflows, rules: Collection[str]
) -> tuple[Case, ...]:
    """Every case of the folder's `*.test.yaml`, in the order of their files.

    `rules`: the ids of the policies that reasons may name.
    Raises  CasesInvalid: all that is wrong with them, or that there are none.
    """
    known = Known(manifests=manifests, workflows=workflows, rules=rules)
    faults: list[str] = []
    paths = sorted(folder.glob(f"*{TESTS_SUFFIX}")) if folder.is_dir() else []
    cases = [case for path in paths for case in _cases_in(path, known, faults)]
    if not paths:
        faults.append(f"{folder}: has no tests (*{TESTS_SUFFIX})")
    if faults:
        raise CasesInvalid(faults)
    return tuple(cases)


def _cases_in(path: Path, known: Known, faults: list[str]) -> Iterator[Case]:
    names: set[str] = set()
    for number, raw in enumerate(_entries(path, faults), start=1):
        test = written_test(raw)
        if not isinstance(test, WrittenTest):
            faults += [f"{path.name}: {_label(raw, number)}: {fault}" for fault in test]
            continue
        where = f"{path.name}: {test.name!r}"
        if test.name in names:
            faults.append(f"{where}: another test of this file has this name")
        names.add(test.name)
        wrong = [f"{where}: {fault}" for fault in _senseless(test, known)]
        faults += wrong
        if not wrong:
            yield from _cases_of(test, path.name, known, faults)


def _entries(path: Path, faults: list[str]) -> list[object]:
    try:
        raw = read_yaml(path)
    except UnreadableYaml as unreadable:
        faults.append(str(unreadable))
        return []
    tests = raw.get("tests")
    if raw.keys() != {"tests"} or not isinstance(tests, list) or not tests:
        faults.append(f"{path.name}: holds one key, `tests`, and under it a list of at least one")
        return []
    return cast("list[object]", tests)


def _label(raw: object, number: int) -> str:
    name = cast(Json, raw).get("name") if isinstance(raw, dict) else None
    return repr(name) if isinstance(name, str) else f"test {number}"


def _senseless(test: WrittenTest, known: Known) -> Iterator[str]:
    """What no single key shows: names that nothing has, and keys that do not go together."""
    for name in test.tool:
        if name not in known.manifests:
            yield f"tool: there is no tool named {name!r}"
        else:
            yield from _not_the_tools(test, known.manifests[name], known)
    if unknown := sorted(test.facts.keys() - FACTS):
        yield f"facts: there is no fact {unknown[0]!r}; the facts are {', '.join(sorted(FACTS))}"
    if test.reasons is None and test.expect != "allow":
        yield "reasons: say the @id of every policy that is to be the reason"
    for reason in test.reasons or ():
        if reason not in known.rules and reason not in (NO_PERMIT, POLICY_ERROR, APPROVED):
            yield f"reasons: no policy has the @id {reason!r}"
    if test.expect != "needs_approval" and (test.decided_by is not None or test.four_eyes is not None):
        yield "decided_by, four_eyes: nobody decides a call that does not need approval"


def _not_the_tools(test: WrittenTest, manifest: Manifest, known: Known) -> Iterator[str]:
    taken = cast(Json, manifest.arguments.get("properties", {}))
    if unknown := sorted(test.arguments.keys() - taken.keys()):
        yield f"arguments: {manifest.name} takes no {unknown[0]!r}"
    if test.workflow is not None and manifest.autonomy != "workflow":
        yield f"workflow: {manifest.name} starts none"
    elif test.workflow is not None and known.workflows.find(test.workflow) is None:
        yield f"workflow: there is no workflow named {test.workflow!r}"


def _cases_of(test: WrittenTest, file: str, known: Known, faults: list[str]) -> Iterator[Case]:
    """One case for each combination of what the test lists."""
    expected = Expected(
        decision=test.expect,
        reasons=None if test.reasons is None else tuple(sorted(set(test.reasons))),
        decided_by=test.decided_by,
        four_eyes=test.four_eyes,
    )
    lists = (test.role, test.tool, test.mode, test.door or (None,), test.level)
    told = [number for number, values in enumerate(lists) if len(values) > 1]
    for combination in product(*lists):
        variant = ", ".join(str(combination[number] or "none") for number in told)
        role, tool, mode, door, level = combination
        caller = _principal(test, role, mode, door)
        try:
            situation = _situation(test, known.manifests[tool], caller, role, Level[level], known)
        except ValueError as unfit:
            faults.append(f"{file}: {test.name!r}: facts: {_words(unfit)}")
            return
        yield Case(file=file, name=test.name, variant=variant, situation=situation, expected=expected)


def _principal(test: WrittenTest, role: Role | None, mode: Mode, door: Door | None) -> Principal:
    usual: Door = "chat" if mode == "agent" else "rest"
    return Principal(
        organization_id=OrganizationId(UUID(int=0)),
        principal_id=PrincipalId(UUID(int=0)),
        kind=test.kind or ("service_account" if role is Role.SERVICE_ACCOUNT else "person"),
        mode=mode,
        door=door or usual,
    )


def _situation(
    test: WrittenTest, manifest: Manifest, caller: Principal, role: Role | None, level: Level, known: Known
) -> Situation:
    """What policy would see: the tool as its manifest says, the caller and the facts as the test says.

    Raises  ValueError: a fact of another type than the situation has.
    """
    workflow = known.workflows.find(test.workflow)
    plain = situation_of(
        manifest,
        caller,
        Facts(role=role, range=_range(level), subjects={}, control_state="not_applicable", control_missing=()),
        persona_ceiling=Level.L3,
        minimum_level=manifest.minimum_autonomy if workflow is None else workflow.minimum_autonomy,
        approved=test.approved,
        control=manifest.control_in(test.arguments),
        sign_off_kind=manifest.sign_off_kind_in(test.arguments),
    )
    if test.attended is not None:
        plain = replace(plain, attended=test.attended)
    recorded = cast(Json, orjson.loads(plain.canonical_json()))
    return situation_from_json(orjson.dumps(recorded | test.facts))


def _range(level: Level) -> AutonomyRange:
    return AutonomyRange(
        organization_level=level,
        floor=Level.L0,
        ceiling=Level.L3,
        tool_ceiling=Level.L3,
        autopilot_disabled=False,
    )


def _words(unfit: ValueError) -> str:
    if not isinstance(unfit, ValidationError):
        return str(unfit)
    first = unfit.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
