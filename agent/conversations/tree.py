"""The turns of a conversation as a tree: which versions a message has, and which runs stand for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from domain.kernel import RunId


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnVersion:
    """One turn's place: the run that it follows, and the run that its message came with."""

    run_id: RunId
    parent_run_id: RunId | None
    origin_run_id: RunId


class Tree:
    """All turns of one conversation, oldest first."""

    def __init__(self, turns: Sequence[TurnVersion]) -> None:
        self._turns = {turn.run_id: turn for turn in turns}

    def versions(self, run_id: RunId, role: Literal["user", "assistant"]) -> tuple[RunId, ...]:
        """A run for each version of a turn's message (user) or answer, oldest first; its own stands for its own."""
        own = self._turns[run_id]
        beside = [turn for turn in self._turns.values() if turn.parent_run_id == own.parent_run_id]
        if role == "assistant":
            return tuple(turn.run_id for turn in beside if turn.origin_run_id == own.origin_run_id)
        # A message that was answered several times is one version of it, shown by its newest answer.
        newest = {turn.origin_run_id: turn.run_id for turn in beside}
        return tuple({**newest, own.origin_run_id: run_id}.values())
