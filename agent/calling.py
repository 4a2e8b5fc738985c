"""The calls of one turn: through the gate one after the other, each with its events and its one result."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, cast

import orjson

from agent.budget import Budget, Spent
from agent.citations import CitationBook
from agent.context import result_text
from agent.conversations.model import MadeCall
from agent.events import AgentEvent, ApprovalRequested, Json, ToolCalled, ToolCompleted, ToolDecided, ToolProgress
from agent.model import ToolCall
from domain.kernel import ApprovalId, CallId, NewId, Principal, Trust
from domain.taint import NOTHING
from tools.outcomes import (
    OUTCOME_UNKNOWN,
    CallError,
    CallOutcome,
    CallRequest,
    CutOff,
    decision_of,
    envelope,
    error_json,
)

MENDABLE = frozenset({"unknown_tool", "invalid_arguments"})
"""Faults of form: the model is told, and may write the call anew."""
NOT_MADE = CallError(code="cancelled", message="The run ended before this call was made.")
CUT_OFF = CallError(code="cancelled", message="The run ended while this call was under way.")
OVER_BUDGET = CallError(code="budget_exhausted", message="The run has used up its tool calls; this one was not made.")
OUT_OF_TIME = CallError(code="budget_exhausted", message="The run's time was over before this call had ended.")
UNSETTLED = CallError(
    code=OUTCOME_UNKNOWN,
    message="The run ended before it was known what became of this call. It is being found out and recorded.",
)
SETTLED_WITHIN_S = 5.0
"""For all calls of a turn that ends: a stop waits no longer for an outside that does not answer."""
RAW_LENGTH = 10_000
"""Characters shown of arguments that are no JSON object."""


CallEvent = ToolCalled | ToolDecided | ApprovalRequested | ToolCompleted


class Caller(Protocol):
    """The gate, as the loop sees it."""

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome: ...


Settled = Callable[[CallRequest], Awaitable[CallOutcome | None]]


async def made_by_nobody(_: CallRequest) -> CallOutcome | None:
    """No other process was there before."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSetup:
    """What a run's calls stand on."""

    gate: Caller
    principal: Principal
    request: Callable[[CallId, str, object], CallRequest]
    """The request of a call, with the run's own ids, from the call's id, tool and arguments."""
    trust_of: Callable[[str], Trust]
    approval_url: Callable[[ApprovalId], str | None]
    book: CitationBook
    budget: Budget
    new_id: NewId
    committed: Callable[[], Awaitable[None]]
    """Returns when everything told so far is in the log, where another process would go on from it."""
    tell: Callable[[ToolProgress], None]
    """Tells at once how far a call has come, behind everything told so far."""
    settled: Settled = made_by_nobody
    """How a call ended that another process asked for, as it was told or recorded; None: it was not made."""
    settled_within_s: float = SETTLED_WITHIN_S


@dataclass(slots=True, kw_only=True)
class Calls:
    """The calls that one turn of the model asked for, as far as they have been made."""

    setup: CallSetup
    asked: Sequence[ToolCall]
    deadline: float
    spent: Spent
    ids: list[CallId] = field(default_factory=list[CallId])
    """Of each call that was asked for; new ones, where another process has not given them."""
    told: frozenset[tuple[CallId, str]] = frozenset()
    """What another process told of them already."""
    checkpoint: str | None = None
    """What stands with the first call."""
    outcomes: list[CallOutcome] = field(default_factory=list[CallOutcome])
    _settled_by: float | None = None
    """Till when it is asked how calls ended, by the event loop's clock."""
    _cut_off: CallOutcome | None = None
    """The outcome of a call that was done when its caller was cancelled."""

    def __post_init__(self) -> None:
        self.ids = self.ids or [CallId(self.setup.new_id()) for _ in self.asked]

    async def events(self) -> AsyncGenerator[AgentEvent, None]:
        """Makes the calls in the order the model wrote them.

        One after the other: a later call may count on an earlier one's effect, and the record reads as the
        conversation does. None is made before it stands in the log that it was asked for: should the process end,
        another finds the call there, and whether it was made in the record.
        Raises what the gate raises, after the call under way has got its end, and those that another process had begun.
        """
        under_way = False
        try:
            for call_id, call in zip(self.ids, self.asked, strict=True):
                under_way = True
                for event in self._untold(self._called(call_id, call)):
                    yield event
                await self.setup.committed()
                outcome = await self._make(call_id, call)
                self._took(outcome)
                under_way = False
                for event in self._untold(*_events_of(outcome, call)):
                    yield event
        except (Exception, asyncio.CancelledError):
            async with aclosing(self._broken_off(under_way=under_way)) as events:
                async for event in events:
                    yield event
            raise

    async def _broken_off(self, *, under_way: bool) -> AsyncGenerator[AgentEvent, None]:
        """How the call under way ended, and each that another process had begun: that one may have been done."""
        while (at := len(self.outcomes)) < len(self.asked):
            call_id, call = self.ids[at], self.asked[at]
            ended = self._cut_off or await self._settled(self._request(call_id, call))
            self._cut_off = None
            if under_way and (ended is None or ended.outcome == "cancelled"):
                ended = _cancelled(call_id, call, CUT_OFF)
            if ended is None and (call_id, "tool.called") not in self.told:
                return  # nor was any behind it
            ended, under_way = self._marked(ended or _cancelled(call_id, call, NOT_MADE)), False
            self._took(ended)
            for event in self._untold(*_events_of(ended, call)):
                yield event

    async def _settled(self, request: CallRequest) -> CallOutcome | None:
        """How a call ended that another process asked for; unknown where nobody says so in time, and settled later."""
        if self._settled_by is None:
            self._settled_by = asyncio.get_running_loop().time() + self.setup.settled_within_s
        try:
            async with asyncio.timeout_at(self._settled_by):
                return await self.setup.settled(request)
        except TimeoutError:
            return CallOutcome(call_id=request.call_id, tool=request.tool, outcome="failed", error=UNSETTLED)

    def _called(self, call_id: CallId, call: ToolCall) -> ToolCalled:
        mark = self.checkpoint if call_id == self.ids[0] else None
        arguments = shown_arguments(call.arguments)
        return ToolCalled(call_id=call_id, tool=call.name, arguments=arguments, checkpoint=mark)

    def _untold(self, *events: CallEvent) -> Sequence[CallEvent]:
        return [event for event in events if (event.call_id, event.type) not in self.told]

    def made(self) -> tuple[MadeCall, ...]:
        """Every call with its one result; those that were never made are cancelled."""
        rest = zip(self.ids[len(self.outcomes) :], self.asked[len(self.outcomes) :], strict=True)
        outcomes = [*self.outcomes, *(_cancelled(call_id, call, NOT_MADE) for call_id, call in rest)]
        provider_ids = _distinct(self.asked, self.ids)
        return tuple(
            MadeCall(
                call_id=outcome.call_id,
                provider_id=provider_id,
                tool=call.name,
                arguments=call.arguments,
                outcome=outcome.outcome,
                text=self._text(outcome),
            )
            for provider_id, call, outcome in zip(provider_ids, self.asked, outcomes, strict=True)
        )

    @property
    def malformed(self) -> bool:
        """True when the model has something to mend."""
        return any(outcome.error is not None and outcome.error.code in MENDABLE for outcome in self.outcomes)

    def _took(self, outcome: CallOutcome) -> None:
        self.outcomes.append(outcome)
        self.spent.calls.append((outcome.tool, outcome.outcome))

    async def _make(self, call_id: CallId, call: ToolCall) -> CallOutcome:
        if len(self.spent.calls) >= self.setup.budget.calls:
            return _cancelled(call_id, call, OVER_BUDGET)
        request = self._request(call_id, call)
        try:
            async with asyncio.timeout_at(self.deadline):
                outcome = await self._from_gate(request)
        except TimeoutError:
            ended = self._cut_off or await self._settled(request)
            self._cut_off = None
            if ended is None or ended.outcome == "cancelled":
                ended = _cancelled(call_id, call, OUT_OF_TIME)
            outcome = ended
        return self._marked(outcome)

    def _request(self, call_id: CallId, call: ToolCall) -> CallRequest:
        request = self.setup.request(call_id, call.name, gate_arguments(call.arguments))
        return replace(request, tell=partial(self._progressed, call_id))

    def _progressed(self, call_id: CallId, progress: float, message: str) -> None:
        self.setup.tell(ToolProgress(call_id=call_id, progress=progress, message=message))

    async def _from_gate(self, request: CallRequest) -> CallOutcome:
        """What the gate answers; a call that was done when the cancellation came is kept as done."""
        try:
            return await self.setup.gate.call(request, self.setup.principal)
        except CutOff as cut:
            if cut.ended.outcome != "cancelled":
                self._cut_off = cut.ended
            # A timeout of asyncio's recognizes the class itself only.
            raise asyncio.CancelledError from cut

    def _marked(self, outcome: CallOutcome) -> CallOutcome:
        if outcome.result is None:
            return outcome
        return replace(outcome, result=self.setup.book.mark(outcome.tool, outcome.result))

    def _text(self, outcome: CallOutcome) -> str:
        url = None if outcome.approval is None else self.setup.approval_url(outcome.approval.approval_id)
        shown = envelope(outcome, approval_url=url)
        told = outcome.taint
        trust = self.setup.trust_of(outcome.tool) if told == NOTHING else told.trust
        return result_text(shown, tool=outcome.tool, trust=trust, audience=told.audience)


def gate_arguments(text: str) -> object:
    """What the gate is to judge: the JSON value the model wrote, or its bare text where that is none."""
    if not text.strip():
        return {}
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def shown_arguments(text: str) -> Json:
    """What readers see of the arguments: the object, or the text as `_raw` where there is none."""
    arguments = gate_arguments(text)
    if isinstance(arguments, dict):
        return cast(Json, arguments)
    return {"_raw": text[:RAW_LENGTH]}


def _events_of(outcome: CallOutcome, call: ToolCall) -> Iterator[CallEvent]:
    if outcome.verdict is not None:
        decision = decision_of(outcome.verdict)
        yield ToolDecided(call_id=outcome.call_id, decision=decision, reasons=outcome.verdict.reasons)
    if outcome.approval is not None:
        yield ApprovalRequested(
            approval_id=outcome.approval.approval_id,
            call_id=outcome.call_id,
            tool=outcome.tool,
            arguments=shown_arguments(call.arguments),
            needs_role=str(outcome.approval.needs_role),
            four_eyes=outcome.approval.four_eyes,
            expires_at=outcome.approval.expires_at,
        )
    if outcome.outcome == "waiting":  # it has no end yet, and gets it when its question is settled
        return
    error = None if outcome.error is None else error_json(outcome.error)
    yield ToolCompleted(call_id=outcome.call_id, outcome=outcome.outcome, result=outcome.result, error=error)


def _cancelled(call_id: CallId, call: ToolCall, error: CallError) -> CallOutcome:
    return CallOutcome(call_id=call_id, tool=call.name, outcome="cancelled", error=error)


def _distinct(calls: Sequence[ToolCall], ids: Sequence[CallId]) -> list[str]:
    """The provider's ids, or ours where it gave none or the same twice: results are paired by them."""
    seen: set[str] = set()
    distinct: list[str] = []
    for call, call_id in zip(calls, ids, strict=True):
        own = call.provider_id if call.provider_id and call.provider_id not in seen else f"call_{call_id.hex}"
        seen.add(own)
        distinct.append(own)
    return distinct
