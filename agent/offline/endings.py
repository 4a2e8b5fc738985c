"""The offline model's words for a call that gave no result: it waits, was refused, or failed."""

from collections.abc import Iterable
from datetime import UTC, datetime

from agent.json_values import items, mapping, text
from agent.offline.talk import Json, Step

_DOING = {
    "knowledge_search": "search the documents",
    "knowledge_read": "read the document",
    "task_create": "create the task",
    "task_list": "list the tasks",
    "task_get": "look the task up",
    "task_run": "run the task",
    "task_run_get": "look the run up",
    "autonomy_query": "look up what I may do",
    "analytics_report": "make the report",
    "call_get": "look the call up",
}


def not_offered(tool: str) -> str:
    """Words for a call that cannot be asked for here."""
    return f"I cannot {_doing(tool)}: the tool {tool} is not offered to you here."


def not_done(step: Step) -> str:
    """Why a call gave no result, and what can be done about it."""
    doing = _doing(step.tool)
    message = text(step.error.get("message"))
    match step.outcome:
        case "waiting":
            return _waiting(step, doing)
        case "denied":
            return lines(f"I may not {doing}.", *(f"- {reason}" for reason in step.reasons or (message,) if reason))
        case "invalid":
            return lines(f"I could not {doing}: {message or 'the arguments were refused.'}", *_faults(step.error))
        case "failed":
            reference = text(step.error.get("reference"))
            found = f" (reference {reference})" if reference else ""
            return f"I could not {doing}: {message or 'the call failed.'}{found}"
        case "cancelled" | "expired" | "rejected" as outcome:
            return f"I did not {doing}: the call was {outcome}. {message}".strip()
        case "dry_run":
            return f"Nothing was done: the call to {doing} was only tried out."
        case _:
            return f"I asked to {doing}, but cannot read how it ended."


def _waiting(step: Step, doing: str) -> str:
    role = text(step.approval.get("needs_role"))
    who = f"{role} or above" if role else "a person with the right to"
    not_you = ", but not the person who asked for it," if step.approval.get("four_eyes") is True else ""
    until = _moment(step.approval.get("expires_at"))
    where = text(step.approval.get("url"))
    return lines(
        f"I asked to {doing}; it waits for a person's approval, and nothing is done before.",
        f"- who may decide: {who}{not_you}{f' until {until}' if until else ''}",
        f"- where: {where}" if where else "",
        f"- approval {text(step.approval.get('id'))}" if step.approval.get("id") else "",
        *(f"- why: {reason}" for reason in step.reasons),
    )


def _faults(error: Json) -> Iterable[str]:
    for detail in map(mapping, items(error.get("details"))):
        path = text(detail.get("path"))
        yield f"- {f'{path}: ' if path else ''}{text(detail.get('message'))}"


def _doing(tool: str) -> str:
    return _DOING.get(tool, f"call {tool}")


def _moment(value: object) -> str:
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError:
        return ""
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).strftime("%Y-%m-%d %H:%M UTC")


def lines(*given: str) -> str:
    """The lines that are not empty, one below the other."""
    return "\n".join(line for line in given if line)
