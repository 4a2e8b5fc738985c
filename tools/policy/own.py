"""An organization's own policies, held to what they may be: one forbid each, by what it parses to, never by its text.

The engine overflows its stack on deep nesting, which would take the process down: hence brackets are counted before it
sees a text. What passes here cannot fail when it is evaluated: no arithmetic, no extension that parses strings, and no
attribute but of what the call is about. So neither an error nor a long evaluation comes in by this way.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from domain.policies.model import OwnPolicy
from tools.policy.files import PolicyFilesError, Rule, rules_in

Json = dict[str, object]
Kind = Literal["forbid", "ask"]

OWN_FILE = "organization"
"""Where a rule stands that is the organization's own."""
TEXT_LIMIT = 4000
SAYS_LIMIT = 300
NODES = 200
"""Literals, names and operators in one policy: evaluation takes no loop, so this bounds its time."""
DEPTH = 32
BRACKETS = 100

_KINDS: dict[str, Kind] = {"call": "forbid", "call_without_approval": "ask"}
_COMPARING = ("==", "!=", "<", "<=", ">", ">=", "contains", "containsAll", "containsAny", "isEmpty", "in", "is", "like")
_OPERATORS = frozenset(("Var", "Value", "Set", ".", "has", "if-then-else", "&&", "||", "!", *_COMPARING))
_PARTS = ("left", "right", "arg", "if", "then", "else", "in")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRule:
    """One of the organization's own, parsed."""

    rule: Rule
    kind: Kind
    """What it does: forbid the call, or have a person asked first."""
    parsed: Json


def own_rule(text: str) -> OwnRule:
    """The one policy that the text is, and that it only makes stricter what is decided.

    Raises  PolicyFilesError: anything else.
    """
    if len(text) > TEXT_LIMIT:
        raise PolicyFilesError([f"it is longer than {TEXT_LIMIT:,} characters"])
    if sum(map(text.count, "([{")) > BRACKETS:
        raise PolicyFilesError([f"it opens more than {BRACKETS} brackets"])
    faults: list[str] = []
    rules = list(rules_in(OWN_FILE, text, faults))
    if not faults and len(rules) != 1:
        faults.append(f"it holds {len(rules) or 'no'} policies; each is put in force by itself")
    if faults:
        raise PolicyFilesError([fault.removeprefix(f"{OWN_FILE}: ") for fault in faults])
    parsed = _parsed(text)
    action = cast(Json, cast(Json, parsed["action"]).get("entity", {})).get("id")
    if rules[0].effect != "forbid":
        raise PolicyFilesError(["it permits; an organization's own policies only forbid, or have a person asked first"])
    if cast(Json, parsed["action"])["op"] != "==" or action not in _KINDS:
        named = " or ".join(f'action == Action::"{name}"' for name in _KINDS)
        raise PolicyFilesError([f"it does not say what of: {named}"])
    return OwnRule(rule=rules[0], kind=_KINDS[cast(str, action)], parsed=parsed)


def accept(text: str) -> tuple[OwnPolicy, tuple[str, ...]]:
    """The policy, as it is to be kept, and the tools that it names; what the schema says of it is asked elsewhere.

    Raises  PolicyFilesError: it is none that an organization may have.
    """
    text = text.strip()
    held = own_rule(text)
    faults = [*_annotation_faults(held), *_scope_faults(held.parsed), *_condition_faults(held.parsed)]
    if faults:
        raise PolicyFilesError(list(dict.fromkeys(faults)))
    return OwnPolicy(id=held.rule.id, text=text), tuple(sorted(tools_in(held.parsed)))


def _parsed(text: str) -> Json:
    import cedarpy

    policies = cast(Json, json.loads(cedarpy.policies_to_json_str(text)))["staticPolicies"]
    (policy,) = cast("dict[str, Json]", policies).values()
    return policy


def _annotation_faults(held: OwnRule) -> Iterator[str]:
    if not (held.rule.says or "").strip():
        yield "it lacks @says, the rule in one sentence for people"
    elif len(held.rule.says or "") > SAYS_LIMIT:
        yield f"its @says is longer than {SAYS_LIMIT} characters"
    for name in sorted(cast(Json, held.parsed["annotations"]).keys() - {"id", "says"}):
        yield f"it has an annotation @{name}; there are @id and @says"


def _scope_faults(parsed: Json) -> Iterator[str]:
    """Policy sees no ids: who is meant is said of the role, the kind, the door, in the conditions."""
    if cast(Json, parsed["principal"])["op"] not in ("All", "is"):
        yield "it names a principal; say in `when` of which role, kind or door"


def _condition_faults(parsed: Json) -> Iterator[str]:
    nodes = 0
    waiting = [(1, cast(Json, each)["body"]) for each in cast("list[object]", parsed["conditions"])]
    while waiting:
        depth, node = waiting.pop()
        nodes += 1
        if nodes > NODES or depth > DEPTH:
            yield "it is too large: " + (f"more than {NODES} parts" if nodes > NODES else f"nested beyond {DEPTH}")
            return
        ((operator, operand),) = cast(Json, node).items()
        yield from _faults_at(operator, operand)
        waiting += [(depth + 1, part) for part in _parts(operator, operand)]


def _faults_at(operator: str, operand: object) -> Iterator[str]:
    """What could fail at evaluation however well the schema is held to."""
    if operator not in _OPERATORS:
        yield f"it uses `{operator}`, which an organization's own policy may not"
    elif operator in (".", "has") and not _rooted(cast(Json, operand)["left"]):
        yield "it asks for an attribute of something other than principal, resource and context"
    elif operator == "Value" and isinstance(operand, dict) and "__entity" not in operand:
        yield "it holds a literal of a kind that it may not"


def _rooted(node: object) -> bool:
    while isinstance(node, dict) and "." in node:
        node = cast(Json, cast(Json, node)["."])["left"]
    return isinstance(node, dict) and "Var" in node


def _parts(operator: str, operand: object) -> list[object]:
    if operator in ("Var", "Value"):
        return []
    if isinstance(operand, list):
        return list(cast("list[object]", operand))
    held = cast(Json, operand) if isinstance(operand, dict) else {}
    return [held[name] for name in _PARTS if isinstance(held.get(name), dict)]


def tools_in(node: object) -> set[str]:
    """The tools that a policy names; of one that is not there the schema says nothing, and it would never fire."""
    if isinstance(node, list):
        return {name for item in cast("list[object]", node) for name in tools_in(item)}
    if not isinstance(node, dict):
        return set()
    parts = cast(Json, node)
    if parts.get("type") == "Tool" and isinstance(name := parts.get("id"), str):
        return {name}
    return {name for item in parts.values() for name in tools_in(item)}
