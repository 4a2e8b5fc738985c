"""`glow tools export`: the tools that models may see, in the forms that other programs take."""

from typing import Literal

from server.cli.printing import say_json
from tools.manifest import Manifest
from tools.outcomes import Json

Form = Literal["openai", "mcp"]


def exported(manifests: list[Manifest], form: Form) -> object:
    """The tools of the chat door as OpenAI's API takes them, or those of the MCP door as `tools/list` shows them."""
    if form == "openai":
        return [_function(manifest) for manifest in manifests if "chat" in manifest.doors]
    from server.mcp.catalog import tool_of

    offered = [tool_of(manifest) for manifest in manifests if "mcp" in manifest.doors]
    return {"tools": [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in offered]}


def export(manifests: list[Manifest], form: Form) -> None:
    """Print them."""
    say_json(exported(manifests, form))


def _function(manifest: Manifest) -> Json:
    function: Json = {"name": manifest.name, "description": manifest.description, "parameters": manifest.arguments}
    return {"type": "function", "function": function}
