"""What a run has spent, as it is told and stored, and as whoever goes on with it reads it back."""

from collections.abc import Mapping, Sequence

from agent.budget import ModelUse, Spent
from agent.events import ModelUsage, RunUsage
from domain.kernel import Outcome


def usage_of(spent: Spent, told: str | None) -> RunUsage:
    """What was spent; `told`: the model that the run was told to speak by."""
    return RunUsage(
        input_tokens=spent.input_tokens,
        output_tokens=spent.output_tokens,
        model_calls=spent.turns,
        tool_calls=len(spent.calls),
        by_model=_parts(spent.by_model, told),
        cached_tokens=spent.cached_tokens or None,
        cost_usd=spent.cost,
        untold_calls=spent.untold or None,
        failed_citations=spent.failed_citations or None,
    )


def spent_of(usage: RunUsage, told: str, calls: Sequence[tuple[str, Outcome]] = ()) -> Spent:
    """What had been spent where that was told; `calls`: those that were made, by tool and outcome."""
    parts = usage.by_model or {told: usage}
    by_model = {name: _use(part) for name, part in parts.items()}
    return Spent(
        heard_of=set(by_model),
        by_model=by_model,
        untold=usage.untold_calls or 0,
        failed_citations=usage.failed_citations or 0,
        calls=list(calls),
    )


def _parts(used: Mapping[str, ModelUse], told: str | None) -> Mapping[str, ModelUsage] | None:
    """Each model's part, where it was not the one that was told of who spoke, and alone."""
    if not used or (len(used) == 1 and told in (None, *used)):
        return None
    return {
        name: ModelUsage(
            input_tokens=each.input_tokens,
            output_tokens=each.output_tokens,
            model_calls=each.turns,
            cached_tokens=each.cached_tokens or None,
            cost_usd=None
            if each.cost is None or not (each.input_tokens or each.output_tokens)
            else round(each.cost, 6),
        )
        for name, each in used.items()
    }


def _use(part: ModelUsage | RunUsage) -> ModelUse:
    used = part.input_tokens or part.output_tokens
    return ModelUse(
        turns=part.model_calls,
        input_tokens=part.input_tokens,
        cached_tokens=part.cached_tokens or 0,
        output_tokens=part.output_tokens,
        cost=part.cost_usd if used else 0.0,
    )
