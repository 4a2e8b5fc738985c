"""A run's frames as what an answer in Slack is made of: text, calls, citations, questions and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import orjson

from agent.events import RunFrame
from domain.kernel import ApprovalId
from server.slack.blocks import Footing

Json = dict[str, object]

APART = "\n\n"
"""Between the messages of one run."""
CANCELLED = "This was cancelled; what was done until then stands in the record."
WAITS = "_This waits for a person’s approval. It goes on here, whoever decides it and wherever._"


@dataclass(slots=True)
class Telling:
    """Gathers frames. `text` is what the answer says as far as it has come.

    `tools`: of the calls that an earlier answer of the same run told of, by their ids.
    """

    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    sequence: int = 0
    """Of the last frame."""
    waits: bool = False
    """The run waits for people's answers, and nothing follows until then."""
    awaited: list[ApprovalId] = field(default_factory=list[ApprovalId])
    """What it waits for."""
    withdrawn: bool = False
    """Some of what was told before holds no more."""
    ended: bool = False
    approvals: list[ApprovalId] = field(default_factory=list[ApprovalId])
    _texts: dict[str, str] = field(default_factory=dict[str, str])
    _calls: dict[str, Json] = field(default_factory=dict[str, Json])
    _citations: list[Json] = field(default_factory=list[Json])
    _notes: list[str] = field(default_factory=list[str])
    _under_way: dict[str, str] = field(default_factory=dict[str, str])
    """How far calls have come that take their time, by their ids."""

    @property
    def text(self) -> str:
        """All its messages."""
        return APART.join(text for text in self._texts.values() if text.strip())

    @property
    def waiting_calls(self) -> Mapping[str, str]:
        """The tools of the calls that wait, by the calls' ids."""
        waiting = (call_id for call_id, call in self._calls.items() if call.get("outcome") == "waiting")
        return {**self.tools, **{call_id: str(self._calls[call_id]["tool"]) for call_id in waiting}}

    @property
    def whole(self) -> str:
        """What the answer says now that nothing follows for the time being."""
        return self.text or (WAITS if self.waits else "")

    @property
    def doing(self) -> str:
        """What the thread's status says, behind the app's name; empty where nothing takes its time."""
        return next(reversed(self._under_way.values()), "")

    @property
    def footing(self) -> Footing:
        """What stands below the text."""
        return Footing(calls=list(self._calls.values()), citations=self._citations, notes=self._notes)

    def add(self, frame: RunFrame) -> None:
        """Take the next frame in."""
        event = cast(Json, orjson.loads(frame.data))
        if self.waits:  # what follows is another answer's to tell
            return
        self.sequence, self.waits = frame.sequence, frame.type == "run.waiting"
        match frame.type:
            case "message.delta":
                self._say(event, str(event["delta"]))
            case "message.completed":
                self._complete(event)
            case "message.reset":
                self.withdrawn = bool(self._texts.pop(str(event["message_id"]), "")) or self.withdrawn
            case "tool.called" | "tool.decided" | "tool.completed":
                self._call(event).update(event)
                self._under_way.pop(str(event["call_id"]), None)
            case "tool.progress":
                self._progressed(event)
            case "approval.requested":
                self._call(event)["outcome"] = "waiting"
                self.approvals.append(ApprovalId(UUID(str(event["approval_id"]))))
            case "run.waiting":
                self.awaited = [ApprovalId(UUID(each)) for each in cast("list[str]", event["approvals"])]
            case _:
                self._end(frame, event)

    def _call(self, event: Json) -> Json:
        call_id = str(event["call_id"])
        known: Json = {"tool": self.tools[call_id]} if call_id in self.tools else {}
        return self._calls.setdefault(call_id, known)

    def _progressed(self, event: Json) -> None:
        share = round(100 * cast(float, event["progress"]))
        tool = self._call(event).get("tool", "a tool")
        self._under_way[str(event["call_id"])] = f"is at {tool}: {share} %, {event['message']}"

    def _say(self, event: Json, delta: str) -> None:
        message_id = str(event["message_id"])
        self._texts[message_id] = self._texts.get(message_id, "") + delta

    def _complete(self, event: Json) -> None:
        """What the completed message says is what counts, should its deltas have said anything else."""
        message_id, text = str(event["message_id"]), str(event["text"])
        told = self._texts.get(message_id, "")
        self.withdrawn = self.withdrawn or not text.startswith(told)
        self._texts[message_id] = text
        self._citations.extend(cast("list[Json]", event.get("citations", [])))

    def _end(self, frame: RunFrame, event: Json) -> None:
        self.ended = self.ended or frame.terminal
        if frame.type == "run.failed":
            self._notes.append(str(event["message"]))
        elif frame.type == "run.cancelled":
            self._notes.append(CANCELLED)
