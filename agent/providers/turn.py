"""What every API's turn has in common: payloads in, their text joined, a fault that came as data kept behind it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import cast

import orjson

from agent.json_values import mapping, whole
from agent.model import Finished, FinishReason, Json, ModelEvent, Usage
from agent.providers.faults import ProviderFault, fault_in_stream


class ProviderTurn(ABC):
    """Folds the payloads of one response; knows nothing of the network.

    `read` gives the text that some payloads hold together, `end` what follows it. A fault that came as data is kept in
    `fault`, so that the text before it is shown first. Unknown fields and events are ignored.
    """

    def __init__(self) -> None:
        self.begun = False
        """Some of the answer arrived: from here on another try could show or do a thing twice."""
        self.reasons = False
        """The model is at its reasoning, of which nothing may be heard for long."""
        self.done = False
        """The server said that it has ended, or an error: nothing that matters follows."""
        self.fault: ProviderFault | None = None
        self.refused = False
        """The model said, in words of their own kind, that it will not."""
        self.usage: Usage | None = None
        self._half_character = ""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """The answer is whole: what may follow is the usage and a farewell."""

    @abstractmethod
    def reason(self) -> FinishReason:
        """Why it ended, where it was not refused.

        Raises  ProviderFault: it broke off.
        """

    @abstractmethod
    def made(self) -> list[ModelEvent]:
        """What the provider wants back, and the whole calls."""

    @abstractmethod
    def take(self, event: Json, pieces: list[str]) -> None:
        """Takes one payload; the text it adds goes to `pieces`."""

    def read(self, payloads: Iterable[bytes]) -> str:
        """The text that these payloads add, joined; empty when they add none."""
        pieces: list[str] = []
        for payload in payloads:
            if self.done:
                break
            if payload.strip() == b"[DONE]":
                self.done = True
            else:
                self.take(_decoded(payload), pieces)
        added = "".join(pieces)
        return added if added.isascii() and not self._half_character else self._joined(added)

    def end(self) -> list[ModelEvent]:
        """What the provider wants back, the whole calls, the usage if it was said, and the one Finished.

        Raises  ProviderFault: the stream ended before the answer did.
        """
        if not self.finished:
            raise ProviderFault("interrupted", detail="the stream ended before the answer did")
        reason = self.reason()
        finished = Finished(reason="refusal" if self.refused else reason)
        # A turn that was cut off or refused has no calls: the last one may lack its end, and none is to be acted on.
        # Nor does its reasoning go back, which may lack its end as well.
        events = self.made() if finished.reason in ("calls", "stop") else []
        if self.usage is not None:
            events.append(self.usage)
        return [*events, finished]

    def take_usage(self, said: object, sent: str, received: str) -> None:
        """The usage, by what this API calls the tokens; some servers repeat it, growing: the last one holds."""
        if usage := mapping(said):
            read = _count(usage.get(sent))
            # A few servers tell what they remembered outside the details.
            cached = mapping(usage.get(f"{sent}_details")).get("cached_tokens", usage.get("prompt_cache_hit_tokens"))
            self.usage = Usage(
                input_tokens=read, output_tokens=_count(usage.get(received)), cached_tokens=min(_count(cached), read)
            )

    def break_off(self, error: object) -> None:
        """The server said, as data, that it failed."""
        self.fault = fault_in_stream(error)
        self.done = True

    def _joined(self, added: str) -> str:
        r"""`added` with the halves of a character joined that a server cut between two chunks (`\ud83d`, `\ude00`)."""
        added = self._half_character + added
        self._half_character = ""
        if added and "\ud800" <= added[-1] <= "\udbff":
            self._half_character, added = added[-1], added[:-1]
        return mended(added)


def _count(told: object) -> int:
    return max(whole(told) or 0, 0)


def mended(written: str) -> str:
    """`written` with both halves of a character joined; a half without its other half becomes U+FFFD."""
    return written if written.isascii() else written.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decoded(payload: bytes) -> Json:
    try:
        value: object = orjson.loads(payload)
    except orjson.JSONDecodeError:
        value = _decoded_leniently(payload)
    if not isinstance(value, dict):
        raise ProviderFault("protocol", detail="a chunk that is no JSON object")
    return cast("Json", value)


def _decoded_leniently(payload: bytes) -> object:
    """What orjson is too strict for but servers send: NaN, and halves of a character written as escapes."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise ProviderFault("protocol", detail=f"a chunk that is not JSON: {type(error).__name__}") from None
