"""One answer in one thread: streamed while it comes, over as many messages as Slack makes of it, and true at its end.

Slack closes a stream after about five minutes, at whatever is sent to it then. What was on its way goes to a fresh
message, and the closed one is settled by chat.update, so that nothing is lost and nothing told twice. Where something
went wrong on the way, or another process began, every message is settled in the end with what it ought to say.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from server.slack.blocks import Footing, fallback, sections
from server.slack.web import Json, SlackWeb, StreamClosed
from server.slack.words import MESSAGE_CHARACTERS, escaped, fitting, fitting_pieces, unlinked

Hold = Callable[[], Awaitable[None]]
"""Raises  TakenOver: somebody else shows the answer by now."""
Remember = Callable[[Sequence[str]], Awaitable[None]]
"""Keeps the ids of the messages that show the answer, for whoever has to carry on."""

ONLY_CALLS = "_There is nothing more to say._"
BLOCKS_AT_MOST = 50
"""Of one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an answer goes, and to whom."""

    channel_id: str
    thread_ts: str
    team_id: str
    user_id: str


@dataclass(slots=True)
class _Part:
    """One message of the answer, and what it shows."""

    ts: str
    text: str
    streaming: bool = True


@dataclass(slots=True)
class Answer:
    """Raises, whatever is called: SlackAway (carry on later with `earlier`), SlackSaysNo, TakenOver."""

    web: SlackWeb
    place: Place
    remember: Remember
    hold: Hold
    """Asked before anything that another holder may have written is written over."""
    earlier: Sequence[str] = ()
    """Messages that a process before this one began to show the answer in."""
    _parts: list[_Part] = field(default_factory=list[_Part])

    @property
    def told(self) -> str:
        """What the messages show so far."""
        return "".join(part.text for part in self._parts)

    def shows(self, text: str) -> bool:
        """Whether the messages show so much of the text already."""
        return self.told == unlinked(text)

    async def grow(self, text: str) -> None:
        """Show the text, which begins with what is shown already."""
        text = unlinked(text)
        more = text[len(self.told) :]
        while more:
            part = self._parts[-1] if self._parts and self._parts[-1].streaming else None
            piece = fitting(more, MESSAGE_CHARACTERS - len(escaped(part.text if part else "")))
            if part is None:
                await self._begin(piece)
            elif not piece:
                await self._close(part, Footing())
            elif not await self._appended(part, piece):
                continue
            more = more[len(piece) :]

    async def finish(self, text: str, footing: Footing, *, as_told: bool) -> None:
        """The answer is complete: `as_told` where `grow` has shown nothing but the beginning of it."""
        if self.earlier or not as_told:
            await self._settle_all(text, footing)
            return
        await self.grow(text or ONLY_CALLS)
        part = self._parts[-1] if self._parts[-1].streaming else None
        if part is None:
            await self._update(self._parts[-1], footing)
        else:
            await self._close(part, footing)

    async def _begin(self, piece: str) -> None:
        """A stream that opens with its first words, so that no message is ever empty."""
        await self.hold()
        place = self.place
        said = await self.web.call(
            "chat.startStream",
            channel=place.channel_id,
            thread_ts=place.thread_ts,
            recipient_team_id=place.team_id,
            recipient_user_id=place.user_id,
            markdown_text=escaped(piece),
        )
        self._parts.append(_Part(ts=str(said["ts"]), text=piece))
        await self.remember([part.ts for part in self._parts])

    async def _appended(self, part: _Part, piece: str) -> bool:
        """False: Slack has closed the stream, and the piece goes elsewhere."""
        try:
            await self.web.call(
                "chat.appendStream", channel=self.place.channel_id, ts=part.ts, markdown_text=escaped(piece)
            )
        except StreamClosed:
            part.streaming = False
            await self._update(part, Footing())
            return False
        part.text += piece
        return True

    async def _close(self, part: _Part, footing: Footing) -> None:
        part.streaming = False
        try:
            await self.web.call(
                "chat.stopStream", channel=self.place.channel_id, ts=part.ts, blocks=footing.blocks() or None
            )
        except StreamClosed:
            await self._update(part, footing)

    async def _settle_all(self, text: str, footing: Footing) -> None:
        """Every message says what it ought to; what is too many becomes a dot, what is too few is posted."""
        begun = [*self.earlier, *(part.ts for part in self._parts if part.ts not in self.earlier)]
        pieces = list(fitting_pieces(text or ONLY_CALLS, MESSAGE_CHARACTERS))
        for place, piece in enumerate(pieces):
            last = Footing() if place < len(pieces) - 1 else footing
            if place < len(begun):
                await self._rewrite(begun[place], piece, last)
            else:
                begun.append(await self._post(piece, last))
                await self.remember(begun)
        for spare in begun[len(pieces) :]:
            await self._rewrite(spare, "…", Footing())

    async def _rewrite(self, ts: str, text: str, footing: Footing) -> None:
        with suppress(StreamClosed):
            await self.web.call("chat.stopStream", channel=self.place.channel_id, ts=ts)
        await self._update(_Part(ts=ts, text=text), footing)

    async def _update(self, part: _Part, footing: Footing) -> None:
        await self.hold()
        await self.web.call("chat.update", channel=self.place.channel_id, ts=part.ts, **_laid_out(part.text, footing))

    async def _post(self, text: str, footing: Footing) -> str:
        await self.hold()
        place = self.place
        said = await self.web.call(
            "chat.postMessage",
            channel=place.channel_id,
            thread_ts=place.thread_ts,
            unfurl_links=False,
            unfurl_media=False,
            **_laid_out(text, footing),
        )
        return str(said["ts"])


def _laid_out(text: str, footing: Footing) -> Json:
    below = footing.blocks()
    return {"text": fallback(text), "blocks": [*sections(text)[: BLOCKS_AT_MOST - len(below)], *below]}
