"""The offline model behind the port: reads the conversation, finds its next move, streams it."""

import re
from collections.abc import AsyncGenerator, Sequence

import orjson

from agent.model import (
    OFFLINE,
    AssistantMessage,
    CallRequested,
    Finished,
    Message,
    ModelEvent,
    ModelRequest,
    TextDelta,
    ToolCall,
)
from agent.offline.plan import Ask, next_move
from agent.offline.reading import read_intent
from agent.offline.talk import talk_of
from domain.kernel import Clock, utc_now

_CONTEXT_WINDOW = 128_000
_PIECE = re.compile(r"\s*(?:\S+\s+){0,2}\S+\s*")
"""A delta carries about three words."""
_OWN_ID = re.compile(r"offline_(\d{1,9})")


class OfflineModel:
    """A model of rules that needs no key and no network: the same request at the same day gives the same answer.

    It knows only what stands in the request's messages, and calls only tools that the request offers.
    """

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self._clock = clock

    @property
    def name(self) -> str:
        return OFFLINE

    @property
    def context_window(self) -> int:
        return _CONTEXT_WINDOW

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """One turn: a single call, or an answer that names itself as the offline model's."""
        talk = talk_of(request.messages)
        move = next_move(read_intent(talk.message, self._clock().date()), talk, request.tools)
        if isinstance(move, Ask):
            arguments = orjson.dumps(move.arguments).decode()
            call = ToolCall(provider_id=_next_id(request.messages), name=move.tool, arguments=arguments)
            yield CallRequested(call=call)
            yield Finished(reason="calls")
            return
        for piece in _PIECE.findall(f"{move.text}\n\n{move.signature}"):
            yield TextDelta(text=piece)
        yield Finished(reason="stop")


def _next_id(messages: Sequence[Message]) -> str:
    """An id that no call of this conversation has."""
    calls = (call for message in messages if isinstance(message, AssistantMessage) for call in message.calls)
    numbers = (int(found[1]) for call in calls if (found := _OWN_ID.fullmatch(call.provider_id)))
    return f"offline_{max(numbers, default=0) + 1}"
