"""The users: each sends one turn after another and reads the answer to its end, and every answer is checked."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import orjson

TURN_TIMEOUT_S = 60


class WrongAnswer(Exception):
    """A turn did not go as it should: what was measured is worth nothing."""


class Asks(Protocol):
    """Something that turns can be asked of."""

    async def ask(self, session: aiohttp.ClientSession, user: int, message: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDoor:
    """The chat door of one server, and what a good answer of it holds."""

    url: str
    headers: Sequence[dict[str, str]]
    """Of each user."""
    word: bytes
    """What the answer holds at least `words` times."""
    words: int
    signs: Sequence[bytes]
    """What it holds besides: the tool's result, the end."""

    async def ask(self, session: aiohttp.ClientSession, user: int, message: str) -> None:
        """One turn in a conversation of its own, read to its end.

        Raises  WrongAnswer.
        """
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", **self.headers[user]}
        async with session.post(self.url, data=orjson.dumps({"message": message}), headers=headers) as response:
            answer = await response.read()
        if response.status != 200 or not self._good(answer):
            raise WrongAnswer(f"{self.url} answered {response.status}: {answer[-2000:].decode(errors='replace')}")

    def _good(self, answer: bytes) -> bool:
        return answer.count(self.word) >= self.words and all(sign in answer for sign in self.signs)


async def drive(asked: Asks, message: str, *, users: int, turns: int) -> list[float]:
    """How long each turn took, in seconds: `users` at a time, each `turns` one after another."""
    timeout = aiohttp.ClientTimeout(total=TURN_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=users)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_turns(asked, session, user, message, turns)) for user in range(users)]
    return [seconds for task in tasks for seconds in task.result()]


async def _turns(asked: Asks, session: aiohttp.ClientSession, user: int, message: str, turns: int) -> list[float]:
    taken: list[float] = []
    for _ in range(turns):
        started = time.perf_counter()
        await asked.ask(session, user, message)
        taken.append(time.perf_counter() - started)
    return taken
