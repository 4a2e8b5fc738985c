"""Joins an answer that broke off to what the model says when it is asked to go on: nothing is shown twice."""

from dataclasses import dataclass, replace

from agent.model import AssistantMessage, ModelRequest, UserMessage

ANCHOR_LENGTH = 40
"""Characters of what was shown last that the model is to say again, so that the ends can be laid on one another."""
_ANCHOR_WORDS = 4
_CLEARLY = 24
"""Characters from which on a new answer that begins like the shown one is taken to be that answer again."""
_LEAST_OVERLAP = 4
_LONGEST_HELD = 2 * ANCHOR_LENGTH
"""Characters that are held back at most, unless they are all of them known."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The words that come behind those that were shown."""

    text: str


@dataclass(frozen=True, slots=True)
class Differs:
    """The model has begun anew and says something else: what was shown holds no more."""

    text: str
    """Its words from the beginning."""


def going_on(request: ModelRequest, shown: str) -> ModelRequest:
    """The request for the rest of an answer of which `shown` has been told; the same one where that is nothing."""
    if not shown.strip():
        return request
    asked = UserMessage(text=_instruction(_anchor(shown)))
    return replace(request, messages=(*request.messages, AssistantMessage(text=shown), asked))


def _instruction(anchor: str) -> str:
    return (
        "(The connection broke off while you were answering; your last message is what arrived. Go on with that very "
        "answer as if nothing had happened: no apology, no introduction, nothing of it again but its last words, so "
        f'that the two parts can be joined. Begin exactly with: "{anchor}")'
    )


def _anchor(shown: str) -> str:
    """The last few words, as they stand."""
    tail = shown.rstrip()[-ANCHOR_LENGTH:]
    words = tail.split(" ")
    return " ".join(words[-_ANCHOR_WORDS:]) if len(words) > _ANCHOR_WORDS else tail


class Seam:
    """Takes the words of a second part as they come, and gives what is to be shown of them.

    It holds back until it can tell three things apart: the same answer from its beginning, of which what was shown is
    left out; the rest of it, with or without some of the last words again; another answer.
    """

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._held = ""
        self._joined = not shown.strip()

    def take(self, words: str) -> Joined | Differs | None:
        """What is to be shown now; None while it is not clear yet."""
        if self._joined:
            return Joined(words)
        self._held += words
        alike = _alike(self._shown, self._held)
        if alike == len(self._shown):
            return self._join(self._held[alike:])
        if alike >= max(_LEAST_OVERLAP, min(_CLEARLY, len(self._shown) // 2)) and alike < len(self._held):
            return self._differ()
        if len(self._held) < _LONGEST_HELD or self._held.lstrip() in self._shown:
            return None
        return self._join(self._rest())

    def end(self) -> Joined | Differs | None:
        """What was still held back when the second part ended."""
        if self._joined or not self._held.strip():
            return None
        # The same answer again, which this time ended sooner.
        return self._differ() if self._shown.startswith(self._held) else self._join(self._rest())

    def _join(self, words: str) -> Joined:
        self._joined = True
        return Joined(words)

    def _differ(self) -> Differs:
        self._joined = True
        return Differs(self._held)

    def _rest(self) -> str:
        """What was held, without what it repeats of the last words."""
        for held in (self._held, self._held.lstrip()):
            if length := _overlap(self._shown, held):
                return held[length:]
            if length := _overlap(self._shown.rstrip(), held):
                return held[length:].lstrip()
        return self._held.removeprefix(" ") if self._shown.endswith(" ") else self._held


def _overlap(shown: str, held: str) -> int:
    """How many characters at the end of the one begin the other; 0 where that may be chance."""
    longest = range(min(len(held), len(shown)), _LEAST_OVERLAP - 1, -1)
    return next((length for length in longest if shown.endswith(held[:length])), 0)


def _alike(one: str, other: str) -> int:
    """How many characters the two have in common at their beginning."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))
