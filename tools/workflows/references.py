"""References in a step's arguments: they name a value and nothing else.

`{"$from": "step.member"}` stands for the value itself, `{"$text": "... {step.member} ..."}` for a text with it. A part
`*` stands for each item of a list: `notes.items.*.note_id` is the list of all note_ids.
There is no expression, on purpose.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import orjson

from tools.outcomes import Json
from tools.workflows.model import Step

RESERVED = ("input", "run", "item")
"""Names that no step may have: the run's input, the run itself, and the item of a `for_each`."""
OF_RUN = ("date", "task_id", "task_run_id", "engagement_id", "requested_by")
"""What a run says of itself; `date` is the day on which it was asked for, in the schedule's zone or in UTC."""

_REFERENCE = re.compile(r"[a-z][a-z0-9_]*(\.([A-Za-z0-9_]+|\*))*")
_IN_TEXT = re.compile(r"\{([^{}]*)\}")
_ABSENT = object()


class MissingValue(Exception):
    """A reference names a value that the run's input or an earlier step's result does not have."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"there is no {reference}")
        self.reference = reference


def resolve_arguments(arguments: Json, known: Mapping[str, object]) -> Json:
    """A step's arguments, every reference replaced; `known` holds the results of steps, `input`, `run` and `item`.

    Raises  MissingValue: a reference that is not optional names nothing.
    """
    return {name: _resolved(value, known) for name, value in arguments.items() if not _left_out(value, known)}


def step_arguments(step: Step, known: Mapping[str, object]) -> Json:
    """A step's arguments, resolved; a text with values in it that came out longer than the tool takes ends in "…".

    Raises  MissingValue.
    """
    resolved = resolve_arguments(step.arguments, known)
    return {name: _cut(value, step.longest.get(name), step.arguments[name]) for name, value in resolved.items()}


def look_up(reference: str, known: Mapping[str, object]) -> object:
    """The value that a reference names.

    Raises  MissingValue.
    """
    found = _walked(known, reference.split("."))
    if found is _ABSENT:
        raise MissingValue(reference)
    return found


def _walked(value: object, parts: Sequence[str]) -> object:
    if not parts:
        return value
    if parts[0] == "*":
        if not isinstance(value, list):
            return _ABSENT
        each = [_walked(item, parts[1:]) for item in cast("list[object]", value)]
        return _ABSENT if any(item is _ABSENT for item in each) else each
    if not isinstance(value, Mapping) or parts[0] not in value:
        return _ABSENT
    return _walked(cast("Mapping[str, object]", value)[parts[0]], parts[1:])


def _left_out(value: object, known: Mapping[str, object]) -> bool:
    if not isinstance(value, dict) or cast(Json, value).get("optional") is not True:
        return False
    return _walked(known, cast(str, value["$from"]).split(".")) is _ABSENT


def _resolved(value: object, known: Mapping[str, object]) -> object:
    if isinstance(value, list):
        return [_resolved(item, known) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    members = cast(Json, value)
    if "$from" in members:
        return look_up(cast(str, members["$from"]), known)
    if "$text" in members:
        return _IN_TEXT.sub(lambda found: _as_text(look_up(found[1], known)), cast(str, members["$text"]))
    return resolve_arguments(members, known)


def _cut(value: object, longest: int | None, said: object) -> object:
    composed = isinstance(said, dict) and "$text" in said
    if not composed or longest is None or not isinstance(value, str) or len(value) <= longest:
        return value
    return value[: longest - 1] + "…"


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


# What is wrong with a reference ---------------------------------------------------------------------------------------


def argument_faults(value: object, known: Mapping[str, Json]) -> Iterator[str]:
    """What is wrong with the references in arguments; `known`: the JSON Schema of each name that they may speak of."""
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from argument_faults(item, known)
    elif isinstance(value, dict):
        members = cast(Json, value)
        special = sorted(name for name in members if name.startswith("$"))
        if special:
            yield from _form_faults(members, special, known)
        else:
            for item in members.values():
                yield from argument_faults(item, known)


def reference_faults(reference: str, known: Mapping[str, Json]) -> Iterator[str]:
    """What is wrong with one reference."""
    if not _REFERENCE.fullmatch(reference) or ("." not in reference and reference != "item"):
        yield f"{reference!r} is no reference; it takes the form step.member"
        return
    name, *members = reference.split(".")
    if name not in known:
        yield f"{reference}: {_unknown(name)}"
        return
    schema = known[name]
    for member in members:
        inner = _inner(schema, member)
        if inner is None:
            yield f"{reference}: {name} gives no {member!r} there"
            return
        schema = inner


def _unknown(name: str) -> str:
    if name == "item":
        return "only a step with for_each has an item"
    return f"no step that this one needs is named {name!r}"


def _inner(schema: Json, member: str) -> Json | None:
    """The schema of a member, or of a list's items; an empty one where the schema does not say."""
    properties, items = schema.get("properties"), schema.get("items")
    if member == "*":
        return cast(Json, items) if isinstance(items, dict) else _open(schema, "array")
    if isinstance(properties, dict) and member in properties:
        return cast(Json, properties[member])
    return {} if schema.get("additionalProperties") is True else _open(schema, "object")


def _open(schema: Json, kind: str) -> Json | None:
    """Nothing is said of what such a value holds, or of what it is at all."""
    says_more = {"properties", "items", "additionalProperties", "const", "enum"} & schema.keys()
    return {} if schema.get("type", kind) == kind and not says_more else None


def _form_faults(members: Json, special: Sequence[str], known: Mapping[str, Json]) -> Iterator[str]:
    allowed = {"$from": {"$from", "optional"}, "$text": {"$text"}}
    if len(special) != 1 or special[0] not in allowed or not members.keys() <= allowed[special[0]]:
        yield f"{members}: neither a $from nor a $text"
        return
    text = members[special[0]]
    if not isinstance(text, str):
        yield f"{special[0]}: {text!r} is no text"
        return
    references = [text] if special[0] == "$from" else _IN_TEXT.findall(text)
    for reference in references:
        yield from reference_faults(reference, known)
