"""What one run may spend, what it has spent, and the words that end it usefully when something is used up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, assert_never

from domain.budgets.model import Held
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


CostOf = Callable[[str, int, int, int], float | None]
"""US dollars for one call of that model, at the price of the moment, from its tokens: read, of those remembered by the
provider, and written. None: nobody said what it costs."""


def no_price(model: str, read: int, cached: int, written: int) -> None:
    """Nothing has a price."""
    del model, read, cached, written


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What is held of budgets for one turn of a model."""

    held: Held
    written: int
    """The most tokens that its answer may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one turn of a model used."""

    model: str
    """Who spoke."""
    read: int
    cached: int
    written: int
    untold: bool
    """Its provider did not tell all of it."""
    begun: bool
    """It was asked, and may have begun."""


class Purse(Protocol):
    """What a run's models may use of the firm's budgets; of a run's own limits it knows nothing."""

    async def taken_over(self) -> None:
        """What another process held for the run is held no more."""
        ...

    async def hold(self, model: str, words: Sequence[str], written: int | None, seconds: float) -> Allowance | None:
        """Hold what a turn may take that reads these words and writes so many tokens, or as many as a turn may.

        `seconds`: how long it may last. None: there is no budget to hold it of.
        Raises  agent.model.BudgetExhausted: a budget has too little left.
        """
        ...

    async def settle(self, allowance: Allowance, used: Used) -> None:
        """Put what was used in the place of what is held."""
        ...


class NoBudget:
    """The purse where no budget is set."""

    async def taken_over(self) -> None:
        """Nothing was held."""

    async def hold(self, model: str, words: Sequence[str], written: int | None, seconds: float) -> Allowance | None:
        """Nothing is held."""
        del model, words, written, seconds

    async def settle(self, allowance: Allowance, used: Used) -> None:
        """Nothing was held."""
        del allowance, used


@dataclass(slots=True, kw_only=True)
class ModelUse:
    """What one model was asked and said in a run."""

    turns: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    """US dollars; None once a call of it has no price."""

    def add(self, read: int, cached: int, written: int, cost: float | None) -> None:
        """One more turn."""
        self.turns += 1
        self.take(read, cached, written, cost)

    def take(self, read: int, cached: int, written: int, cost: float | None) -> None:
        """What was used for the run, but is no turn of it."""
        self.input_tokens += read
        self.cached_tokens += cached
        self.output_tokens += written
        self.cost = None if self.cost is None or cost is None else self.cost + cost


@dataclass(slots=True, kw_only=True)
class Spent:
    """What a run has spent so far, and which calls it made."""

    by_model: dict[str, ModelUse] = field(default_factory=dict[str, ModelUse])
    """By name, in the order in which they spoke."""
    cost_of: CostOf = no_price
    purse: Purse = field(default_factory=NoBudget)
    repairs: int = 0
    untold: int = 0
    """Answers that broke off, and whose tokens no provider told."""
    failed_citations: int = 0
    """Citations of its answers that the documents do not bear out."""
    estimated_tokens: int = 0
    """Of turns whose provider did not say how many there were."""
    heard_of: set[str] = field(default_factory=set[str])
    """Models that the reader has had words of."""
    calls: list[tuple[str, Outcome]] = field(default_factory=list[tuple[str, Outcome]])
    """Tool and outcome of each call, in order."""

    def of(self, model: str) -> ModelUse:
        """What that model has used, to be added to."""
        return self.by_model.setdefault(model, ModelUse())

    @property
    def turns(self) -> int:
        """Turns of all models."""
        return sum(each.turns for each in self.by_model.values())

    @property
    def input_tokens(self) -> int:
        """Read by all models."""
        return sum(each.input_tokens for each in self.by_model.values())

    @property
    def output_tokens(self) -> int:
        """Written by all models."""
        return sum(each.output_tokens for each in self.by_model.values())

    @property
    def cached_tokens(self) -> int:
        """Of those that were read: remembered by the providers."""
        return sum(each.cached_tokens for each in self.by_model.values())

    @property
    def cost(self) -> float | None:
        """US dollars for all of it; None where a part is unknown, or has no price."""
        costs = [each.cost for each in self.by_model.values() if each.input_tokens or each.output_tokens]
        known = [cost for cost in costs if cost is not None]
        return None if self.untold or not costs or len(known) < len(costs) else round(sum(known), 6)

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


def exhausted_words(why: str, calls: Sequence[tuple[str, Outcome]]) -> str:
    """What the user is told when the firm's budget ends the run before the model's own last words."""
    return f"I had to stop before I was finished. {why} {done_words(calls)}"


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
