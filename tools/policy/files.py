"""The policies' files, read and checked at start: each rule has a name of its own, and none is there in vain."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from domain.kernel import Role

Json = dict[str, object]

SCHEMA_NAME = "schema.cedarschema"
TESTS_SUFFIX = ".test.yaml"
"""What the policies are tested by stands beside them, and decides nothing: neither read here nor part of the digest."""
NO_PERMIT = "no_permit"
"""The reason of a plain default deny, which no rule named."""
POLICY_ERROR = "policy_error"
APPROVED = "approved"
"""The reason of a call that policy would have asked a person about, had a person not answered."""

_RESERVED = frozenset({NO_PERMIT, POLICY_ERROR, APPROVED})
_KEPT = 4
"""Folders that stay read, the newest."""
_RULE_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
DEPTH = 100
LENGTH = 10_000
"""Brackets within one another, and characters of one policy besides its strings and comments: the parsers descend once
for each level, and beyond some thousands the engine would take the process down with it."""
_UNREAD = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"')
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


class PolicyFilesError(Exception):
    """The policies cannot be used; the server does not start. Lists every fault that was found."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One policy as its file names it; its id is the reason that verdicts give."""

    id: str
    effect: Literal["permit", "forbid"]
    file: str
    says: str | None = None
    """The rule in its own words, its annotation `@says`; None where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFiles:
    """A folder's policies, well named; whether the schema agrees, the engine says."""

    policies: str
    schema: str
    rules: tuple[Rule, ...]
    """By id."""
    digest: bytes
    """SHA-256 over the files' names and contents, the schema among them."""


def read_policy_files(folder: Path) -> PolicyFiles:
    """The *.cedar files of a folder and their schema.

    Raises  PolicyFilesError: a file that is no policy, or a policy without an @id of its own.
    """
    return policy_files(read_policy_texts(folder))


def policy_files(texts: Mapping[str, str]) -> PolicyFiles:
    """The policies that these texts make, by file name; one of them is the schema.

    Raises  PolicyFilesError: no schema, no policies, or a policy without an @id of its own.
    """
    return _policy_files(tuple(sorted(texts.items())))


@lru_cache(maxsize=_KEPT)
def _policy_files(named: tuple[tuple[str, str], ...]) -> PolicyFiles:
    """Texts that said the same a moment ago are not parsed again: opening a hub takes a third less."""
    texts = dict(named)
    policies = {name: text for name, text in named if name != SCHEMA_NAME}
    _refuse_incomplete(texts, [])
    # A set of sets is written in angle brackets there, which are no brackets elsewhere.
    if too_large(texts[SCHEMA_NAME].translate(str.maketrans("<>", "()"))):
        raise PolicyFilesError([f"{SCHEMA_NAME}: it is nested too deeply"])
    return PolicyFiles(
        policies="\n".join(policies.values()),
        schema=texts[SCHEMA_NAME],
        rules=_rules_of(policies),
        digest=_digest(texts),
    )


def read_policy_texts(folder: Path) -> dict[str, str]:
    """The policies and the schema of a folder by file name, sorted, and not yet understood.

    Raises  PolicyFilesError: a file that is none of them, or none there.
    """
    faults: list[str] = []
    texts: dict[str, str] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith((".", "__")):
            _read_one(path, texts, faults)
    _refuse_incomplete(texts, faults, f"{folder}: ")
    return texts


def _refuse_incomplete(texts: Mapping[str, str], faults: list[str], where: str = "") -> None:
    if SCHEMA_NAME not in texts:
        faults.append(f"{where}has no {SCHEMA_NAME}")
    if not texts.keys() - {SCHEMA_NAME}:
        faults.append(f"{where}has no policies")
    if faults:
        raise PolicyFilesError(faults)


def _read_one(path: Path, texts: dict[str, str], faults: list[str]) -> None:
    """A file that is neither policy nor schema is a fault: its rules would not hold, and nobody would notice."""
    if path.name.endswith(TESTS_SUFFIX):
        return
    if path.suffix != ".cedar" and path.name != SCHEMA_NAME:
        faults.append(f"{path.name}: neither *.cedar nor {SCHEMA_NAME}")
        return
    try:
        texts[path.name] = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        faults.append(f"{path.name}: cannot be read: {fault}")


def _rules_of(texts: Mapping[str, str]) -> tuple[Rule, ...]:
    faults: list[str] = []
    rules: dict[str, Rule] = {}
    for name, text in texts.items():
        for rule in rules_in(name, text, faults):
            if rule.id in rules:
                faults.append(f"{name}: @id {rule.id!r} stands in {rules[rule.id].file} already")
            rules[rule.id] = rule
    if faults:
        raise PolicyFilesError(faults)
    return tuple(rules[key] for key in sorted(rules))


def rules_in(name: str, text: str, faults: list[str]) -> Iterator[Rule]:
    """The policies of one text; what is wrong with them goes to `faults`."""
    import cedarpy

    if too_large(text):
        faults.append(f"{name}: a policy is nested too deeply, or longer than {LENGTH:,} characters")
        return
    try:
        parsed = cast(Json, json.loads(cedarpy.policies_to_json_str(text)))
    except ValueError as fault:
        faults.append(f"{name}: {fault}")
        return
    except RecursionError:
        faults.append(f"{name}: it is nested too deeply")
        return
    if parsed["templates"]:
        faults.append(f"{name}: holds a template, which forbids nothing until it is linked; write it as a policy")
    for policy in cast("dict[str, Json]", parsed["staticPolicies"]).values():
        annotations = cast(Json, policy.get("annotations", {}))
        annotation, says = annotations.get("id"), annotations.get("says")
        faults += [f"{name}: {annotation}: no role is named {role!r}" for role in sorted(_unknown_roles(policy))]
        if not isinstance(annotation, str) or not _RULE_ID.fullmatch(annotation):
            faults.append(f"{name}: a policy's @id is {annotation!r}; it takes the form {_RULE_ID.pattern}")
        elif annotation in _RESERVED:
            faults.append(f"{name}: @id {annotation!r} is a reason that the gate gives itself")
        else:
            effect = cast(Literal["permit", "forbid"], policy["effect"])
            yield Rule(id=annotation, effect=effect, file=name, says=says if isinstance(says, str) else None)


def too_large(text: str) -> bool:
    """Whether one of the text's policies, or of its schema's declarations, is more than a parser may be given."""
    for each in _UNREAD.sub("", text).split(";"):
        depth = deepest = 0
        for character in each:
            depth = max(0, depth + _BRACKETS.get(character, 0))
            deepest = max(deepest, depth)
        if deepest > DEPTH or len(each) > LENGTH:
            return True
    return False


def _unknown_roles(node: object) -> set[str]:
    """Roles that a policy names and nobody can hold: the schema lets them pass, and their forbid would never fire."""
    if isinstance(node, list):
        return {role for item in cast("list[object]", node) for role in _unknown_roles(item)}
    if not isinstance(node, dict):
        return set()
    parts = cast(Json, node)
    if parts.get("type") == "Role" and isinstance(name := parts.get("id"), str):
        return set() if name in set(Role) else {name}
    return {role for item in parts.values() for role in _unknown_roles(item)}


def _digest(texts: Mapping[str, str]) -> bytes:
    """Each name and content framed by its length, so that no two folders read the same."""
    digest = hashlib.sha256()
    for name in sorted(texts):
        for part in (name.encode(), texts[name].encode()):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
