"""The personas of the agent: data in manifests/agents, read once and held to their schema at start."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import orjson

from agent.budget import Budget
from agent.conversations.refusals import UnknownAgent
from domain.kernel import Level
from tools.json_schema import Checker
from tools.yaml_files import UnreadableYaml, read_yaml

DEFAULT = "assistant"
SCHEMA = "agent.schema.json"

Json = dict[str, object]


class PersonaInvalid(Exception):
    """A persona's file is not what its schema says; a fault of the installation, which stops the start."""

    def __init__(self, file: str, fault: str) -> None:
        super().__init__(f"manifests/agents/{file}: {fault}")
        self.file = file
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """One way the agent presents itself: its words, the tools it is offered, and how far it may go by itself."""

    name: str
    title: str
    description: str
    """What it is for: read by people who choose it, and by agents that may hand over to it."""
    words: str
    """What the model is told it is; the firm's rules come besides (agent/context.py)."""
    tools: tuple[str, ...]
    """Offered where policy would let this principal use them at all; the gate judges each call anyway."""
    autonomy_ceiling: Level
    budget: Budget
    model: str | None = None
    """The model it wants, at the server of the installation's model; None: the installation's default."""


class Personas:
    """All personas, by name."""

    def __init__(self, personas: Mapping[str, Persona]) -> None:
        self._personas = personas

    def get(self, name: str | None) -> Persona:
        """The persona of that name; without one, the default.

        Raises  UnknownAgent.
        """
        found = self._personas.get(name or DEFAULT)
        if found is None:
            raise UnknownAgent(name or DEFAULT, tuple(self._personas))
        return found

    def all(self) -> tuple[Persona, ...]:
        """Every persona, the default first and then by name."""
        return tuple(sorted(self._personas.values(), key=lambda each: (each.name != DEFAULT, each.name)))

    @property
    def models(self) -> tuple[str, ...]:
        """The models they want, each once."""
        return tuple(sorted({each.model for each in self._personas.values() if each.model is not None}))

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(self._personas)

    def check_tools(self, known: Collection[str]) -> None:
        """Raises  PersonaInvalid: one names a tool that does not exist."""
        for persona in self._personas.values():
            for tool in persona.tools:
                if tool not in known:
                    raise PersonaInvalid(f"{persona.name}.yaml", f"tools: there is no tool {tool}")


def load_personas(manifests: Path) -> Personas:
    """The personas in `manifests`/agents, each held to agent.schema.json.

    Raises  PersonaInvalid: a file is not valid, its name is not the persona's, or the default is missing.
    """
    checker = Checker(cast(Json, orjson.loads((manifests / SCHEMA).read_bytes())))
    personas = [_read(path, checker) for path in sorted((manifests / "agents").glob("[!._]*"))]
    if DEFAULT not in {persona.name for persona in personas}:
        raise PersonaInvalid(f"{DEFAULT}.yaml", "the default persona is missing")
    return Personas({persona.name: persona for persona in personas})


def _read(path: Path, checker: Checker) -> Persona:
    try:
        raw = read_yaml(path)
    except UnreadableYaml as unreadable:
        raise PersonaInvalid(path.name, str(unreadable)) from unreadable
    faults = checker.check(raw)
    if faults:
        raise PersonaInvalid(path.name, "; ".join(f"{fault.path or '/'}: {fault.message}" for fault in faults))
    persona = _persona(raw)
    if persona.name != path.stem:
        raise PersonaInvalid(path.name, f"/name: {persona.name} is not the file's name")
    return persona


def _persona(raw: Json) -> Persona:
    return Persona(
        name=cast(str, raw["name"]),
        title=cast(str, raw["title"]),
        description=cast(str, raw["description"]),
        words=cast(str, raw["words"]),
        tools=tuple(cast("list[str]", raw["tools"])),
        autonomy_ceiling=Level[cast(str, raw.get("autonomy_ceiling", "L3"))],
        budget=_budget(cast(Json, raw.get("budget", {}))),
        model=cast("str | None", raw.get("model")),
    )


def _budget(raw: Json) -> Budget:
    usual = Budget()
    return Budget(
        turns=cast(int, raw.get("turns", usual.turns)),
        calls=cast(int, raw.get("calls", usual.calls)),
        repairs=cast(int, raw.get("repairs", usual.repairs)),
        tokens=cast(int, raw.get("tokens", usual.tokens)),
        seconds=cast(float, raw.get("seconds", usual.seconds)),
    )
