"""What MCP clients are told of a tool: its schemas, its title, and hints from its effect."""

from collections.abc import Mapping
from typing import cast, get_args

from mcp import types

from domain.kernel import Decision, Effect, Outcome, Role
from tools.manifest import Manifest

Json = dict[str, object]

_VERDICT: Json = {
    "type": "object",
    "description": "What policy said of the call, and by which rules.",
    "properties": {
        "decision": {"enum": list(get_args(Decision))},
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["decision", "reasons"],
}
_APPROVAL: Json = {
    "type": "object",
    "description": "The question that a person must answer before the call is made.",
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "needs_role": {"enum": [str(role) for role in Role]},
        "four_eyes": {"type": "boolean", "description": "The one who decides may not be the one who asked."},
        "expires_at": {"type": "string", "format": "date-time"},
        "url": {"type": "string", "format": "uri", "description": "Where a person decides, signed in as themselves."},
    },
    "required": ["id", "needs_role", "four_eyes", "expires_at"],
}
_ERROR: Json = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "reference": {"type": "string", "description": "Names the fault in the server's log."},
        "details": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["code", "message"],
}


def tool_of(manifest: Manifest) -> types.Tool:
    """The tool as `tools/list` shows it."""
    return types.Tool(
        name=manifest.name,
        title=manifest.title,
        description=manifest.description,
        input_schema=manifest.arguments,
        output_schema=envelope_schema(manifest),
        annotations=annotations_of(manifest),
    )


def envelope_schema(manifest: Manifest) -> Json:
    """The schema of every answer of this tool, also of one that waits or is refused.

    Source  contract.md, Tools.
    """
    result, definitions = _split(manifest.result)
    schema: Json = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "outcome": {"enum": list(get_args(Outcome))},
            "call_id": {"type": "string", "format": "uuid"},
            "result": result,
            "verdict": _VERDICT,
            "approval": _APPROVAL,
            "error": _ERROR,
        },
        "required": ["outcome", "call_id"],
        "additionalProperties": False,
    }
    if definitions:
        schema["$defs"] = definitions
    return schema


def annotations_of(manifest: Manifest) -> types.ToolAnnotations:
    """Hints from the effect; a client must not decide by them, the gate does."""
    effect: Effect = manifest.effect
    return types.ToolAnnotations(
        title=manifest.title,
        read_only_hint=effect == "read",
        # `prepare` only drafts, and a `commit` can be taken back by people of the firm.
        destructive_hint=effect == "irreversible",
        idempotent_hint=effect == "read",
        open_world_hint=effect == "irreversible" or manifest.trust == "external",
    )


def _split(schema: Mapping[str, object]) -> tuple[Json, Json]:
    """A schema that stands inside another one, and its definitions, which `#/$defs/...` seeks at the root."""
    inner = {name: value for name, value in schema.items() if name not in ("$schema", "$id", "$defs")}
    return inner, dict(cast("Mapping[str, object]", schema.get("$defs", {})))
