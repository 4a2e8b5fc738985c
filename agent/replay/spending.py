"""What the turns of a recorded run had spent, where their own checkpoints do not say it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.budget import ModelUse, Spent
from agent.events import RunUsage
from agent.replay.model import RecordedTurn
from agent.usage import spent_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSpent:
    """What one turn used: tokens, US dollars at the price of the moment, and answers whose tokens nobody told."""

    model: str
    read: int = 0
    cached: int = 0
    written: int = 0
    cost: float | None = None
    untold: int = 0


def spent_in(turn: RecordedTurn, before: RunUsage, after: RunUsage | None, told: str) -> TurnSpent:
    """What a turn used: as it was told; or, of one that came to no end, what the run had spent more after it.

    `told`: the model that the run was told to speak by.
    """
    if turn.told is not None:
        used = turn.told.usage
        return TurnSpent(
            model=used.model,
            read=used.input_tokens,
            cached=used.cached_tokens,
            written=used.output_tokens,
            cost=used.cost_usd,
            untold=turn.told.untold,
        )
    if after is None:
        return TurnSpent(model=told, untold=1)
    earlier, later = _by_model(before, told), _by_model(after, told)
    model = next((name for name, use in later.items() if use.turns > _of(earlier, name).turns), told)
    was, now = _of(earlier, model), _of(later, model)
    return TurnSpent(
        model=model,
        read=now.input_tokens - was.input_tokens,
        cached=now.cached_tokens - was.cached_tokens,
        written=now.output_tokens - was.output_tokens,
        cost=None if now.cost is None or was.cost is None else now.cost - was.cost,
        untold=(after.untold_calls or 0) - (before.untold_calls or 0),
    )


def spent_before(turn: RecordedTurn, told: str) -> Spent:
    """What the run had spent before its first turn: on a summary of what came before."""
    if turn.marked is None or turn.told is None:
        return Spent()
    used, spent = turn.told.usage, spent_of(turn.marked.usage, told)
    use = spent.of(used.model)
    use.turns -= 1
    use.input_tokens -= used.input_tokens
    use.cached_tokens -= used.cached_tokens
    use.output_tokens -= used.output_tokens
    use.cost = None if use.cost is None or used.cost_usd is None else use.cost - used.cost_usd
    spent.untold = max(0, spent.untold - turn.told.untold)
    spent.heard_of.clear()
    spent.failed_citations = 0
    if not (use.turns or use.input_tokens or use.output_tokens):
        del spent.by_model[used.model]
    return spent


def untold_else(turns: Sequence[TurnSpent], before: RunUsage, after: RunUsage | None) -> int:
    """Answers whose tokens nobody told, and that no turn accounts for: they were begun by processes that were lost."""
    if after is None:
        return 0
    known = (before.untold_calls or 0) + sum(each.untold for each in turns)
    return max(0, (after.untold_calls or 0) - known)


def _by_model(usage: RunUsage, told: str) -> Mapping[str, ModelUse]:
    return spent_of(usage, told).by_model


def _of(uses: Mapping[str, ModelUse], model: str) -> ModelUse:
    return uses.get(model, ModelUse())
