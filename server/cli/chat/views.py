"""How a run is shown at a terminal: translators of its events, which decide nothing and drive no terminal."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from agent.citations import fault_words
from server.cli.laying_out import one_line, shown
from server.cli.printing import plain_json
from tools.outcomes import Json


class View(Protocol):
    """Shows the events of runs, one after the other."""

    def show(self, text: str, event: Json) -> None:
        """The next event, as its exact JSON text and as a value."""
        ...

    def close(self) -> None:
        """The run is over, however it ended."""
        ...


@dataclass(slots=True)
class Known:
    """What was told before, and need not be told again."""

    tools: dict[str, str] = field(default_factory=dict[str, str])
    """The names of the calls so far, by their ids."""
    answering: tuple[str, str] | None = None
    """The agent that answered last, and its model."""


class JsonLines:
    """Each event on a line of its own, for machines."""

    def show(self, text: str, event: Json) -> None:
        """The event as every other reader gets it."""
        sys.stdout.write(plain_json(text) + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing is open."""


class Plain:
    """Lines of text as they come: for pipes, and for terminals that can do no more."""

    def __init__(self) -> None:
        self._write: Callable[[str], object] = sys.stdout.write
        self._known = Known()

    def show(self, text: str, event: Json) -> None:
        """Words at once, the rest a line each."""
        if event["type"] == "message.delta":
            self._write(shown(event["delta"]))
        elif event["type"] == "message.completed":
            self._write("\n" + "".join(f"{line}\n" for line in citation_lines(event)))
        else:
            self._write("".join(f"{line}\n" for line in lines_of(event, self._known)))
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing is open."""


def lines_of(event: Json, known: Known) -> Sequence[str]:
    """What is told of an event that is no text."""
    match event["type"]:
        case "run.started":
            before, known.answering = known.answering, (one_line(event["agent"]), one_line(event["model"]))
            return [] if before == known.answering else ["({}, model {})".format(*known.answering)]
        case "tool.called" | "tool.decided" | "tool.progress" | "tool.completed":
            return _call_lines(event, known)
        case "approval.decided":
            return [f"({one_line(event['by'])} answered: {event['decision']})"]
        case "run.waiting":
            return ["(It waits for a person's approval, and goes on once that is given.)"]
        case "message.reset":
            return ["", f"(What stands above was withdrawn: {one_line(event['reason'])})"]
        case "run.cancelled":
            return ["(stopped)"]
        case "run.failed":
            again = " Ask again." if event["retryable"] else ""
            return [f"(The answer failed: {one_line(event['message'])}{again})"]
        case _:
            return []


def _call_lines(event: Json, known: Known) -> Sequence[str]:
    tool = known.tools.get(str(event["call_id"]), "")
    match event["type"]:
        case "tool.called":
            known.tools[str(event["call_id"])] = one_line(event["tool"])
            return [f"→ {one_line(event['tool'])} {one_line(event['arguments'])}"]
        case "tool.decided" if event["decision"] != "allow":
            reasons = ", ".join(cast("list[str]", event["reasons"]))
            return [f"  {tool}: {event['decision']} ({one_line(reasons)})"]
        case "tool.progress":
            return [progress_line(event, known)]
        case "tool.completed":
            return [f"← {tool} {_outcome(event)}"]
        case _:
            return []


def progress_line(event: Json, known: Known) -> str:
    """How far a call has come, in a line."""
    share = round(100 * cast(float, event["progress"]))
    return f"  {known.tools.get(str(event['call_id']), '')} {share:3} % {one_line(event['message'])}"


def _outcome(event: Json) -> str:
    """How a call ended, with what of its result fits into a line."""
    error, result = event.get("error"), event.get("result")
    if isinstance(error, dict):
        return f"{event['outcome']}: {one_line(cast(Json, error).get('message', ''))}"
    items = cast(Json, result).get("items") if isinstance(result, dict) else None
    if isinstance(items, list):
        count = len(cast("list[object]", items))
        return f"{event['outcome']}: {count} {'item' if count == 1 else 'items'}"
    return str(event["outcome"])


def citation_lines(event: Json) -> Sequence[str]:
    """The citations of an answer: document, section or page, and characters; `/cite N` opens one."""
    return [f"  {citation_line(cast(Json, each))}" for each in cast("list[object]", event["citations"])]


def citation_line(citation: Json) -> str:
    """One citation in a line."""
    page = f"page {citation['page']}" if citation.get("page") is not None else None
    place = [citation.get("section"), page, f"characters {citation['start']}-{citation['end']}"]
    parts = (citation["title"], *place, fault_words(citation))
    return f"[{citation['marker']}] " + ", ".join(one_line(part) for part in parts if part)
