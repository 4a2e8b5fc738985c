"""The fake model of the benchmarks: at once, with its time, steadily or not at all, told apart by the message.

`python -m benchmarks.model` serves all on one port and prints where. The last part of this module asks it without any
server between, which is the model's own time.
"""

import asyncio
from dataclasses import dataclass

import aiohttp
import orjson

from tests.support.fake_openai import one_tool_brain, serve, words_of
from tests.support.fake_turns import Answer, Brain, Json, Turn

TOOL = "task_list"
ARGUMENTS = '{"limit": 10}'
WORDS = 50
FIRST_TOKEN_S, PER_TOKEN_S = 0.1, 0.01
"""The pace of the model that takes its time."""

AT_ONCE = "Which tasks are open?"
PACED = "Which tasks are open? Take your time."
STEADY = "Speak steadily."
QUIET = "Think for an hour."
"""What is asked: the fake model goes by it."""
STEADY_WORDS = 500
STEADY_TOKEN_S = 0.02

_RESULT: Json = {"role": "tool", "tool_call_id": "call_0", "content": "{}"}


def paces() -> Brain:
    """Asks for the tool, then says the words, slowly where the person asked for it; or speaks, or is quiet."""
    at_once = one_tool_brain(TOOL, ARGUMENTS, WORDS, (0.0, 0.0))
    paced = one_tool_brain(TOOL, ARGUMENTS, WORDS, (FIRST_TOKEN_S, PER_TOKEN_S))

    steady = Turn(text="word " * STEADY_WORDS, per_token_s=STEADY_TOKEN_S)
    quiet = Turn(text="word", first_token_s=3600.0)

    def think(body: Json) -> Answer:
        match words_of(body):
            case message if STEADY in message:
                return steady
            case message if QUIET in message:
                return quiet
            case _:
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
    asyncio.run(serve(0, paces()))
