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
    "task_update": "change the task",
    "task_run_cancel": "cancel the run",
    "release_check": "check the release control",
    "release_submit": "record the release",
    "autonomy_query": "look up what I may do",
    "analytics_report": "make the report",
    "call_get": "look the call up",
    "agent_handover": "hand the conversation over",
}


_REASONS = {
    "agent_may_not": "only a person may, by their own hand",
    "assigning_others_needs_manager": "it takes a MANAGER to give a task to somebody else",
    "autonomy_below_workflow_minimum": "this workflow is not started without asking at this level of autonomy",
    "autonomy_l0_unattended": "nothing is done unattended at this level of autonomy",
    "autonomy_needs_approval_commit": "a person approves what others rely on at this level of autonomy",
    "autonomy_needs_approval_prepare": "a person approves every change at this level of autonomy",
    "client_changes_own_tasks_only": "a client changes only the tasks that are given to it",
    "client_outside_own_engagement": "clients see and touch only what is theirs",
    "control_not_satisfied": "its release control is not satisfied",
    "door_not_offered": "it is not offered by this way in",
    "eqr_only_reads_and_signs": "an EQR reads and signs off, nothing else",
    "irreversible_needs_approval": "a person approves what cannot be undone",
    "not_a_member": "no membership in this organization",
    "releasing_needs_partner": "it takes a PARTNER to release a report, freeze a plan or lock a period",
    "role_too_low": "the role does not suffice",
    "task_run_cancelled": "the task run that it is a step of was cancelled",
    "upload_cannot_wait": "an upload cannot wait for a person's approval, since its file is not kept meanwhile",
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
            return lines(f"I may not {doing}.", *map(_because, step.reasons or (message,)))
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
    until = moment(step.approval.get("expires_at"))
    where, approval_id = text(step.approval.get("url")), text(step.approval.get("id"))
    return lines(
        f"I asked to {doing}; it waits for a person's approval, and nothing is done before.",
        f"- who may decide: {who}{not_you}{f' until {until}' if until else ''}",
        f"- where: {where}" if where else "",
        # The address ends in the id mostly, and once is enough.
        f"- approval {approval_id}" if approval_id not in where else "",
        *map(_because, step.reasons),
    )


def _faults(error: Json) -> Iterable[str]:
    # The message tells the first.
    for detail in map(mapping, items(error.get("details"))[1:]):
        path = text(detail.get("path"))
        yield f"- {f'{path}: ' if path else ''}{text(detail.get('message'))}"


def _doing(tool: str) -> str:
    return _DOING.get(tool, f"call {tool}")


def moment(value: object) -> str:
    """A time as people read it, in UTC; empty when `value` is none."""
    try:
        at = datetime.fromisoformat(text(value))
        return (at if at.tzinfo is None else at.astimezone(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return ""


def reason_words(reason: str) -> str:
    """A policy's reason in words, with its own name by which the record shows it."""
    return f"{_REASONS[reason]}: {reason}" if reason in _REASONS else reason


def _because(reason: str) -> str:
    return f"- {reason_words(reason)}" if reason else ""


def lines(*given: str) -> str:
    """The lines that are not empty, one below the other."""
    return "\n".join(line for line in given if line)
