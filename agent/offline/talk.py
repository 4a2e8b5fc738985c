"""What the messages of a request say: what was asked last, which calls were made for it, how each ended."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from agent.json_values import items, mapping, parsed, text
from agent.model import AssistantMessage, Message, ToolResultMessage, UserMessage

Json = dict[str, object]

ACTS = frozenset({"task_create", "task_run", "task_run_cancel", "task_update"})
"""The tools here that change something, and so may be refused or have to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call that was made, and the envelope in which its outcome came back; parts that are missing are empty."""

    tool: str
    call_id: str
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

    def last_task_id(self) -> str | None:
        """The task that was last spoken of before this message."""
        return self._last("task_id", lambda step: _id_in(step, "task"))

    def last_task_run_id(self) -> str | None:
        """The run that was last spoken of before this message."""
        return self._last("task_run_id", lambda step: _id_in(step, "task_run"))

    def last_act_id(self) -> str | None:
        """The call that last asked for a change, however it ended."""
        return self._last(None, lambda step: step.call_id if step.tool in ACTS else "")

    def _last(self, spoken: str | None, in_step: Callable[[Step], str]) -> str | None:
        """The newest id among results and own answers; those name ids as `task_id ...`, for want of a memory."""
        for message in reversed(self.messages):
            found = ""
            if isinstance(message, ToolResultMessage):
                found = in_step(_step(message))
            elif isinstance(message, AssistantMessage) and spoken is not None:
                found = next(iter(re.findall(rf"\b{spoken} ([0-9a-f-]{{36}})\b", message.text)[-1:]), "")
            if found:
                return found
        return None


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
        call_id=text(envelope.get("call_id")),
        outcome=text(envelope.get("outcome")) or "unreadable",
        result=mapping(envelope.get("result")),
        reasons=tuple(reason for reason in map(text, items(verdict.get("reasons"))) if reason),
        approval=mapping(envelope.get("approval")),
        error=mapping(envelope.get("error")),
    )


def _braced(words: str) -> str:
    """The envelope inside words that were put around it."""
    return words[words.find("{") : words.rfind("}") + 1]


def _id_in(step: Step, thing: str) -> str:
    return text(mapping(step.result.get(thing)).get(f"{thing}_id"))
