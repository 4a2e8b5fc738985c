"""One workflow as the worker runs it: steps that need one another, each a call of its own through the gate."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import orjson

from domain.kernel import CallId, Level
from domain.tasks.model import OBJECTIVE
from tools.outcomes import Json

RUN_TIMEOUT = timedelta(hours=1)
"""How long a run may work where its workflow says nothing else."""
MOST_ITEMS = 100
"""Calls of one step that makes one for each item of a list; more only where a step with `pages` found the list."""

MOST_RETRIES = 10
"""Of one call of a step; the workflows' schema says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How a step that failed, and may succeed another time, is made again."""

    times: int = 0
    """After the first time."""
    pause: timedelta = timedelta(seconds=1)
    """Before the first retry; it doubles with each."""
    longest: timedelta = timedelta(minutes=5)

    def pause_before(self, retry: int, failed: CallId) -> timedelta:
        """How long to rest before this retry, the first being 1: from half of the doubled pause to the whole of it.

        The jitter follows from the call that failed, so that whoever takes a run over rests no longer.
        """
        whole = min(self.pause * 2 ** min(retry - 1, 30), self.longest)
        return whole * (0.5 + failed.int % 1000 / 2000)


NO_RETRIES = Retries()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """How a step is made again, call after call, while its result says so."""

    while_: str
    """The member of the result that says that there is more to do."""
    most: int
    """Calls in all."""
    rest_s: str | None = None
    """The member that says how many seconds are to pass first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a workflow, or one for each item of a list; `arguments` still hold references."""

    name: str
    tool: str
    arguments: Json
    needs: tuple[str, ...] = ()
    """The steps that must be done before this one begins."""
    for_each: str | None = None
    """A reference to a list: the step makes a call for each of its items."""
    when: str | None = None
    """A reference: the step is passed over where it names nothing, or nothing but an empty list, 0 or false."""
    retries: Retries = NO_RETRIES
    timeout: timedelta | None = None
    """Of each call; None: as long as the tool may take."""
    pages: int | None = None
    """Page after page of a list is asked for, and so many items taken at most; None: it makes one call."""
    repeat: Repeat | None = None
    """The call is made again while its result says so; None: once."""
    longest: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of the arguments that its tool takes no longer: how many characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """What a task of this kind does; each step is a call of its own through the gate."""

    name: str
    title: str
    description: str
    minimum_autonomy: Level
    """The level from which the agent may start it without asking."""
    steps: tuple[Step, ...]
    timeout: timedelta = RUN_TIMEOUT
    """How long a run may work; what it waits for people does not count."""

    @property
    def digest(self) -> bytes:
        """SHA-256 of what it does, not of its words."""
        told = [self.name, self.minimum_autonomy, self.steps, self.timeout]
        return hashlib.sha256(orjson.dumps(told, default=str, option=orjson.OPT_SORT_KEYS)).digest()

    def most_items(self, reference: str) -> int:
        """How many calls a step may make that makes one for each item of this list."""
        source = reference.split(".")[0]
        return max([MOST_ITEMS, *(step.pages or 0 for step in self.steps if step.name == source)])


class Workflows:
    """All workflows, by name."""

    def __init__(self, workflows: Sequence[Workflow]) -> None:
        self._by_name = {workflow.name: workflow for workflow in sorted(workflows, key=lambda found: found.name)}
        self.kinds = frozenset(self._by_name) | {OBJECTIVE}
        """Every word that a task's kind can be."""

    def __iter__(self) -> Iterator[Workflow]:
        return iter(self._by_name.values())

    def find(self, kind: str | None) -> Workflow | None:
        """The workflow that a task's kind names."""
        return None if kind is None else self._by_name.get(kind)
