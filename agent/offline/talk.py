"""What the messages of a request say: what was asked last, which calls were made for it, how each ended."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.json_values import items, mapping, parsed, text
from agent.model import AssistantMessage, Message, ToolResultMessage, UserMessage

Json = dict[str, object]

TASK_ID = re.compile(r"\btask_id ([0-9a-f-]{36})\b")
TASK_RUN_ID = re.compile(r"\btask_run_id ([0-9a-f-]{36})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call that was made, and the envelope in which its outcome came back; parts that are missing are empty."""

    tool: str
    outcome: str
    result: Json
    reasons: tuple[str, ...]
    approval: Json
    error: Json

    @property
    def done(self) -> bool:
        return self.outcome == "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """The last thing a person said, the steps taken for it, and the whole conversation to look back into."""

    message: str
    steps: tuple[Step, ...]
    messages: Sequence[Message]

    def step(self, tool: str) -> Step | None:
        """The last call of `tool` for this message."""
        return next((step for step in reversed(self.steps) if step.tool == tool), None)

    def last_spoken_of(self, kind: re.Pattern[str]) -> str | None:
        """The id that the model itself named last (`task_id ...`), the only memory it has."""
        said = (message.text for message in reversed(self.messages) if isinstance(message, AssistantMessage))
        return next((found[-1] for words in said if (found := kind.findall(words))), None)


def talk_of(messages: Sequence[Message]) -> Talk:
    """Reads the conversation from its last user message on."""
    asked_at = max((at for at, message in enumerate(messages) if isinstance(message, UserMessage)), default=-1)
    asked = messages[asked_at].text if asked_at >= 0 else ""
    return Talk(message=asked, steps=tuple(_steps(messages[asked_at + 1 :])), messages=messages[: max(asked_at, 0)])


def _steps(messages: Iterable[Message]) -> Iterable[Step]:
    return (_step(message) for message in messages if isinstance(message, ToolResultMessage))


def _step(message: ToolResultMessage) -> Step:
    envelope = mapping(parsed(message.text)) or mapping(parsed(_braced(message.text)))
    verdict = mapping(envelope.get("verdict"))
    return Step(
        tool=message.name,
        outcome=text(envelope.get("outcome")) or "unreadable",
        result=mapping(envelope.get("result")),
        reasons=tuple(reason for reason in map(text, items(verdict.get("reasons"))) if reason),
        approval=mapping(envelope.get("approval")),
        error=mapping(envelope.get("error")),
    )


def _braced(words: str) -> str:
    """The envelope inside words that were put around it."""
    return words[words.find("{") : words.rfind("}") + 1]
