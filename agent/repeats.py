"""A turn that is answered again does nothing again that another version of the conversation did: that stands."""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from agent.calling import Caller
from agent.conversations.model import Act
from domain.kernel import CallId, Principal
from tools.outcomes import CallOutcome, CallRequest
from tools.record import kept_of

ALREADY_DONE = "already_done"


class Refuse(Protocol):
    """Records a call as refused before policy is asked."""

    def __call__(
        self, request: CallRequest, principal: Principal, reason: str, message: str
    ) -> Awaitable[CallOutcome]: ...


class NotAgain:
    """The gate, which refuses a call that was made before with the very same arguments; satisfies Caller."""

    def __init__(self, gate: Caller, refuse: Refuse, acts: Sequence[Act]) -> None:
        self._gate = gate
        self._refuse = refuse
        self._acts: Mapping[tuple[str, str], CallId] = {(act.tool, act.arguments): act.call_id for act in acts}

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        """The gate's answer, or the refusal that names the call which stands."""
        made = self._acts.get((request.tool, kept_of(request.arguments)))
        if made is None:
            return await self._gate.call(request, principal)
        words = (
            f"This very call was made in another version of this conversation, as call {made}, and stands. "
            "It is not made again unless the user asks for another one in a message of its own."
        )
        return await self._refuse(request, principal, ALREADY_DONE, words)
