"""A model that counts aloud for as long as a test wants it to, and answers at once whoever asks for nothing else."""

import asyncio
from collections.abc import AsyncGenerator

from agent.model import Finished, ModelEvent, ModelRequest, TextDelta, Usage
from tests.support.scripted_model import ScriptedModel, asks, call, says

COUNT = "Count aloud."
PACE_S = 0.02


class Speaker:
    """Satisfies agent.model.Model; `enough` is set to have it come to an end."""

    name = "speaker"
    context_window = 128_000

    def __init__(self) -> None:
        self.enough = asyncio.Event()
        self.counted = 0
        self._at_once = ScriptedModel(brain=_one_call)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        counts = any(message.role == "user" and COUNT in message.text for message in request.messages)
        async for event in self._count() if counts else self._at_once.stream(request):
            yield event

    async def _count(self) -> AsyncGenerator[ModelEvent, None]:
        while not self.enough.is_set():
            yield TextDelta(text=f"{self.counted} ")
            self.counted += 1
            try:
                await asyncio.wait_for(self.enough.wait(), PACE_S)
            except TimeoutError:
                continue
        yield Usage(input_tokens=1, output_tokens=self.counted)
        yield Finished(reason="stop")


def _one_call(request: ModelRequest) -> list[ModelEvent]:
    """Asks for the list of tasks, and says something of it."""
    return says("So ", "many.") if request.messages[-1].role == "tool" else asks(call("task_list"))
