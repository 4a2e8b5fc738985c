"""Manifests, read from their YAML files at start: each held to the manifests' own schema, and to good sense."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import cast, get_args

import orjson

from domain.kernel import Door, Effect, Level, Role, Trust
from domain.releases.model import ControlName
from tools.json_schema import Checker
from tools.manifest import ApprovalRule, Binding, Bound, FromArgument, Json, Manifest, Subject
from tools.policy import least_decider
from tools.schema_rules import schema_faults
from tools.yaml_files import UnreadableYaml, read_yaml

_DEFAULT_EXPIRY = timedelta(hours=24)
_MODEL_DOORS = frozenset({"chat", "mcp", "worker"})
"""Doors that know no person's own hand."""


class ManifestFilesError(Exception):
    """Some manifest cannot be used. Lists every fault that was found, each with its file and place."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def load_manifests(folder: Path) -> tuple[Manifest, ...]:
    """The manifests of `folder`/tools, by name, held to `folder`/manifest.schema.json.

    Raises  ManifestFilesError: a file that is no manifest, or one that does not make sense.
    """
    files = [folder / "manifest.schema.json"]
    files += sorted(path for path in (folder / "tools").iterdir() if not path.name.startswith((".", "__")))
    return _load(tuple((path, path.read_bytes() if path.is_file() else b"") for path in files))


@lru_cache(maxsize=2)
def _load(files: tuple[tuple[Path, bytes], ...]) -> tuple[Manifest, ...]:
    """Of files that say what they said a moment ago nothing is read again: that is most of what opening a hub takes."""
    faults: list[str] = []
    manifests: list[Manifest] = []
    (_, schema), *tools = files
    checker = Checker(cast(Json, orjson.loads(schema)))
    for path, _ in tools:
        try:
            manifests.append(read_manifest(path, checker))
        except ManifestFilesError as unusable:
            faults += unusable.faults
    if faults:
        raise ManifestFilesError(faults)
    return tuple(manifests)


def read_manifest(path: Path, checker: Checker) -> Manifest:
    """One file. Raises  ManifestFilesError: all that is wrong with it."""
    try:
        raw = read_yaml(path)
    except UnreadableYaml as unreadable:
        raise ManifestFilesError([str(unreadable)]) from unreadable
    faults = [f"{path.name}: {fault.path or '/'}: {fault.message}" for fault in checker.check(raw)]
    if not faults:
        faults = [f"{path.name}: {fault}" for check in _CHECKS for fault in check(raw, path)]
    if faults:
        raise ManifestFilesError(faults)
    return manifest_of(raw)


def manifest_of(raw: Json) -> Manifest:
    """The manifest that a checked file holds."""
    effect = cast(Effect, raw["effect"])
    least_role = Role(cast(str, raw["least_role"]))
    minimum = cast("str | None", raw.get("minimum_autonomy"))
    return Manifest(
        name=cast(str, raw["name"]),
        version=cast(str, raw["version"]),
        title=cast(str, raw["title"]),
        description=cast(str, raw["description"]).strip(),
        effect=effect,
        least_role=least_role,
        extra_roles=tuple(Role(name) for name in cast("list[str]", raw.get("extra_roles", []))),
        doors=frozenset(cast("list[Door]", raw["doors"])),
        writes=tuple(cast("list[str]", raw["writes"])),
        approval=_approval_rule(cast(Json, raw.get("approval", {})), effect, least_role),
        control=_word(raw.get("control")),
        sign_off_kind=_argument_of(raw.get("sign_off_kind")),
        outside=raw.get("outside") is True,
        person_only=raw.get("person_only") is True,
        autonomy="workflow" if raw.get("autonomy") == "workflow" else "effect",
        minimum_autonomy=None if minimum is None else Level[minimum],
        timeout=timedelta(seconds=cast(float, raw["timeout_s"])),
        result_limit=cast(int, raw["result_limit_bytes"]),
        trust=cast(Trust, raw["trust"]),
        subjects=cast("Mapping[Subject, str]", raw.get("subjects", {})),
        binds=tuple(_binding(each) for each in cast("list[Json]", raw.get("binds", []))),
        arguments=cast(Json, raw["arguments"]),
        result=cast(Json, raw["result"]),
        standards=tuple(cast("list[str]", raw.get("standards", []))),
    )


def _binding(raw: Json) -> Binding:
    return Binding(
        subject=cast(Bound, raw["subject"]),
        argument=cast(str, raw["argument"]),
        given=tuple(cast("list[str]", raw.get("given", []))),
    )


def _word(raw: object) -> str | FromArgument | None:
    return raw if isinstance(raw, str) else _argument_of(raw)


def _argument_of(raw: object) -> FromArgument | None:
    return None if raw is None else FromArgument(argument=cast("dict[str, str]", raw)["argument"])


def _approval_rule(raw: Json, effect: Effect, least_role: Role) -> ApprovalRule:
    role = cast("str | None", raw.get("role"))
    return ApprovalRule(
        role=least_decider(effect, least_role) if role is None else Role(role),
        four_eyes=effect == "irreversible" or raw.get("four_eyes") is True,
        expires_after=_expiry(raw.get("expires_after")),
    )


def _expiry(raw: object) -> timedelta:
    if raw is None:
        return _DEFAULT_EXPIRY
    if isinstance(raw, int | float):
        return timedelta(hours=raw)
    from pydantic import TypeAdapter

    return TypeAdapter(timedelta).validate_python(raw)


# What the manifests' schema cannot say.


def _is_named_as_its_file(raw: Json, path: Path) -> Iterator[str]:
    if path.name != f"{raw['name']}.yaml":
        yield f"/name: {raw['name']!r} belongs in a file of that name, {raw['name']}.yaml"


def _writes_as_its_effect_says(raw: Json, _path: Path) -> Iterator[str]:
    if raw["effect"] == "read" and raw["writes"]:
        yield "/writes: a tool that reads writes nothing"
    if raw.get("outside") is True:
        if raw["effect"] == "read" or raw["writes"]:
            yield "/outside: what acts outside changes something there, and writes no table of ours"
    elif raw["effect"] != "read" and not raw["writes"]:
        yield "/writes: a tool that changes something names the tables"


def _asks_no_less_than_policy(raw: Json, _path: Path) -> Iterator[str]:
    rule = cast(Json, raw.get("approval", {}))
    least = least_decider(cast(Effect, raw["effect"]), Role(cast(str, raw["least_role"])))
    role = cast("str | None", rule.get("role"))
    if role is not None and Role(role).rank < least.rank:
        yield f"/approval/role: {role} is laxer than policy, which asks for {least}"
    if raw["effect"] == "irreversible" and rule.get("four_eyes") is False:
        yield "/approval/four_eyes: what is irreversible always takes four eyes"
    if _expiry(rule.get("expires_after")) <= timedelta(0):
        yield "/approval/expires_after: gives nobody time to answer"


def _keeps_persons_acts_from_models(raw: Json, _path: Path) -> Iterator[str]:
    for door in sorted(_MODEL_DOORS & set(cast("list[str]", raw["doors"]))):
        if raw.get("person_only") is True:
            yield f"/doors: {door} knows no person's own hand, which person_only asks for"


def _names_a_minimum_only_for_workflows(raw: Json, _path: Path) -> Iterator[str]:
    if raw.get("autonomy") == "workflow" and raw["effect"] != "prepare":
        yield "/autonomy: workflow replaces the row `prepare`, and the effect is another"
    if raw.get("autonomy") != "workflow" and raw.get("minimum_autonomy") is not None:
        yield "/minimum_autonomy: holds only with autonomy: workflow"


def _speaks_of_arguments_it_has(raw: Json, _path: Path) -> Iterator[str]:
    properties = cast("dict[str, Json]", cast(Json, raw["arguments"]).get("properties", {}))
    subjects = cast("dict[str, str]", raw.get("subjects", {}))
    for subject, argument in subjects.items():
        if argument not in properties:
            yield f"/subjects/{subject}: there is no argument {argument!r}"
        elif not _names_something(properties[argument], subject):
            form = _FORMS.get(subject, "a string of format uuid")
            yield f"/subjects/{subject}: the argument {argument!r} is not {form}"
    for binding in cast("list[Json]", raw.get("binds", [])):
        named = [cast(str, binding["argument"]).partition("[]")[0], *cast("list[str]", binding.get("given", []))]
        for argument in named:
            if argument not in properties:
                yield f"/binds/{binding['subject']}: there is no argument {argument!r}"
    if raw.get("control") is not None and "engagement" not in subjects:
        yield "/control: a release control is an engagement's, and no argument names one as subject"


def _takes_words_of_policy_from_arguments_that_are_there(raw: Json, _path: Path) -> Iterator[str]:
    """A word that a call may leave out, or that is any word at all, would let it past the rule that asks for it."""
    arguments = cast(Json, raw["arguments"])
    properties = cast("dict[str, Json]", arguments.get("properties", {}))
    required = cast("list[str]", arguments.get("required", []))
    for place in ("control", "sign_off_kind"):
        word = _word(raw.get(place))
        if not isinstance(word, FromArgument):
            continue
        if word.argument not in properties or word.argument not in required:
            yield f"/{place}: there is no argument {word.argument!r} that every call has"
        elif place == "control" and not _CONTROLS.issuperset(
            cast("list[str]", properties[word.argument].get("enum", [""]))
        ):
            yield f"/control: the argument {word.argument!r} names other things than release controls"
        elif place == "sign_off_kind" and properties[word.argument].get("type") != "string":
            yield f"/sign_off_kind: the argument {word.argument!r} is not a string"


_CONTROLS = frozenset(get_args(ControlName))


_FORMS: Mapping[str, str] = {
    "assignee": "an e-mail address",
    "delegate": "an e-mail address",
    "statement": "a string of any words",
}


def _names_something(schema: Json, subject: str) -> bool:
    kind = schema.get("type")
    kinds = set(cast("list[str]", kind)) if isinstance(kind, list) else {kind}
    form = {"assignee": "email", "delegate": "email", "statement": None}.get(subject, "uuid")
    return "string" in kinds and kinds <= {"string", "null"} and schema.get("format") == form


def _holds_sound_schemas(raw: Json, _path: Path) -> Iterator[str]:
    for part in ("arguments", "result"):
        yield from schema_faults(cast(Json, raw[part]), where=f"/{part}")


_CHECKS: tuple[Callable[[Json, Path], Iterator[str]], ...] = (
    _is_named_as_its_file,
    _writes_as_its_effect_says,
    _asks_no_less_than_policy,
    _keeps_persons_acts_from_models,
    _names_a_minimum_only_for_workflows,
    _holds_sound_schemas,
    _speaks_of_arguments_it_has,
    _takes_words_of_policy_from_arguments_that_are_there,
)
