"""Leaves a model alone that does not answer: opened by failures in a row, closed again by one try that succeeds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agent.model import ModelFailed

BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a breaker opens, and for how long."""

    failures: int = 3
    """Turns in a row that failed, each with all its tries."""
    open_s: float = 15.0
    """The first time; doubled each time the try after it fails."""
    longest_open_s: float = 300.0
    """Also where the provider asks for more: it may be back much sooner."""


class Breaker:
    """One model at one server, as this process has found it.

    Asked before each turn, and told how it went. While open it admits nobody; then one turn, whose outcome decides. A
    turn that was given up by its reader says nothing of the model. Not bound to an event loop, and never waits.
    """

    def __init__(self, monotonic: Callable[[], float], rules: BreakerRules | None = None) -> None:
        self._monotonic = monotonic
        self._rules = rules or BreakerRules()
        self._failed = 0
        self._opened = 0
        """How often in a row."""
        self._until = 0.0
        self._trying = False
        self.why: ModelFailed | None = None
        """The last failure; None: the last turn succeeded."""

    @property
    def state(self) -> BreakerState:
        """As it stands now."""
        if not self._opened:
            return "closed"
        return "open" if self._monotonic() < self._until else "half_open"

    @property
    def rest_s(self) -> float:
        """Seconds until it is tried again."""
        return max(0.0, self._until - self._monotonic()) if self._opened else 0.0

    def admits(self) -> bool:
        """Whether a turn may be tried; if so, `succeeded`, `failed` or `left` must follow."""
        if self.state == "closed":
            return True
        if self.state == "open" or self._trying:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """The turn came to its end."""
        self._failed = self._opened = 0
        self._trying = False
        self.why = None

    def failed(self, failure: ModelFailed) -> None:
        """The turn failed, and not by what was asked."""
        self._failed += 1
        self.why = failure
        if self._trying or self._failed >= self._rules.failures:
            self._open(failure.wait_s or 0.0)
        self._trying = False

    def left(self) -> None:
        """Nobody tries it any more; where nothing was known before, the turn was given up and the next one may try."""
        self._trying = False

    def _open(self, asked_s: float) -> None:
        if self.state == "open":
            # Turns that were under way when it opened say nothing new.
            return
        rest_s = max(asked_s, self._rules.open_s * 2**self._opened)
        self._until = self._monotonic() + min(rest_s, self._rules.longest_open_s)
        self._opened = min(self._opened + 1, 16)
