"""The model and the tools of a run that is told again: they say what was recorded of them, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from typing import cast
from uuid import UUID

from agent.budget import Allowance, NoBudget
from agent.calling import CUT_OFF
from agent.citations import READ, SEARCH
from agent.events import Citation, CitationFault, Json, RunFailed, RunFrame
from agent.json_values import items, mapping, parsed, text, whole
from agent.model import (
    BrokenOff,
    BudgetExhausted,
    CallRequested,
    Finished,
    ItemMade,
    ModelEvent,
    ModelFailed,
    ModelRequest,
    TextDelta,
    ToolCall,
    Usage,
)
from agent.replay.model import RecordedCall, RecordedTurn, Stretch
from agent.replay.spending import TurnSpent
from agent.resuming import outcome_told
from domain.kernel import CallId, Principal
from tools.outcomes import CallOutcome, CallRequest, CutOff

NOBODY = UUID(int=0)
"""The id of what the recording does not know: no event with it is the same as a recorded one."""


class Stopped(asyncio.CancelledError):
    """Here the run was told to stop."""


class RecordingEnds(Exception):
    """Here the recording is over: what the run did next was told by nobody."""


class RecordedIds:
    """The ids that the run gave, in the order in which the loop asks for them."""

    def __init__(self, turns: Sequence[RecordedTurn]) -> None:
        self._ids = iter([given for turn in turns for given in _ids_of(turn)])

    def __call__(self) -> UUID:
        """The next id."""
        return next(self._ids, NOBODY)


def _ids_of(turn: RecordedTurn) -> Iterator[UUID]:
    """First each message's, for none of them begins before the one before it is withdrawn; then the calls'."""
    yield from map(UUID, turn.message_ids) if turn.message_ids else (NOBODY,)
    for call_id, _ in turn.calls:
        yield call_id


class RecordedChecks:
    """What the documents bore out of the citations of each message when they were told, and where what was read stood.

    They may say else today.
    """

    def __init__(self, frames: Sequence[RunFrame]) -> None:
        told = (mapping(parsed(frame.data)) for frame in frames if frame.type == "message.completed")
        self._by_message = {
            text(event.get("message_id")): {
                each.get("marker"): each for each in map(mapping, items(event.get("citations")))
            }
            for event in told
        }

    async def __call__(self, message_id: str, citations: tuple[Citation, ...]) -> tuple[Citation, ...]:
        """The citations, marked and placed as they were."""
        told = self._by_message.get(message_id, {})
        return tuple(_as_told(citation, told.get(citation.marker, {})) for citation in citations)


def _as_told(citation: Citation, told: Json) -> Citation:
    marked = replace(citation, fault=cast("CitationFault | None", told.get("fault")))
    if citation.chunk_id is not None:
        return marked
    return replace(
        marked,
        chunk_id=text(told.get("chunk_id")) or None,
        page=whole(told.get("page")),
        section=text(told.get("section")) or None,
    )


class RecordedModel:
    """Says turn after turn what was recorded; satisfies agent.model.Model.

    `ends`: what comes upon the run in a turn that came to no end.
    """

    context_window = 1 << 40

    def __init__(self, turns: Sequence[tuple[RecordedTurn, TurnSpent]], ends: BaseException) -> None:
        self._turns = list(turns)
        self._ends = ends
        self._cost: float | None = None

    @property
    def name(self) -> str:
        """Of the model that is asked next."""
        turn, spent = self._turns[0]
        answering = None if turn.told is None else turn.told.answering
        return spent.model if answering is None else answering.instead_of

    @property
    def has_more(self) -> bool:
        """Whether there is another turn."""
        return bool(self._turns)

    def has_passed(self, deadline: float) -> bool:
        """Whether the run's time was over before the next turn, so that nobody was asked."""
        del deadline
        turn = self._turns[0][0] if self._turns else None
        return turn is not None and turn.out_of_time and not turn.asked

    def cost_of(self, model: str, read: int, cached: int, written: int) -> float | None:
        """The price of the moment."""
        del model, read, cached, written
        return self._cost

    @property
    def unpaid(self) -> str:
        """Why nobody was asked for the next turn: which budget had too little left; empty where somebody was."""
        return self._turns[0][0].unpaid if self._turns else ""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """The next turn."""
        del request
        turn, spent = self._turns.pop(0)
        self._cost = spent.cost
        for event in _said(turn, spent):
            yield event
        if turn.out_of_time:
            raise TimeoutError
        if turn.told is None or turn.told.ended is None:
            raise self._end_of(spent)
        yield Finished(reason=turn.told.ended)

    def _end_of(self, spent: TurnSpent) -> BaseException:
        if isinstance(self._ends, ModelFailed):
            self._ends.begun = spent.untold > 0
        return self._ends


def _said(turn: RecordedTurn, spent: TurnSpent) -> Iterator[ModelEvent]:
    yield from turn.withdrawn
    if turn.told is not None and turn.told.answering is not None:
        yield turn.told.answering
    words = turn.words if turn.own_words is None else turn.own_words
    if words:
        yield TextDelta(text=words)
    for item in turn.provider_items:
        yield ItemMade(item=item)
    for _, call in turn.calls:
        yield CallRequested(call=call)
    for _ in range(0 if turn.told is None else turn.told.asked - len(turn.calls)):
        # Nothing was kept of it, for it came when no call could be made any more.
        yield CallRequested(call=ToolCall(provider_id="", name="", arguments=""))
    yield Usage(input_tokens=spent.read, cached_tokens=spent.cached, output_tokens=spent.written)
    for _ in range(spent.untold):
        yield BrokenOff()


class RecordedPurse(NoBudget):
    """Has too little left where the run's budgets had; satisfies agent.budget.Purse."""

    def __init__(self, model: RecordedModel) -> None:
        self._model = model

    async def hold(self, model: str, words: Sequence[str], written: int | None, seconds: float) -> Allowance | None:
        """Nothing is held.

        Raises  BudgetExhausted: here the run was told so.
        """
        if self._model.unpaid:
            raise BudgetExhausted(self._model.unpaid)
        return await super().hold(model, words, written, seconds)


class RecordedTools:
    """Answers each call with what was recorded of it; satisfies agent.calling.Caller."""

    def __init__(self, stretch: Stretch, ends: BaseException) -> None:
        self._stretch = stretch
        self._ends = ends

    async def call(self, request: CallRequest, principal: Principal) -> CallOutcome:
        """The outcome that was told, after what was told of how far the call had come.

        Raises  CutOff, and what came upon the run where this was its last call.
        """
        del principal
        recorded = self._stretch.calls.get(request.call_id, RecordedCall())
        for each in recorded.progress:
            request.tell(cast(float, each.get("progress")), text(each.get("message")))
        outcome = _outcome(request.call_id, recorded)
        if outcome is None:
            raise RecordingEnds
        if outcome.error == CUT_OFF:
            raise self._ends
        if self._is_last_told(request.call_id):
            raise CutOff(outcome) if isinstance(self._ends, Stopped) else self._ends
        return outcome

    def _is_last_told(self, call_id: CallId) -> bool:
        """Whether the run ended before it came to the next call of the same turn."""
        asked = next((turn.calls for turn in self._stretch.turns if call_id in dict(turn.calls)), ())
        ids = [each for each, _ in asked]
        following = ids[ids.index(call_id) + 1 :] if call_id in ids else []
        return bool(following) and following[0] not in self._stretch.calls


def _outcome(call_id: CallId, recorded: RecordedCall) -> CallOutcome | None:
    told = dict(recorded.told)
    if "approval.requested" in told:
        told.setdefault("tool.completed", {"outcome": "waiting"})
    outcome = outcome_told(call_id, told)
    return outcome if outcome is None or outcome.result is None else _unmarked(outcome)


def _unmarked(outcome: CallOutcome) -> CallOutcome:
    """As the gate gave it: the numbers of passages are the loop's."""
    result = mapping(outcome.result)
    if outcome.tool == READ:
        return replace(outcome, result=_without_marker(result))
    if outcome.tool != SEARCH:
        return outcome
    return replace(outcome, result={**result, "items": [_without_marker(each) for each in items(result.get("items"))]})


def _without_marker(passage: object) -> Json:
    return {name: value for name, value in mapping(passage).items() if name != "marker"}


def what_ends(stretch: Stretch, error: RunFailed | None, *, cancelled: bool) -> BaseException:
    """What came upon the run where the last turn of a stretch, or its last call, has no end of its own."""
    if stretch.usage is None:
        return RecordingEnds()
    if cancelled:
        return Stopped()
    if error is None:
        return RecordingEnds()
    return ModelFailed(error.code, error.message, retryable=error.retryable)
