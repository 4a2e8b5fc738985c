"""One run from its first event to its end: what the orchestrator tells is told on, and how it ended is written down."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress

import structlog

from agent.events import RunCompleted, RunEnded, RunFailed, RunStarted, RunUsage, RunWaiting
from agent.live_run import LiveRun, RunLost, ending_of
from agent.model import ModelFailed
from agent.orchestrator import Orchestrator
from agent.run_stream import RunStream
from agent.titles import Naming
from domain.kernel import NewId
from tools.outcomes import reference_of
from tools.ports import Unavailable

log = structlog.get_logger()


class RunPerformance:
    """Performs runs; it holds none of them."""

    def __init__(self, orchestrator: Orchestrator, naming: Naming, new_id: NewId) -> None:
        self._orchestrator = orchestrator
        self._naming = naming
        self._new_id = new_id

    async def carry(self, live: LiveRun, place: ExitStack) -> RunEnded | RunWaiting | None:
        """From the run's first event here to its last, which is given; its `place` is given up as soon as it is over.

        None: another ends it.
        """
        async with _writing(live.stream):
            ended = await self._perform(live)
            await self._finish(live, ended, place)
        return ended

    async def _perform(self, live: LiveRun) -> RunEnded | RunWaiting | None:
        """Emit what the orchestrator tells, and give how the run is to end; None: it is no longer ours to end.

        A run whose calls wait for people is put down, also when it was told to stop meanwhile: how those calls end is
        settled when it is taken up again.
        """
        live.begin()
        run = live.opened.run
        try:
            if live.resumed is None or not live.resumed.begun:
                live.stream.emit(RunStarted(conversation_id=run.conversation_id, agent=run.agent, model=run.model))
            if live.resumed is not None and live.resumed.owes_waiting:
                live.stream.emit(RunWaiting(approvals=live.resumed.awaited))
            if not live.lost and (live.stopped is None or live.resumed is not None):
                await self._emit_all(live)
            return live.waits or live.stopped or RunCompleted()
        except asyncio.CancelledError:
            if live.stopped is None and not live.lost:
                raise
            _uncancel()
            if live.journal.awaited:
                live.waits = RunWaiting(approvals=live.journal.awaited)
            return live.waits or live.stopped
        except RunLost:
            live.lose()
            return None
        except Unavailable as away:
            # Not the run's fault: its lease runs out, and whoever reaches the database goes on with it.
            log.warning("run.put_down", exc_info=away)
            live.lose()
            return None
        except Exception as fault:  # noqa: BLE001 - every fault has its words, and the unknown ones a reference
            return self._failed(fault)
        finally:
            live.settle()

    async def _emit_all(self, live: LiveRun) -> None:
        telling = self._orchestrator.run(
            live.principal, live.opened, live.journal, live.resumed, closing=live.stopped is not None
        )
        async with aclosing(telling) as events:
            async for event in events:
                if isinstance(event, RunWaiting):
                    live.waits = event
                    break
                live.stream.emit(event)
                if isinstance(event, RunUsage):
                    live.usage = event

    async def _finish(self, live: LiveRun, ended: RunEnded | RunWaiting | None, place: ExitStack) -> None:
        """All that was told, then the row, then the terminal frame: whoever sees the row ended can read the rest."""
        if ended is None or live.lost:
            log.warning("run.lost")
            return
        await live.stream.flush()
        if not await live.journal.finish(ending_of(ended, live.usage)):
            log.warning("run.lost")
            return
        place.close()
        self._naming.begin(live, ended)
        # Of a run that waits another may tell it, who goes on with it already.
        with suppress(Unavailable):
            await live.stream.end(ended)

    def _failed(self, fault: Exception) -> RunFailed:
        match fault:
            case ModelFailed():
                log.warning("run.model_failed", code=fault.code, exc_info=fault)
                return RunFailed(code=fault.code, message=fault.message, retryable=fault.retryable)
            case _:
                reference = reference_of(self._new_id())
                log.error("run.failed", reference=reference, exc_info=fault)
                words = f"Something went wrong inside the server; its log knows more under {reference}."
                return RunFailed(code="internal", message=words, retryable=False)


@asynccontextmanager
async def _writing(stream: RunStream) -> AsyncGenerator[None, None]:
    """The stream's writer runs for the length of the block."""
    async with asyncio.TaskGroup() as owned:
        owned.create_task(stream.write())
        try:
            yield
        finally:
            stream.close()


def _uncancel() -> None:
    """The cancellation was meant for what the run was doing and has done its work; writing down its end comes next."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
