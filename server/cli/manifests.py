"""`glow tools list`, `show` and `validate`: the manifests as they stand, with no database."""

import json
from typing import cast

from agent.personas import DEFAULT, Persona
from domain.resources import resource_folder
from knowledge.isolate import IsolatedPreparer
from server.cli.exporting import Form, export
from server.cli.failure import CommandFailed
from server.cli.printing import say, say_json, say_table
from server.database.migrate import load_migrations
from server.rules import Rules, load_rules
from tools.manifest import Manifest
from tools.outcomes import Json


def list_tools(*, as_json: bool) -> None:
    """Every tool, by name."""
    manifests = _manifests()
    if as_json:
        say_json({"items": [tool_json(manifest) for manifest in manifests]})
        return
    rows = [(manifest.name, manifest.effect, str(manifest.least_role), manifest.title) for manifest in manifests]
    say_table(("tool", "effect", "least role", "title"), rows)


def show_tool(name: str, *, as_json: bool) -> None:
    """One tool.

    Raises  CommandFailed: there is none of that name.
    """
    for manifest in _manifests():
        if manifest.name == name:
            say_json(tool_json(manifest)) if as_json else _describe(manifest)
            return
    raise CommandFailed(f"there is no tool named {name!r}")


def export_tools(form: Form) -> None:
    """The tools that models may see, for other programs."""
    export(_manifests(), form)


def list_agents(*, as_json: bool) -> None:
    """Every persona, the default first."""
    personas = _rules().personas.all()
    if as_json:
        say_json({"items": [_agent_json(persona) for persona in personas]})
        return
    rows = [(each.name, each.title, each.autonomy_ceiling.name, each.description) for each in personas]
    say_table(("agent", "title", "ceiling", "what it is for"), rows)


def _agent_json(persona: Persona) -> Json:
    return {
        "name": persona.name,
        "title": persona.title,
        "description": persona.description,
        "tools": list(persona.tools),
        "autonomy_ceiling": persona.autonomy_ceiling.name,
        "model": persona.model,
        "default": persona.name == DEFAULT,
    }


def validate() -> None:
    """Say that all is well, or raise what is not."""
    rules = _rules()
    migrations = load_migrations(resource_folder("migrations"))
    say(
        f"{len(rules.registry.all())} tools, {len(rules.policies.rules)} policies, "
        f"{len(list(rules.workflows))} workflows, {len(migrations)} migrations: in order."
    )


def tool_json(manifest: Manifest) -> Json:
    """A tool for machines, as the interface over HTTP shows it."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "title": manifest.title,
        "description": manifest.description,
        "effect": manifest.effect,
        "least_role": str(manifest.least_role),
        "doors": sorted(manifest.doors),
        "writes": sorted(manifest.writes),
        "person_only": manifest.person_only,
        "standards": list(manifest.standards),
        "arguments": manifest.arguments,
        "result": manifest.result,
    }


def _manifests() -> list[Manifest]:
    return [tool.manifest for tool in _rules().registry.all()]


def _rules() -> Rules:
    """Everything under manifests/; the preparer starts nothing before its first document."""
    return load_rules(IsolatedPreparer())


def _describe(manifest: Manifest) -> None:
    say(f"{manifest.name} (version {manifest.version}): {manifest.title}")
    say()
    say(manifest.description)
    say()
    for name in ("effect", "least_role", "doors", "writes", "standards"):
        value = tool_json(manifest)[name]
        shown = ", ".join(cast("list[str]", value)) if isinstance(value, list) else str(value)
        say(f"{name.replace('_', ' ') + ':':12} {shown or 'none'}")
    for name, schema in (("arguments", manifest.arguments), ("result", manifest.result)):
        say(f"{name}:")
        say(json.dumps(schema, indent=2, ensure_ascii=False))
