"""What one run may spend, what it has spent, and the words that end it usefully when something is used up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never

from domain.kernel import Outcome

Limit = Literal["turns", "calls", "repairs", "tokens", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of one run. The last of its turns is for answering: in it the model is offered no tools."""

    turns: int = 12
    """Calls of the model."""
    calls: int = 30
    """Calls of tools."""
    repairs: int = 3
    """Turns in which the model may name no such tool, or write arguments that do not fit."""
    tokens: int = 400_000
    """Read and written by the model, all turns together."""
    seconds: float = 300.0


@dataclass(slots=True, kw_only=True)
class Spent:
    """What a run has spent so far, and which calls it made."""

    turns: int = 0
    repairs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated_tokens: int = 0
    """Of turns whose provider did not say how many there were."""
    calls: list[tuple[str, Outcome]] = field(default_factory=list[tuple[str, Outcome]])
    """Tool and outcome of each call, in order."""

    def limit_reached(self, budget: Budget) -> Limit | None:
        """What is used up so far that the model may only answer now; time is the loop's to watch."""
        if self.input_tokens + self.output_tokens + self.estimated_tokens >= budget.tokens:
            return "tokens"
        if len(self.calls) >= budget.calls:
            return "calls"
        if self.repairs > budget.repairs:
            return "repairs"
        return "turns" if self.turns >= budget.turns - 1 else None


def last_turn_notice(limit: Limit, budget: Budget) -> str:
    """What the model is told when it may only answer."""
    return (
        f"{_reason(limit, budget)} No tool can be called any more in this run. Answer now from what you have: say what "
        "was done, what was found, and what could not be done."
    )


def stopped_words(limit: Limit, budget: Budget, calls: Sequence[tuple[str, Outcome]]) -> str:
    """What the user is told when the run has to end without the model's own last words."""
    return " ".join(
        (
            f"I had to stop before I was finished: {_reason(limit, budget)}",
            done_words(calls),
            "Ask me to go on, or ask for less at once.",
        )
    )


def done_words(calls: Sequence[tuple[str, Outcome]]) -> str:
    """Which calls were done, which wait, and which were not done, in a sentence or two."""
    done = [tool for tool, outcome in calls if outcome == "done"]
    waiting = [tool for tool, outcome in calls if outcome == "waiting"]
    undone = [f"{tool} ({outcome})" for tool, outcome in calls if outcome not in ("done", "waiting")]
    said = [f"Done: {_listed(done)}." if done else "Nothing was done."]
    if waiting:
        said.append(f"Waiting for approval: {_listed(waiting)}.")
    if undone:
        said.append(f"Not done: {_listed(undone)}.")
    return " ".join(said)


def _listed(names: Sequence[str]) -> str:
    """Each name once, with how often where that is more: `task_create (3 times), task_run`."""
    counted = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{name} ({count} times)" for name, count in counted.items())


def _reason(limit: Limit, budget: Budget) -> str:
    match limit:
        case "turns":
            return f"this run has used its {budget.turns} turns of the model."
        case "calls":
            return f"this run has used its {budget.calls} tool calls."
        case "repairs":
            return "too many of the tool calls were not well formed."
        case "tokens":
            return f"this run has used its {budget.tokens} tokens."
        case "seconds":
            return f"this run has used its {budget.seconds:g} seconds."
        case _:
            assert_never(limit)
