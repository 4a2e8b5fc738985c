"""How tools' schemas are written: JSON Schema 2020-12, of keywords that are held, and closed wherever possible."""

from collections.abc import Iterator
from typing import cast

from tools.json_schema import Checker, Json, pointer, shortened

_FORMATS = frozenset({"date", "date-time", "duration", "email", "time", "uri", "uuid"})
_INSIDE_ONE = ("items", "contains", "propertyNames", "not", "if", "then", "else", "additionalProperties")
_INSIDE_LIST = ("prefixItems", "allOf", "anyOf", "oneOf")
_INSIDE_NAMED = ("properties", "patternProperties", "$defs")
_CONSTRAINTS = frozenset({"allOf", "not", "if", "then", "else", "propertyNames"})
"""Where a schema narrows the object that stands around it, which is closed itself."""
_KEYWORDS = frozenset(
    {*_INSIDE_ONE, *_INSIDE_LIST, *_INSIDE_NAMED}
    | {"$ref", "$comment", "title", "description", "default", "examples", "deprecated"}
    | {"type", "enum", "const", "format", "pattern", "minLength", "maxLength"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minItems", "maxItems", "uniqueItems", "minContains", "maxContains"}
    | {"required", "dependentRequired", "minProperties", "maxProperties"}
)


def schema_faults(schema: Json, *, where: str) -> list[str]:
    """What is wrong with a tool's schema: not JSON Schema 2020-12, not an object's, or open where nobody says why."""
    try:
        Checker(schema)
    except ValueError as unreadable:
        return [f"{where}: is no JSON Schema 2020-12: {shortened(str(unreadable))}"]
    faults = list(_faults(schema, where, narrows=False))
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        faults.append(f"{where}: is not of type object with additionalProperties: false")
    return faults


def _faults(schema: object, where: str, *, narrows: bool) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    parts = cast(Json, schema)
    yield from (f"{where}: {word!r} is no keyword that is held" for word in sorted(parts.keys() - _KEYWORDS))
    if "format" in parts and parts["format"] not in _FORMATS:
        yield f"{where}: format {parts['format']!r} is not asserted"
    if not str(parts.get("$ref", "#/")).startswith("#/"):
        yield f"{where}: $ref leads outside the schema"
    if not narrows:
        yield from _openness(parts, where)
    for inner, place, keyword in _inner(parts, where):
        yield from _faults(inner, place, narrows=narrows or keyword in _CONSTRAINTS)


def _openness(parts: Json, where: str) -> Iterator[str]:
    """An object is closed, or a map of values that a schema names, or says in $comment why it is open."""
    kind = parts.get("type")
    if kind != "object" and not (isinstance(kind, list) and "object" in cast("list[object]", kind)):
        if "properties" in parts:
            yield f"{where}: has properties without being of type object"
        return
    more = parts.get("additionalProperties", True)
    is_map = isinstance(more, dict) and "properties" not in parts
    if more is not False and not is_map and not (more is True and parts.get("$comment")):
        yield f"{where}: an object is open: additionalProperties: false is missing (or a $comment that says why)"


def _inner(parts: Json, where: str) -> Iterator[tuple[object, str, str]]:
    """The schemas inside a schema, with their places and the keywords they stand under."""
    for keyword in _INSIDE_ONE:
        if keyword in parts:
            yield parts[keyword], where + pointer(keyword), keyword
    for keyword in _INSIDE_LIST:
        for index, inner in enumerate(cast("list[object]", parts.get(keyword, []))):
            yield inner, f"{where}/{keyword}/{index}", keyword
    for keyword in _INSIDE_NAMED:
        for name, inner in cast(Json, parts.get(keyword, {})).items():
            yield inner, where + pointer(keyword) + pointer(name), keyword
