"""The one streaming loop: the model speaks, the calls it asks for pass the gate, and again, within the run's budget."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol, assert_never
from uuid import UUID

from agent.budget import Limit, Spent, done_words, last_turn_notice, stopped_words
from agent.calling import Calls, CallSetup
from agent.context import Transcript
from agent.conversations.model import MadeCall, Step
from agent.events import AgentEvent, MessageCompleted, MessageReset, RunUsage
from agent.hearing import Call, Explain, Heard, Say, Stop, Unsaid, hear, next_step
from agent.model import Model, ModelFailed, ModelRequest, ToolCall, ToolOffer
from tools.outcomes import ApprovalAsked, CallOutcome


class Journal(Protocol):
    """Where the loop leaves what is to be remembered of the run."""

    def note(self, step: Step) -> None:
        """Remember a step; this never waits, so that it holds in a cancelled run too."""
        ...

    async def keep(self) -> None:
        """Returns when what was noted is committed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Stance:
    """How the agent stands before one turn: the model it speaks by, and what that is offered."""

    model: Model
    offers: Sequence[ToolOffer]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSetup:
    """Everything that one run of the loop stands on."""

    stance: Callable[[], Stance]
    """Asked before each turn: a call of the last one may have handed the conversation over."""
    calls: CallSetup
    transcript: Transcript
    journal: Journal


async def run_turn(setup: TurnSetup) -> AsyncGenerator[AgentEvent, None]:
    """One run's events between its start and its terminal event, the usage last.

    What was begun is ended in any case: each started message, each called tool. Each call that the model made has its
    one result in the journal, whatever was cancelled when.
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


class _Loop:
    """The state of one run of the loop."""

    def __init__(self, setup: TurnSetup) -> None:
        self._setup = setup
        self._budget = setup.calls.budget
        self._spent = Spent()
        self._waiting: list[tuple[CallOutcome, ApprovalAsked]] = []
        self._deadline = asyncio.get_running_loop().time() + self._budget.seconds
        self._keeping: asyncio.Task[None] | None = None

    async def events(self) -> AsyncGenerator[AgentEvent, None]:
        """Turn after turn of the model, until there is an answer."""
        while True:
            limit = self._spent.limit_reached(self._budget)
            heard = Heard(message_id=str(self._setup.calls.new_id()))
            heard.out_of_time = asyncio.get_running_loop().time() >= self._deadline
            if limit != "tokens" and not heard.out_of_time:
                async with aclosing(self._hear(heard, limit)) as events:
                    async for event in events:
                        yield event
            await self._kept()
            step = next_step(heard, limit)
            match step:
                case Call(calls):
                    async with aclosing(self._call(heard, calls)) as events:
                        async for event in events:
                            yield event
                    continue
                case Say():
                    words = ""
                case Stop(reached):
                    words = stopped_words(reached, self._budget, self._spent.calls)
                case Explain(about):
                    words = self._explanation(about)
                case _:
                    assert_never(step)
            for event in self._answered(heard, words):
                yield event
            return

    def usage(self) -> RunUsage:
        """What the run has spent so far."""
        return RunUsage(
            input_tokens=self._spent.input_tokens,
            output_tokens=self._spent.output_tokens,
            model_calls=self._spent.turns,
            tool_calls=len(self._spent.calls),
        )

    async def _hear(self, heard: Heard, limit: Limit | None) -> AsyncGenerator[AgentEvent, None]:
        """One turn of the model, whose message gets its end also when the turn does not."""
        stance = self._setup.stance()
        turn = hear(stance.model, self._request(stance, limit), heard, self._spent, self._deadline)
        try:
            async with aclosing(turn) as events:
                async for event in events:
                    await self._kept()
                    yield event
        except ModelFailed as failed:
            if heard.text:
                yield MessageReset(message_id=heard.message_id, reason=failed.code)
            raise
        except asyncio.CancelledError:
            if heard.text:
                yield self._said(heard)
            raise

    def _request(self, stance: Stance, limit: Limit | None) -> ModelRequest:
        """At a limit the model is offered no tools, and told to answer."""
        if limit is None:
            return self._setup.transcript.request(stance.offers)
        return self._setup.transcript.request((), last_turn_notice(limit, self._budget))

    async def _call(self, heard: Heard, asked: Sequence[ToolCall]) -> AsyncGenerator[AgentEvent, None]:
        """The calls of one turn; their step is being kept while the model hears of their results."""
        calls = Calls(setup=self._setup.calls, asked=asked, deadline=self._deadline, spent=self._spent)
        try:
            if heard.text:
                yield self._completed(heard)
            async with aclosing(calls.events()) as events:
                async for event in events:
                    yield event
        finally:
            self._note(heard, calls.made())
        self._spent.repairs += calls.malformed
        self._waiting += [(outcome, outcome.approval) for outcome in calls.outcomes if outcome.approval is not None]
        self._keeping = asyncio.create_task(self._setup.journal.keep())

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
        return self._completed(heard)

    def _completed(self, heard: Heard) -> MessageCompleted:
        cited = self._setup.calls.book.cited(heard.text)
        return MessageCompleted(message_id=heard.message_id, text=heard.text, citations=cited)

    def _note(self, heard: Heard, calls: tuple[MadeCall, ...] = ()) -> None:
        cited = self._setup.calls.book.cited(heard.text)
        step = Step(
            message_id=UUID(heard.message_id),
            text=heard.text,
            calls=calls,
            citations=cited,
            provider_items=tuple(heard.provider_items),
        )
        self._setup.journal.note(step)
        self._setup.transcript.add(step)

    def _explanation(self, about: Unsaid) -> str:
        match about:
            case "refusal":
                return "The model declined to answer this."
            case "length":
                return "(Cut off here: this is as much as the model can write at once.)"
            case "silence":
                return self._unsaid()
            case _:
                assert_never(about)

    def _unsaid(self) -> str:
        """What the model should have told."""
        if self._waiting:
            return "\n".join(self._waits(outcome, asked) for outcome, asked in self._waiting)
        done = f" {done_words(self._spent.calls)}" if self._spent.calls else ""
        return f"The model gave no answer.{done} Please ask again, perhaps in other words."

    def _waits(self, outcome: CallOutcome, asked: ApprovalAsked) -> str:
        who = f"{asked.needs_role} or above" + (", who is not the one who asked," if asked.four_eyes else "")
        url = self._setup.calls.approval_url(asked.approval_id)
        where = f" Decide it here: {url}" if url else ""
        until = asked.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        return f"{outcome.tool} waits for the approval of a {who} until {until}; nothing was done yet.{where}"
