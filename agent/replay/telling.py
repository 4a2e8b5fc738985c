"""A recorded run told again by the loop of today, event by event."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from uuid import UUID

from agent.budget import Budget, Spent
from agent.calling import CallSetup
from agent.context import Transcript, remembered
from agent.conversations.checkpoints import checkpoint_of
from agent.conversations.model import History, Step
from agent.conversations.runs import RecordedRun, Unfinished
from agent.events import (
    Json,
    RunCancelled,
    RunCompleted,
    RunEnded,
    RunFailed,
    RunStarted,
    RunUsage,
    RunWaiting,
    ToolProgress,
)
from agent.json_values import text
from agent.loop import TurnContext, TurnSetup, run_turn
from agent.model import ModelFailed
from agent.replay.comparing import Comparison
from agent.replay.model import RecordedTurn, Stretch
from agent.replay.parts import (
    RecordedChecks,
    RecordedIds,
    RecordedModel,
    RecordedPurse,
    RecordedTools,
    RecordingEnds,
    Stopped,
    what_ends,
)
from agent.replay.reading import stretches_of
from agent.replay.spending import TurnSpent, spent_before, spent_in, untold_else
from agent.resuming import Resumed, resumed_of
from agent.usage import usage_of
from agent.window import Window
from domain.kernel import CallId, Principal
from tools.outcomes import CallRequest


@dataclass(slots=True)
class Limits:
    """What each stretch of a run could spend, as it was recorded; a persona or a setting may say else today."""

    today: Callable[[], Budget]
    """Of its persona, for a run that was recorded before this was kept."""
    todays: bool = False
    """Whether that was needed."""
    _last: Budget | None = None

    def of(self, stretch: Stretch) -> Budget:
        """Of a stretch that no turn was heard of to its end nothing hangs on it: as before, or as usual."""
        marked = [turn for turn in stretch.turns if turn.marked is not None]
        kept = next((turn.limits for turn in marked if turn.limits is not None), None)
        if kept is None and marked:
            self.todays, kept = True, self.today()
        self._last = kept or self._last or Budget()
        return self._last


async def told_again(run: RecordedRun, past: History, principal: Principal, limits: Limits) -> Comparison:
    """Tell the run again as far as it is recorded, up to the first event that comes out otherwise.

    `past`: what came before it; `limits`: what it could spend.
    Raises  NotReplayable: it was recorded before runs could be told again.
    """
    stretches = stretches_of(run.frames)
    begun, comparison = run.run, Comparison(run.run.run_id, run.frames)
    telling = _Telling(run, past, principal, limits, comparison)
    comparison.take(RunStarted(conversation_id=begun.conversation_id, agent=begun.agent, model=begun.model))
    for stretch in stretches:
        await telling.tell(stretch)
    comparison.end()
    return comparison


@dataclass(slots=True)
class _Journal:
    """Keeps a run's steps for what follows; satisfies agent.loop.Journal."""

    comparison: Comparison
    steps: list[Step] = field(default_factory=list[Step])

    def note(self, step: Step) -> None:
        self.steps.append(step)

    async def keep(self, usage: RunUsage) -> None:
        del usage

    async def committed(self) -> None: ...

    def tell(self, progress: ToolProgress) -> None:
        self.comparison.take(progress)


WIDE = Window(1 << 40, len)
"""Holds everything: how much of a conversation a model was given says nothing of what it said."""


class _Telling:
    """One run as it is told again, stretch after stretch."""

    def __init__(
        self, run: RecordedRun, past: History, principal: Principal, limits: Limits, comparison: Comparison
    ) -> None:
        self._run = run
        self._past = past
        self._principal = principal
        self._limits = limits
        self._comparison = comparison
        self._journal = _Journal(comparison)
        self._later: dict[CallId, Json] = {}

    async def tell(self, stretch: Stretch) -> None:
        """The stretch's events, its last included where it has one."""
        ends = what_ends(stretch, self._run.error, cancelled=self._run.status == "cancelled")
        resumed = self._resumed(stretch)
        first = stretch.turns[0] if stretch.turns else RecordedTurn()
        spent = spent_before(first, self._run.run.model) if resumed is None else resumed.spent
        turns = self._turns(stretch, spent)
        setup = self._setup(stretch, RecordedModel(turns, ends), ends, resumed, spent)
        ended = await self._told(setup, stretch)
        if ended is not None and stretch.end_told:
            self._comparison.take(self._ended_from_outside() or ended)

    def _ended_from_outside(self) -> RunFailed | None:
        """How the sweep ended a run whose last process was lost before it could tell that the run waits."""
        expected = self._comparison.expected
        return self._run.error if expected is not None and expected.type == "run.failed" else None

    async def _told(self, setup: TurnSetup, stretch: Stretch) -> RunEnded | RunWaiting | None:
        """How it ended; None: somebody else went on, or something came out otherwise."""
        try:
            async with aclosing(run_turn(setup)) as events:
                async for event in events:
                    if isinstance(event, RunWaiting):
                        return event
                    if stretch.usage is not None or not isinstance(event, RunUsage):
                        self._comparison.take(event)
                    if self._comparison.divergence is not None:
                        return None
        except Stopped:
            return RunCancelled()
        except ModelFailed as failed:
            return RunFailed(code=failed.code, message=failed.message, retryable=failed.retryable)
        except RecordingEnds:
            return self._run.error if stretch.last else None
        # A run that was told to stop while it waited says no more than what has become of its questions.
        return RunCancelled() if self._run.status == "cancelled" else RunCompleted()

    def _turns(self, stretch: Stretch, spent: Spent) -> list[tuple[RecordedTurn, TurnSpent]]:
        """Each turn of the stretch with what it used; `spent`: what the run had before, to which is added what nobody
        else accounts for."""
        told = self._run.run.model
        before = start = usage_of(spent, told)
        turns: list[tuple[RecordedTurn, TurnSpent]] = []
        for turn in stretch.turns:
            turns.append((turn, spent_in(turn, before, stretch.usage, told)))
            before = before if turn.marked is None else turn.marked.usage
        silent = stretch.usage is not None and stretch.usage.model_calls > before.model_calls
        if silent and all(turn.marked is not None for turn in stretch.turns):
            # One more was begun, and said nothing.
            turn = RecordedTurn()
            turns.append((turn, spent_in(turn, before, stretch.usage, told)))
        spent.untold += untold_else([used for _, used in turns], start, stretch.usage)
        return turns

    def _setup(
        self, stretch: Stretch, model: RecordedModel, ends: BaseException, resumed: Resumed | None, spent: Spent
    ) -> TurnSetup:
        def context() -> TurnContext:
            if not model.has_more:
                raise ends
            return TurnContext(model=model, offers=())

        spent.purse = RecordedPurse(model)
        run = self._run.run
        steps = () if resumed is None else resumed.steps
        transcript = Transcript(system="", history=History(), message=run.message, window=WIDE)
        for step in steps:
            transcript.add(step)
        return TurnSetup(
            context=context,
            calls=self._calls(stretch, ends, steps),
            transcript=transcript,
            journal=self._journal,
            check=RecordedChecks(self._run.frames),
            model=run.model,
            cost_of=model.cost_of,
            resumed=resumed,
            closing=resumed is not None and self._run.status == "cancelled" and not stretch.turns,
            before=spent,
            has_passed=model.has_passed,
        )

    def _calls(self, stretch: Stretch, ends: BaseException, steps: Sequence[Step]) -> CallSetup:
        def request(call_id: CallId, tool: str, arguments: object) -> CallRequest:
            return CallRequest(call_id=call_id, tool=tool, arguments=arguments)

        return CallSetup(
            gate=RecordedTools(stretch, ends),
            principal=self._principal,
            request=request,
            trust_of=lambda _: "external",
            approval_url=lambda _: None,
            book=remembered(self._past, steps),
            budget=self._limits.of(stretch),
            new_id=RecordedIds(stretch.turns),
            committed=self._journal.committed,
            tell=self._journal.tell,
        )

    def _resumed(self, stretch: Stretch) -> Resumed | None:
        """How the run stood when it went on after waiting; None: it begins here."""
        if not stretch.begins_after:
            return None
        told = [frame for frame in self._run.frames if frame.sequence <= stretch.begins_after]
        checkpoints = [frame.checkpoint for frame in told if frame.checkpoint is not None]
        self._later.update(later_of(stretch.answers))
        left = Unfinished(
            run=self._run.run,
            conversation=self._run.conversation,
            cancel_requested=False,
            steps=tuple(self._journal.steps),
            later=self._later,
            checkpoint=checkpoint_of(checkpoints[-1]) if checkpoints else None,
            frames=tuple(told),
            last_sequence=stretch.begins_after,
        )
        # However long it took then, now it takes no time.
        return replace(resumed_of(left), seconds=0.0)


def later_of(answers: Sequence[Json]) -> dict[CallId, Json]:
    """What had become of calls that had waited, as the record says it, from what was told of it."""
    later: dict[CallId, Json] = {}
    decided: Json = {}
    for event in answers:
        if event.get("type") == "approval.decided":
            state = "approved" if event.get("decision") == "approve" else "rejected"
            decided = {"approval": {"id": event.get("approval_id"), "state": state, "decided_by": event.get("by")}}
            continue
        ended = {name: event[name] for name in ("outcome", "result", "error") if name in event}
        later[CallId(UUID(text(event.get("call_id"))))] = {**ended, **decided}
        decided = {}
    return later
