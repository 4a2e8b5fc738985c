"""The fake model of the benchmarks: one that answers at once and one that takes its time, told apart by the message.

`python -m benchmarks.model` serves both on one port and prints where. The last part of this module asks it without any
server between, which is the model's own time.
"""

import asyncio
from dataclasses import dataclass

import aiohttp
import orjson

from tests.support.fake_openai import one_tool_brain, serve, words_of
from tests.support.fake_turns import Answer, Brain, Json

TOOL = "task_list"
ARGUMENTS = '{"limit": 10}'
WORDS = 50
FIRST_TOKEN_S, PER_TOKEN_S = 0.1, 0.01
"""The pace of the model that takes its time."""

AT_ONCE = "Which tasks are open?"
PACED = "Which tasks are open? Take your time."
"""What is asked: the fake model goes by it."""

_RESULT: Json = {"role": "tool", "tool_call_id": "call_0", "content": "{}"}


def two_paces() -> Brain:
    """Asks for the tool, then says the words; slowly where the person asked for it."""
    at_once = one_tool_brain(TOOL, ARGUMENTS, WORDS, (0.0, 0.0))
    paced = one_tool_brain(TOOL, ARGUMENTS, WORDS, (FIRST_TOKEN_S, PER_TOKEN_S))

    def think(body: Json) -> Answer:
        return (paced if is_paced(body) else at_once)(body)

    return think


def is_paced(body: Json) -> bool:
    """Whether the person who is being answered said to take time."""
    return PACED in words_of(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """Turns asked of the model itself; satisfies benchmarks.load.Asks."""

    base_url: str

    async def ask(self, session: aiohttp.ClientSession, user: int, message: str) -> None:
        """The two requests of a turn, read to their ends."""
        del user
        question: Json = {"role": "user", "content": message}
        for messages in ([question], [question, _RESULT]):
            body = orjson.dumps({"model": "fake", "stream": True, "messages": messages})
            async with session.post(f"{self.base_url}/chat/completions", data=body) as response:
                response.raise_for_status()
                await response.read()


if __name__ == "__main__":
    asyncio.run(serve(0, two_paces()))
