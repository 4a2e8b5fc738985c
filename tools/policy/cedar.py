"""The policy engine: how a situation is told to Cedar, and how its answer is read; its own numbering is never shown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, cast

import orjson

from domain.kernel import Level, Role
from tools.policy.files import NO_PERMIT, SCHEMA_NAME, PolicyFiles, PolicyFilesError
from tools.policy.situation import Situation

if TYPE_CHECKING:
    from cedarpy import AuthzResult, Diagnostics, PolicySet, Schema, ValidationResult

Json = dict[str, object]

_KEPT = 4
"""Sets of policies that stay parsed, the newest: an organization's own are kept where they are used."""


class EngineError(Exception):
    """The engine could not decide, or skipped a rule that it could not evaluate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The engine's answer to one question; `reasons` are the ids of the rules that made it so, sorted."""

    permitted: bool
    reasons: tuple[str, ...]


class _Entities(Protocol):
    def with_added_json_str(self, delta: str, schema: "Schema", /) -> "_Entities": ...


class _Binding(Protocol):
    """What is used of cedarpy, with the types that its own dictionaries leave out."""

    def is_authorized_batch(
        self, requests: list[Json], policies: "PolicySet", entities: _Entities, schema: "Schema", /
    ) -> "Sequence[AuthzResult]": ...

    def validate_policies(self, policies: str, schema: "Schema", /) -> "ValidationResult": ...


class _EntitiesType(Protocol):
    def from_json_str(self, s: str, schema: "Schema", /) -> _Entities: ...


class Engine:
    """Cedar with one set of policies, parsed once."""

    def __init__(self, *, binding: _Binding, policies: "PolicySet", schema: "Schema", ladder: _Entities) -> None:
        self._binding = binding
        self._policies = policies
        self._schema = schema
        self._ladder = ladder

    @classmethod
    @lru_cache(maxsize=_KEPT)
    def parse(cls, files: PolicyFiles) -> "Engine":
        """Raises  PolicyFilesError: the schema does not parse, or forbids what the policies say."""
        import cedarpy

        binding = cast(_Binding, cedarpy)
        try:
            schema = cedarpy.Schema.from_str(files.schema)
            ladder = cast(_EntitiesType, cedarpy.Entities).from_json_str(json.dumps(_ladder()), schema)
        except ValueError as fault:
            raise PolicyFilesError([f"{SCHEMA_NAME}: {fault}"]) from fault
        checked = binding.validate_policies(files.policies, schema)
        if not checked.validation_passed:
            raise PolicyFilesError([error.error for error in checked.errors] or ["the schema refuses the policies"])
        policies = cedarpy.PolicySet.from_str(files.policies)
        return cls(binding=binding, policies=policies, schema=schema, ladder=ladder)

    def ask(self, situation: Situation) -> tuple[Answer, Answer]:
        """The answers to `call` and to `call_without_approval`.

        Raises  EngineError, ValueError, TypeError: no answer that may be relied on.
        """
        entities = self._ladder.with_added_json_str(orjson.dumps(_entities(situation)).decode(), self._schema)
        context = orjson.dumps(_context(situation)).decode()
        requests: list[Json] = [
            {"principal": _CALLER, "action": action, "resource": _uid("Tool", situation.tool), "context": context}
            for action in _ACTIONS
        ]
        results = self._binding.is_authorized_batch(requests, self._policies, entities, self._schema)
        call, without_approval = results
        return _answer(call), _answer(without_approval)


def _answer(result: "AuthzResult") -> Answer:
    """The engine's answer, held to the rule that nothing went wrong on the way."""
    decision, errors = result.decision.value, result.diagnostics.errors
    if errors or decision not in ("Allow", "Deny"):
        raise EngineError(f"{decision}: {'; '.join(errors)}")
    return Answer(permitted=decision == "Allow", reasons=_names(result.diagnostics) or (NO_PERMIT,))


def _names(diagnostics: "Diagnostics") -> tuple[str, ...]:
    """The rules' own names. Raises  KeyError: a rule without one, which no file that was read holds."""
    named = cast("dict[str, str]", getattr(diagnostics, "id_annotations_by_reason", {}))
    return tuple(sorted(named[number] for number in diagnostics.reasons))


def _uid(kind: str, name: str) -> Json:
    return {"type": kind, "id": name}


def _entity(kind: str, name: str) -> Json:
    return {"__entity": _uid(kind, name)}


_CALLER = _uid("Principal", "caller")
_ACTIONS = (_uid("Action", "call"), _uid("Action", "call_without_approval"))
_STEPS = (Role.READONLY, Role.EMPLOYEE, Role.MANAGER, Role.PARTNER, Role.SYSTEM_ADMIN)


def _ladder() -> list[Json]:
    """The roles as entities, each in the step below it; one beside the ladder in the step it acts as."""
    below = {role: _STEPS[role.rank - 1] if role.rank else None for role in _STEPS}
    beside = {role: _STEPS[role.rank] for role in Role if role not in _STEPS}
    return [
        {"uid": _uid("Role", role), "attrs": {}, "parents": [_uid("Role", step)] if step else []}
        for role, step in {**below, **beside}.items()
    ]


def _entities(situation: Situation) -> list[Json]:
    """Principal and tool, as the schema has them."""
    return [
        {"uid": _CALLER, "attrs": _principal(situation), "parents": []},
        {"uid": _uid("Tool", situation.tool), "attrs": _tool(situation), "parents": []},
    ]


def _principal(situation: Situation) -> Json:
    """Roles and levels are made anew here and below, since the schema cannot know every wrong one."""
    principal: Json = {
        "kind": _uid("Kind", situation.kind),
        "by_hand": situation.by_hand,
        "attended": situation.attended,
        "door": _uid("Door", situation.door),
        "level": int(Level(situation.level)),
    }
    if situation.role is not None:
        principal["role"] = _uid("Role", Role(situation.role))
    return principal


def _tool(situation: Situation) -> Json:
    tool: Json = {
        "effect": _uid("Effect", situation.effect),
        "least_role": _uid("Role", Role(situation.least_role)),
        "extra_roles": [_uid("Role", Role(role)) for role in situation.extra_roles],
        "doors": [_uid("Door", door) for door in situation.doors],
        "person_only": situation.person_only,
    }
    if situation.control is not None:
        tool["control"] = situation.control
    if situation.minimum_level is not None:
        tool["minimum_level"] = int(Level(situation.minimum_level))
    return tool


_SAID = (
    "sign_off_kind",
    "own_statement",
    "client_own_task",
    "client_own_engagement",
    "budget_exhausted",
    "delegation_concerned",
    "widens",
)
"""Facts that are told as they are, where there are any."""


def _context(situation: Situation) -> Json:
    """What the database said about the arguments."""
    context: Json = {
        "assigns_other": situation.assigns_other,
        "control_state": _entity("ControlState", situation.control_state),
        "run_cancelled": situation.run_cancelled,
    }
    context |= {name: said for name in _SAID if (said := getattr(situation, name)) is not None}
    if situation.taint is not None:
        context["taint"] = _entity("Trust", situation.taint)
    if situation.approval_needs_role is not None:
        context["approval"] = _approval(situation, situation.approval_needs_role)
    if situation.delegate_role is not None:
        context["delegate_role"] = _entity("Role", Role(situation.delegate_role))
    return context


def _approval(situation: Situation, needs_role: Role) -> Json:
    approval: Json = {
        "needs_role": _entity("Role", Role(needs_role)),
        "own": situation.approval_own,
        "four_eyes": situation.approval_four_eyes,
    }
    if situation.approval_deputy_role is not None:
        role = _entity("Role", Role(situation.approval_deputy_role))
        approval["deputy"] = {"role": role, "own": situation.approval_deputy_own}
    return approval
