"""Runs told again from what was recorded of them, for whoever owns them."""

from collections.abc import Callable
from dataclasses import replace

from agent.budget import Budget
from agent.conversations.model import GOING, History
from agent.conversations.ports import Sessions
from agent.conversations.refusals import RunNotFound
from agent.personas import Personas
from agent.replay.model import Replayed
from agent.replay.reading import NotReplayable
from agent.replay.telling import Limits, told_again
from agent.run_reader import owed
from domain.kernel import Principal, RunId


class Replays:
    """`bounded`: from a persona's budget to what the operator allows of it now, for a run that did not keep its own."""

    def __init__(
        self, sessions: Sessions, personas: Personas, bounded: Callable[[Budget], Budget], history_limit: int
    ) -> None:
        self._sessions = sessions
        self._personas = personas
        self._bounded = bounded
        self._history_limit = history_limit

    async def replay(self, principal: Principal, run_id: RunId) -> Replayed:
        """Tell one's own run again by the code of today, from what its model and its tools had said, and compare.

        Nothing is asked of a model or a tool, and nothing is written. A run that waits is told as far as it has come.
        Raises  RunNotFound. NotReplayable: it is going, or was recorded before runs could be told again.
                UnknownAgent: it did not keep what it could spend, and its persona is none any more.
        """
        async with self._sessions.session(principal, read_only=True) as store:
            # In this order: what the row of a run promises and its log lacks may come to be in the log meanwhile.
            run, recorded = await store.run(run_id), await store.recorded(run_id)
            past = History()
            if recorded is not None:
                past = await store.history(recorded.run.conversation_id, run_id, self._history_limit)
        if recorded is None or run is None:
            raise RunNotFound(run_id)
        if {run.status, recorded.status} & GOING and {run.status, recorded.status} != {"waiting"}:
            raise NotReplayable("it is still going")
        agent = recorded.run.agent
        limits = Limits(lambda: self._bounded(self._personas.get(agent).budget))
        # What a process that was lost then had still to tell, every reader is told.
        seen = recorded.frames[-1].sequence if recorded.frames else 0
        recorded = replace(recorded, frames=(*recorded.frames, *owed(run, seen)))
        compared = await told_again(recorded, past, principal, limits)
        return Replayed(
            run_id=run_id,
            status=recorded.status,
            same=compared.same,
            divergence=compared.divergence,
            todays_limits=limits.todays,
        )
