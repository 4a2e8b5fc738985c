"""A call that acted outside, of which nobody can find out how it ended: closed by a person who says so, once."""

from dataclasses import dataclass
from datetime import timedelta

from domain.activity.model import ActivityEvent
from domain.intents.model import CallHasEnded, CallUnderWay, Conclusion, Intent
from domain.kernel import CallId, Clock
from tools.outcomes import CallOutcome, Json
from tools.outward import STATED, at_it_for
from tools.ports import CallTransaction
from tools.record import Recorded, Scribe, canonical
from tools.stored_calls import StoredCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluding:
    """Writes down what a person says, in the transaction of the call in which it is said."""

    stored: StoredCalls
    scribe: Scribe
    clock: Clock

    async def conclude(
        self, transaction: CallTransaction, call_id: CallId, said: Conclusion, stated_in: CallId
    ) -> CallOutcome:
        """How the call ended, as it is recorded from now on; `stated_in`: the call that says so.

        Should the outside say later that the call was made, that counts: the record's newest event says so then.
        Raises  CallHasEnded, CallUnderWay.
        """
        intent = await transaction.intents.close(call_id)
        if intent is None:
            raise CallHasEnded
        call = self.stored.left(intent)
        self._require_left(intent, call)
        result: Json = {"stated": said.statement, "stated_in": str(stated_in)}
        await transaction.record(self._event(call, result, happened=said.happened))
        if not said.happened:
            await transaction.intents.uncount(call_id)
        return CallOutcome(
            call_id=call_id,
            tool=intent.tool,
            outcome="done" if said.happened else "failed",
            result=result,
            error=None if said.happened else STATED,
        )

    def _require_left(self, intent: Intent, call: Recorded) -> None:
        """Raises  CallUnderWay."""
        timeout = timedelta(0) if call.manifest is None else call.manifest.timeout
        until = intent.begun_at + at_it_for(timeout)
        if self.clock() < until:
            raise CallUnderWay(until)

    def _event(self, call: Recorded, result: Json, *, happened: bool) -> ActivityEvent:
        if happened:
            return self.scribe.event("tool.completed", call, opens=False, outcome="done", result=canonical(result))
        return self.scribe.event(
            "tool.failed", call, opens=False, outcome="failed", error=STATED, result=canonical(result)
        )
