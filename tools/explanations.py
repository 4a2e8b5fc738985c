"""Why a call gets its verdict, and what would give it another: values that a handler shows and that policy fills."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.kernel import Door, Level, Mode, Role, RunId
from tools.outcomes import Json, NeedsApproval, Verdict, verdict_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """In what the call that is asked about differs from one by the asker's agent, here and now; None: in nothing."""

    mode: Mode | None = None
    door: Door | None = None
    role: Role | None = None
    level: Level | None = None
    attended: bool | None = None
    control_state: str | None = None
    """Of the release control that the call goes through."""
    approved: bool = False
    """A person has approved this very call."""
    run_id: RunId | None = None
    """It is made in that run of the asker's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Because:
    """One reason of a verdict: the policy's id, what it says in its own words, and the file where it stands."""

    policy: str
    says: str | None
    file: str | None
    """None: the reason is no policy's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One fact that would give another verdict if it were one of these instead, all else being as it is."""

    fact: str
    now: object
    to: tuple[object, ...]
    verdict: Verdict
    because: tuple[Because, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A verdict with what it rests on."""

    verdict: Verdict
    because: tuple[Because, ...]
    saw: Mapping[str, object]
    """All that policy saw of the call, as the record would keep it."""
    mattered: tuple[str, ...]
    """The facts of which another value would have given another verdict, or other reasons."""
    would_change: tuple[Change, ...]
    """Only those that give another decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An explanation, and what of the question it could not take into account."""

    explanation: Explanation
    arguments_fit: bool
    """False: the arguments are not the tool's, and were left aside; the call itself would be invalid."""
    missing: tuple[str, ...]
    """What the arguments name and this principal cannot see; the call itself would be invalid."""


def explained_json(explained: Explained) -> Json:
    """The explanation as tools show it; levels by their names."""
    told = explained.explanation
    shown: Json = {
        "because": [_because_json(because) for because in told.because],
        "saw": {name: _word(name, value) for name, value in told.saw.items()},
        "mattered": list(told.mattered),
        "would_change": [_change_json(change) for change in told.would_change],
        "arguments_fit": explained.arguments_fit,
        "missing": list(explained.missing),
    }
    return {**shown, **_asks_json(told.verdict)}


def _change_json(change: Change) -> Json:
    return {
        "fact": change.fact,
        "from": _word(change.fact, change.now),
        "to": [_word(change.fact, value) for value in change.to],
        **verdict_json(change.verdict),
        "because": [_because_json(because) for because in change.because],
    }


def _because_json(because: Because) -> Json:
    given = {"says": because.says, "file": because.file}
    return {"policy": because.policy, **{name: value for name, value in given.items() if value is not None}}


def _asks_json(verdict: Verdict) -> Json:
    if not isinstance(verdict, NeedsApproval):
        return {}
    return {"needs_role": str(verdict.needs_role), "four_eyes": verdict.four_eyes}


def _word(fact: str, value: object) -> object:
    named = fact in ("level", "minimum_level") and isinstance(value, int)
    return f"L{int(value)}" if named and isinstance(value, int) else value
