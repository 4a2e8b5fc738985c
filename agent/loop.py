"""The one streaming loop: the model speaks, the calls it asks for pass the gate, and again, within the run's budget."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol, assert_never
from uuid import UUID

from agent.budget import (
    CostOf,
    Limit,
    Spent,
    done_words,
    exhausted_words,
    last_turn_notice,
    no_price,
    stopped_words,
)
from agent.calling import Calls, CallSetup
from agent.context import Transcript
from agent.conversations.checkpoints import Checkpoint, SpentSoFar, checkpoint_text
from agent.conversations.model import MadeCall, Step
from agent.events import AgentEvent, Citation, MessageCompleted, MessageReset, RunUsage, RunWaiting, ToolProgress
from agent.grounding import UNSUPPORTED, owes_not_found, unchecked
from agent.hearing import Call, Explain, Heard, Say, Stop, Unpaid, Unsaid, hear, next_step
from agent.model import BudgetExhausted, Model, ModelFailed, ModelRequest, ToolCall, ToolOffer
from agent.resuming import TAKEN_OVER, Resumed
from agent.usage import usage_of
from domain.kernel import ApprovalId, CallId


def has_passed(deadline: float) -> bool:
    """Whether it is that time, by the event loop's clock."""
    return asyncio.get_running_loop().time() >= deadline


class Journal(Protocol):
    """Where the loop leaves what is to be remembered of the run."""

    def note(self, step: Step) -> None:
        """Remember a step; this never waits, so that it holds in a cancelled run too."""
        ...

    async def keep(self, usage: RunUsage) -> None:
        """Returns when what was noted is committed, with what the run has spent so far."""
        ...

    async def committed(self) -> None:
        """Returns when everything told so far is in the log."""
        ...

    def tell(self, progress: ToolProgress) -> None:
        """Tell at once how far the call under way has come; the loop itself speaks again when that has ended."""
        ...


CheckCitations = Callable[[str, tuple[Citation, ...]], Awaitable[tuple[Citation, ...]]]
"""Holds the citations of a message, of that id, to the stored documents; those that fail come back marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnContext:
    """How the agent stands before one turn: the model it speaks by, and what that is offered."""

    model: Model
    offers: Sequence[ToolOffer]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSetup:
    """Everything that one run of the loop stands on."""

    context: Callable[[], TurnContext]
    """Asked before each turn: a call of the last one may have handed the conversation over."""
    calls: CallSetup
    transcript: Transcript
    journal: Journal
    check: CheckCitations
    model: str | None = None
    """The model that the run is told to speak by; None: whichever speaks."""
    cost_of: CostOf = no_price
    resumed: Resumed | None = None
    """Where another process left the run."""
    closing: bool = False
    """What that process had begun is brought to its end, and nothing begun any more."""
    before: Spent | None = None
    """What was spent before the first turn: on a summary of what came before."""
    has_passed: Callable[[float], bool] = has_passed
    """Asked before each turn whether the run's time is over."""


async def run_turn(setup: TurnSetup) -> AsyncGenerator[AgentEvent, None]:
    """One run's events between its start and its terminal event, the usage last.

    A turn whose calls left questions to people is the last for now: then comes what the run waits for, and nothing more
    until those are answered. What was begun is ended in any other case: each started message, each called tool. Each
    call that the model made has its one result in the journal, whatever was cancelled when.
    Raises  ModelFailed, Unavailable, CancelledError: after what was begun has been ended.
    """
    loop = _Loop(setup)
    try:
        async with aclosing(loop.events()) as events:
            async for event in events:
                yield event
    except (Exception, asyncio.CancelledError):
        yield loop.usage()
        raise
    finally:
        await loop.settled()
    yield loop.usage()
    if loop.awaited:
        yield RunWaiting(approvals=loop.awaited)


class _Loop:
    """The state of one run of the loop."""

    def __init__(self, setup: TurnSetup) -> None:
        self._setup = setup
        self._budget = setup.calls.budget
        self._spent = (setup.before or Spent()) if setup.resumed is None else setup.resumed.spent
        self._spent.cost_of = setup.cost_of
        self.awaited: tuple[ApprovalId, ...] = ()
        """The questions that the run waits for."""
        used_s = 0.0 if setup.resumed is None else setup.resumed.seconds
        self._began = asyncio.get_running_loop().time() - used_s
        self._deadline = self._began + self._budget.seconds
        self._keeping: asyncio.Task[None] | None = None

    async def events(self) -> AsyncGenerator[AgentEvent, None]:
        """What another process had begun, where one had; then what follows."""
        resumed = self._setup.resumed
        if resumed is not None:
            async with aclosing(self._resume(resumed)) as events:
                async for event in events:
                    yield event
            if self.awaited or self._setup.closing or resumed.answered:
                return
        async with aclosing(self._turns()) as events:
            async for event in events:
                yield event

    async def _turns(self) -> AsyncGenerator[AgentEvent, None]:
        """Turn after turn of the model, until there is an answer."""
        while not self.awaited:
            limit = self._spent.limit_reached(self._budget)
            heard = Heard(new_id=self._setup.calls.new_id)
            heard.out_of_time = self._setup.has_passed(self._deadline)
            if limit != "tokens" and not heard.out_of_time:
                async with aclosing(self._hear(heard, limit)) as events:
                    async for event in events:
                        yield event
            async with aclosing(self._check(heard)) as events:
                async for event in events:
                    yield event
            await self._kept()
            step = next_step(heard, limit)
            if isinstance(step, Call):
                async with aclosing(self._call(heard, step.calls)) as events:
                    async for event in events:
                        yield event
                continue
            for event in self._answered(heard, self._last_words(step, heard)):
                yield event
            return

    def _last_words(self, step: Say | Stop | Explain | Unpaid, heard: Heard) -> str:
        """What the loop adds to the model's own words, or says in their place."""
        match step:
            case Say():
                owes = owes_not_found(heard.own_words, self._spent.calls, heard.citations)
                return UNSUPPORTED if owes else ""
            case Stop(reached):
                return stopped_words(reached, self._budget, self._spent.calls)
            case Explain(about):
                return self._explanation(about)
            case Unpaid(why):
                return exhausted_words(why, self._spent.calls)
            case _:
                assert_never(step)

    async def _resume(self, resumed: Resumed) -> AsyncGenerator[AgentEvent, None]:
        """End what another process had begun: its half-said words are withdrawn, its turn's calls are settled."""
        for message_id in resumed.half_said:
            yield MessageReset(message_id=message_id, reason=TAKEN_OVER)
        for event in resumed.answers.untold:
            yield event
        self.awaited = resumed.answers.still
        turn = resumed.heard
        if turn is None:
            return
        asked = [call for _, call in turn.calls]
        heard = Heard(
            new_id=self._setup.calls.new_id,
            message_id=str(turn.message_id),
            text=resumed.words,
            calls=asked,
            provider_items=list(turn.provider_items),
        )
        heard.citations = await self._held(heard)
        if not asked:
            # An answer that was told whole: only its end was not written down.
            self._note(heard)
            return
        calls = self._calls(asked, ids=[call_id for call_id, _ in turn.calls], told=resumed.told)
        async with aclosing(self._make(heard, calls)) as events:
            async for event in events:
                yield event

    def usage(self) -> RunUsage:
        """What the run has spent so far."""
        return usage_of(self._spent, self._setup.model)

    async def _hear(self, heard: Heard, limit: Limit | None) -> AsyncGenerator[AgentEvent, None]:
        """One turn of the model, whose message gets its end also when the turn does not."""
        context = self._setup.context()
        await self._setup.transcript.ready(context.offers)
        turn = hear(context.model, self._request(context, limit), heard, self._spent, self._deadline)
        try:
            async with aclosing(turn) as events:
                async for event in events:
                    await self._kept()
                    yield event
        except BudgetExhausted as exhausted:
            # What was done and found by then is not lost on the reader.
            if not self._spent.calls:
                raise
            heard.unpaid = exhausted.message
        except ModelFailed as failed:
            if heard.text:
                yield MessageReset(message_id=heard.message_id, reason=failed.code)
            raise
        except asyncio.CancelledError:
            if heard.text:
                heard.citations = unchecked(self._setup.calls.book.cited(heard.text))
                yield self._said(heard)
            raise

    async def _check(self, heard: Heard) -> AsyncGenerator[AgentEvent, None]:
        """Hold what was said to the documents, before it is told whole; the message gets its end in any case."""
        try:
            heard.citations = await self._held(heard)
        except asyncio.CancelledError:
            if heard.text:
                heard.citations = unchecked(self._setup.calls.book.cited(heard.text))
                yield self._said(heard)
            raise
        failed = [each for each in heard.citations if each.fault not in (None, "unchecked")]
        self._spent.failed_citations += len(failed)

    async def _held(self, heard: Heard) -> tuple[Citation, ...]:
        cited = self._setup.calls.book.cited(heard.text)
        return await self._setup.check(heard.message_id, cited) if cited else ()

    def _request(self, context: TurnContext, limit: Limit | None) -> ModelRequest:
        """At a limit the model is offered no tools, and told to answer."""
        if limit is None:
            return self._setup.transcript.request(context.offers)
        return self._setup.transcript.request((), last_turn_notice(limit, self._budget))

    async def _call(self, heard: Heard, asked: Sequence[ToolCall]) -> AsyncGenerator[AgentEvent, None]:
        """The words of one turn, and then its calls."""
        calls = self._calls(asked)
        mark = self._checkpoint(heard, calls)
        if heard.text:
            yield replace(self._completed(heard), checkpoint=mark)
        else:
            calls.checkpoint = mark
        async with aclosing(self._make(heard, calls)) as events:
            async for event in events:
                yield event

    def _calls(
        self,
        asked: Sequence[ToolCall],
        ids: Sequence[CallId] = (),
        told: frozenset[tuple[CallId, str]] = frozenset(),
    ) -> Calls:
        return Calls(
            setup=self._setup.calls,
            asked=asked,
            deadline=self._deadline,
            spent=self._spent,
            ids=list(ids),
            told=told,
        )

    def _checkpoint(self, heard: Heard, calls: Calls | None = None) -> str:
        """The turn as it was heard, from which another process could go on."""
        spent = SpentSoFar(
            usage=self.usage(),
            repairs=self._spent.repairs,
            estimated_tokens=self._spent.estimated_tokens,
            seconds=asyncio.get_running_loop().time() - self._began,
        )
        return checkpoint_text(
            Checkpoint(
                message_id=UUID(heard.message_id),
                calls=() if calls is None else tuple(zip(calls.ids, calls.asked, strict=True)),
                provider_items=tuple(heard.provider_items),
                spent=spent,
                words=None if heard.own_words == heard.text else heard.own_words,
                out_of_time=heard.out_of_time,
                unpaid=heard.unpaid,
                told=heard.told,
                limits=self._budget,
            )
        )

    async def _make(self, heard: Heard, calls: Calls) -> AsyncGenerator[AgentEvent, None]:
        """The calls of one turn; their step is being kept while the model hears of their results."""
        try:
            async with aclosing(calls.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._note(heard, calls.made())
        self._spent.repairs += calls.malformed
        self.awaited = tuple(each.approval.approval_id for each in calls.outcomes if each.approval is not None)
        if not self.awaited:  # else it is kept with the word that the run waits
            self._keeping = asyncio.create_task(self._setup.journal.keep(self.usage()))

    async def _kept(self) -> None:
        """Returns when the last calls' step is committed: before that, nothing is told or done of what followed it.

        Raises  as the journal raised it.
        """
        if self._keeping is not None:
            await self._keeping
            self._keeping = None

    async def settled(self) -> None:
        """Returns when no step is being kept any more; whoever ends the run writes down what was not."""
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
            if not self._keeping.cancelled():
                self._keeping.exception()

    def _answered(self, heard: Heard, words: str) -> Sequence[AgentEvent]:
        """The last words, and the end of the message they stand in."""
        added = list(heard.add(words)) if words else []
        return [*added, self._said(heard)]

    def _said(self, heard: Heard) -> MessageCompleted:
        self._note(heard)
        return replace(self._completed(heard), checkpoint=self._checkpoint(heard))

    def _completed(self, heard: Heard) -> MessageCompleted:
        return MessageCompleted(message_id=heard.message_id, text=heard.text, citations=heard.citations)

    def _note(self, heard: Heard, calls: tuple[MadeCall, ...] = ()) -> None:
        step = Step(
            message_id=UUID(heard.message_id),
            text=heard.text,
            calls=calls,
            citations=heard.citations,
            provider_items=tuple(heard.provider_items),
            usage=heard.usage,
        )
        self._setup.journal.note(step)
        self._setup.transcript.add(step)

    def _explanation(self, about: Unsaid) -> str:
        match about:
            case "refusal":
                return "The model declined to answer this."
            case "length":
                return "(Cut off here: this is as much as the model can write at once.)"
            case "filtered":
                return "(The provider's filter cut this answer off here.)"
            case "silence":
                return self._unsaid()
            case _:
                assert_never(about)

    def _unsaid(self) -> str:
        """What the model should have told."""
        done = f" {done_words(self._spent.calls)}" if self._spent.calls else ""
        return f"The model gave no answer.{done} Please ask again, perhaps in other words."
