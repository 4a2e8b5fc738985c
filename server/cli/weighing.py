"""The work of `glow eval weights`: what words and meaning should count, as a table and a line of settings."""

from knowledge.evaluation.judged import SetUnreadable
from knowledge.evaluation.weights import Means, Weighing
from server.cli.evaluating import answering, opened, progress_of
from server.cli.failure import CommandFailed
from server.cli.opening import acting
from server.cli.printing import complain, say, say_json, say_table, why_not
from server.cli.running import run
from server.evaluation.retrieval import SearchRefused
from server.evaluation.sets import judged_set
from server.evaluation.weighing import NothingToWeigh, Weighed, weigh
from tools.outcomes import CallOutcome, envelope


def weights(named: str, organization: str | None, user: str | None, constant: float | None, *, as_json: bool) -> bool:
    """Weigh, and say what came out; False when a call was refused."""
    outcome = run(_weighed(named, organization, user, constant))
    if isinstance(outcome, CallOutcome):
        if as_json:
            say_json(envelope(outcome))
        else:
            complain(f"glow: {why_not(outcome)}")
        return False
    if as_json:
        say_json(_as_json(outcome))
    else:
        _print(outcome, constant)
    return True


async def _weighed(
    named: str, organization: str | None, user: str | None, constant: float | None
) -> Weighed | CallOutcome:
    try:
        judged = judged_set(named)
    except SetUnreadable as fault:
        raise CommandFailed(str(fault)) from fault
    async with opened(judged, answering(judged, organization)) as (hub, slug):
        principal = await acting(hub, slug, user)
        # What leaves the hub's own task groups comes out as a group: it is told here.
        try:
            return await weigh(hub, principal, judged, constant, progress_of(16 * len(judged.queries)))
        except SearchRefused as refused:
            return refused.outcome
        except NothingToWeigh as fault:
            raise CommandFailed(str(fault)) from fault


def _print(weighed: Weighed, constant: float | None) -> None:
    for figure, (weighing, other) in weighed.by_figure.items():
        say(f"{figure}: chosen on one half of the questions, judged on the other, which had no part in choosing")
        rows = [_row("words alone", weighing.lexical), _row("meaning alone", weighing.vector)]
        rows += [
            _row(f"words 1, meaning {weight:g}" + (" *" if weight == weighing.best else ""), means)
            for weight, means in weighing.by_weight.items()
        ]
        say_table(("order", "chosen on", "held out", "all"), rows)
        say(_verdict(weighing, other))
    best = weighed.by_figure[weighed.figure][0].best
    say("In config/system.yaml (docs/settings.md), from then on for every search:")
    ranks = "" if constant is None else f", rank_constant: {constant:g}"
    say(f"search: {{lexical_weight: 1, vector_weight: {best:g}{ranks}}}")


def _row(name: str, means: Means) -> tuple[str, ...]:
    return name, f"{means.chosen_on:.4f}", f"{means.held_out:.4f}", f"{means.all:.4f}"


def _verdict(weighing: Weighing, other: Weighing) -> str:
    held = "at least" if weighing.held_out >= weighing.better_leg else "LESS than"
    return (
        f"* Held out, both orders together have {weighing.held_out:.4f}, {held} the better of the two"
        f" ({weighing.better_leg:.4f}). With the halves exchanged: meaning {other.best:g}, {other.held_out:.4f} beside"
        f" {other.better_leg:.4f}."
    )


def _as_json(weighed: Weighed) -> dict[str, object]:
    return {
        "figure": weighed.figure,
        "figures": {
            name: {"chosen_on_first": _one(first), "chosen_on_second": _one(second)}
            for name, (first, second) in weighed.by_figure.items()
        },
    }


def _one(weighing: Weighing) -> dict[str, object]:
    return {
        "vector_weight": weighing.best,
        "held_out": weighing.held_out,
        "better_leg": weighing.better_leg,
        "lexical": _numbers(weighing.lexical),
        "vector": _numbers(weighing.vector),
        "hybrid": {f"{weight:g}": _numbers(means) for weight, means in weighing.by_weight.items()},
    }


def _numbers(means: Means) -> dict[str, float]:
    return {"chosen_on": means.chosen_on, "held_out": means.held_out, "all": means.all}
