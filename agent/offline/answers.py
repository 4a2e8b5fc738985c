"""The offline model's words for the result of each tool; whatever a result lacks is left out."""

from collections.abc import Sequence

from agent.grounding import NOT_FOUND
from agent.json_values import items, mapping, text, whole
from agent.offline.endings import lines, moment, reason_words
from agent.offline.passages import extract, passages_of, unnumbered
from agent.offline.talk import Json

SIGNATURE = "(Answered by the offline model; no language model is configured or reachable.)"
_SEARCH_SIGNATURE = (
    "(Answered by the offline model: no language model is configured or reachable. It searched {how} and quotes what"
    " fits best; it does not reason.)"
)
_FOUND = "From the documents:"
_NEAREST = f"{NOT_FOUND} The nearest that I found:"
WHICH_CALL = "Which call do you mean? Say /call and its id."
WHICH_RUN = (
    "Which run do you mean? None was started or spoken of in this conversation. Say: status of run, and its"
    " task_run_id, which the answer to “run task ...” names; or: show task TITLE, which names its latest run."
)
WHICH_ENGAGEMENT = "Of which engagement? Say its id: is the report release of ENGAGEMENT_ID ready?"
_MOST_ROWS = 15
_REPORTS = {
    "activity": "What was done",
    "tasks": "The tasks that were created",
    "tool_use": "How the tools were used",
    "approvals": "What people were asked to approve",
    "knowledge": "Documents, searches and reads",
    "cost": "What the language models used",
    "feedback": "What people said of answers",
}
_LONGEST_TEXT = 4000
_LEVELS = {"L0": "Manual", "L1": "Suggest", "L2": "Auto-prepare", "L3": "Autopilot"}
_DECISIONS = {"allow": "allowed", "deny": "denied", "needs_approval": "needs a person's approval"}


def help_text(reason: str) -> str:
    """What can be asked of the offline model."""
    return lines(
        reason,
        "This is what I understand:",
        "- any question, or /search WORDS: I look in the documents and quote what answers it",
        "- create a task to ... due DATE, or /task TITLE; add 'and run it' to run it at once",
        "- create a task to refresh the analytics and run it",
        "- run task TITLE, run it, or /run; status of run ID, or /status; cancel run ID",
        "- mark task TITLE done, in progress, open or cancelled",
        "- is the report release (plan freeze, period lock, filing) of ENGAGEMENT_ID ready?",
        "- list tasks, or /tasks; show task TITLE",
        "- what may you do on your own?, may you run task_run?, or /autonomy",
        "- how were the tools used last week?, or /report; report approvals, tasks, activity, knowledge or cost, with a"
        " period: report cost last month",
        "- talk to the tax agent, or /agent NAME: another agent goes on with the conversation",
        "- what became of it?, or /call ID: how a call ended that had to wait",
    )


def passages(query: str, result: Json) -> str:
    """The sentences that answer `query`, quoted, each with the marker of its passage."""
    found = extract(query, passages_of(result))
    if not found.quotes:
        return f"{NOT_FOUND} The search gave nothing that you may see."
    quotes = found.quotes if found.clear else found.quotes[:1]
    opening = _FOUND if found.clear else _NEAREST
    quoted = (f"“{quote.text}” [{quote.passage.marker}] ({quote.passage.place})" for quote in quotes)
    return "\n\n".join((opening, *quoted))


def search_signature(result: Json) -> str:
    """Says who answered, and how it searched."""
    mode = text(result.get("mode"))
    return _SEARCH_SIGNATURE.format(how="by words (lexical)" if mode in ("", "lexical") else f"in mode {mode}")


def document(result: Json) -> str:
    """The text that was read, as far as an answer should be long."""
    read = text(result.get("text")).strip()
    if not read:
        return "There is no text there."
    marker = whole(result.get("marker"))
    named = " ".join((text(result.get("title")), "" if marker is None else f"[{marker}]")).strip()
    rest = " ..." if len(read) > _LONGEST_TEXT else ""
    return lines(f"{named}:" if named else "", unnumbered(read[:_LONGEST_TEXT]) + rest)


def task_created(result: Json) -> str:
    """Says which task there is now."""
    made = _thing(result, "task")
    due = f", due {text(made.get('due_on'))}" if made.get("due_on") else ""
    kind = f", kind {text(made.get('kind'))}" if made.get("kind") else ""
    return f"I created the task “{_title(made)}”{kind}{due} (task_id {text(made.get('task_id'))})."


def task(result: Json) -> str:
    """One task with what is known of it."""
    shown = _thing(result, "task")
    run = mapping(shown.get("latest_run"))
    facts = ((name, text(shown.get(name))) for name in ("status", "kind", "assignee", "due_on", "description"))
    return lines(
        f"Task “{_title(shown)}” (task_id {text(shown.get('task_id'))})",
        *(f"- {name.replace('_', ' ')}: {value}" for name, value in facts if value),
        f"- latest run: {text(run.get('status'))} (task_run_id {text(run.get('task_run_id'))})" if run else "",
    )


def task_changed(result: Json) -> str:
    """Says what the task is now."""
    changed = _thing(result, "task")
    status = text(changed.get("status")).replace("_", " ")
    return f"The task “{_title(changed)}” is {status or 'changed'} now (task_id {text(changed.get('task_id'))})."


def release(result: Json) -> str:
    """The state of a release control, what is missing, and what was signed."""
    control = text(result.get("control")).replace("_", " ")
    missing = ", ".join(map(text, items(result.get("missing"))))
    signed = (mapping(each) for each in items(result.get("sign_offs")))
    return lines(
        f"The {control} is {text(result.get('state')).replace('_', ' ') or 'in an unknown state'}.",
        f"- missing: {missing}" if missing else "",
        *map(_sign_off_line, signed),
    )


def _sign_off_line(sign_off: Json) -> str:
    about = f"{text(sign_off.get('subject'))}, version {text(sign_off.get('version'))}"
    outdated = "" if sign_off.get("holds") is True else "; a newer version is known, so it no longer holds"
    decision = "accepted" if text(sign_off.get("decision")) == "accept" else "rejected"
    return f"- {text(sign_off.get('kind'))}: {about} {decision} by {text(sign_off.get('signed_by'))}{outdated}"


def tasks(result: Json) -> str:
    """The tasks, a line each."""
    found = [mapping(item) for item in items(result.get("items"))]
    if not found:
        return "There are no such tasks."
    more = f"... and {len(found) - _MOST_ROWS} more." if len(found) > _MOST_ROWS else ""
    count = "1 task:" if len(found) == 1 else f"{len(found)} tasks:"
    return lines(count, *map(_task_line, found[:_MOST_ROWS]), more)


def _task_line(one: Json) -> str:
    facts = (text(one.get("status")), text(one.get("kind")), f"due {one['due_on']}" if one.get("due_on") else "")
    return f"- “{_title(one)}”: {', '.join(fact for fact in facts if fact)} (task_id {text(one.get('task_id'))})"


def which_task(title: str | None, found: Sequence[Json]) -> str:
    """Asks back when no task, or more than one, is meant."""
    if not found:
        return f"I find no task called “{title}”." if title else "There are no tasks."
    asked = f"{len(found)} tasks are called something like “{title}”." if title else "Which task do you mean?"
    return lines(asked, *map(_task_line, found[:_MOST_ROWS]), "Say it with the whole title, or with the id.")


def task_run_accepted(result: Json) -> str:
    """Says that the run has begun in the background."""
    run = _thing(result, "task_run")
    run_id, status = text(run.get("task_run_id")), text(run.get("status")) or "accepted"
    return (
        f"The task runs in the background: {status} (task_run_id {run_id}). Ask for the status of the run to follow it."
    )


def task_run(result: Json) -> str:
    """How far a run has come, step by step."""
    run = _thing(result, "task_run")
    steps = (mapping(step) for step in items(run.get("steps")))
    failure = text(run.get("failure"))
    return lines(
        f"The run is {text(run.get('status')) or 'in an unknown state'} (task_run_id {text(run.get('task_run_id'))}).",
        text(run.get("message")),
        *(f"- {_title(step)} ({text(step.get('tool'))}): {text(step.get('status'))}" for step in steps),
        f"It failed: {failure}" if failure else "",
    )


def task_run_followed(result: Json) -> str:
    """How a run ended that was waited for, or that it goes on."""
    goes_on = text(_thing(result, "task_run").get("status")) in ("queued", "running")
    more = "It goes on in the background. Ask for the status of the run to follow it."
    return lines(task_run(result), more if goes_on else "")


def autonomy(result: Json) -> str:
    """The level in force, what it lets the agent do, and the verdict on a tool that was asked about."""
    level = text(result.get("level"))
    allowed = mapping(result.get("allowed"))
    waiting = [mapping(approval) for approval in items(result.get("pending_approvals"))]
    jobs = [mapping(job) for job in items(result.get("jobs"))]
    return lines(
        _tool_verdict(result.get("tool")),
        f"The level in force is {level} ({_LEVELS.get(level, 'unknown')}), {_range(result)}.",
        "All agent actions are held to L1 by the organization's switch." if result.get("autopilot_disabled") else "",
        *(f"- {effect}: {_decided(decision)}" for effect, decision in allowed.items()),
        *(f"- workflow {text(job.get('kind'))}: {_decided(job.get('decision'))}" for job in jobs),
        f"Approvals that wait: {len(waiting)}." if waiting else "No approval waits.",
        *map(_approval_line, waiting),
    )


def _approval_line(approval: Json) -> str:
    tool, role = text(approval.get("tool")) or "a call", text(approval.get("needs_role")) or "somebody else"
    until = moment(approval.get("expires_at"))
    return (
        f"- {tool}, for {role} or above to decide{f' until {until}' if until else ''} (approval {approval.get('id')})"
    )


def _range(result: Json) -> str:
    return f"within {text(result.get('floor')) or '?'} to {text(result.get('ceiling')) or '?'} for you"


def _tool_verdict(tool: object) -> str:
    asked = mapping(tool)
    if asked.get("known") is False:
        return f"There is no tool {text(asked.get('name'))}."
    verdict = mapping(asked.get("verdict")) or asked
    decision = text(verdict.get("decision"))
    if not decision:
        return ""
    name = text(asked.get("name")) or text(asked.get("tool")) or "The tool"
    return f"{name} would now be: {_decided(decision)}{_because(verdict)}."


def _decided(decision: object) -> str:
    said = text(decision) or text(mapping(decision).get("decision"))
    return _DECISIONS.get(said, said or "unknown")


def report(result: Json) -> str:
    """The headline figures and the first rows of the table."""
    table = mapping(result.get("table"))
    columns, rows = [_cell(name) for name in items(table.get("columns"))], items(table.get("rows"))
    figures = (_figure(mapping(figure)) for figure in items(result.get("headline")))
    more = f"... and {len(rows) - _MOST_ROWS} more." if len(rows) > _MOST_ROWS else ""
    named = _REPORTS.get(text(result.get("report")), "The report")
    return lines(
        f"{named}, {_day(result, 'first_day', 'from')} to {_day(result, 'last_day', 'to')}:",
        text(result.get("summary")),
        *(f"- {figure}" for figure in figures if figure),
        " | ".join(columns) if rows else "",
        *(" | ".join(map(_cell, items(row))) for row in rows[:_MOST_ROWS]),
        more,
    )


def _figure(figure: Json) -> str:
    label, value = text(figure.get("label")), figure.get("value")
    if not label or value is None:
        return ""
    return f"{label}: {_cell(value)} {text(figure.get('unit'))}".strip()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return "-" if value is None else str(value)


def handed_over(result: Json) -> str:
    """The first words of whoever goes on."""
    return lines(f"{text(result.get('title'))} goes on with you from here.", text(result.get("description")))


def which_agent(named: str, known: Sequence[str]) -> str:
    """Says whom one can talk to; the one who says it is not among them."""
    return f"There is no agent “{named}” to hand over to; there are: {', '.join(known)}."


def call(result: Json) -> str:
    """What became of a call, and of the question that it left."""
    shown = _thing(result, "call")
    approval = mapping(shown.get("approval"))
    decision, by = text(shown.get("decision")), text(approval.get("decided_by"))
    error, comment = text(shown.get("error_code")), text(approval.get("comment"))
    return lines(
        f"The call of {text(shown.get('tool')) or 'a tool'} is {text(shown.get('outcome')) or 'under way'}.",
        f"- decision: {_decided(decision)}{_because(shown)}" if decision else "",
        f"- approval: {text(approval.get('state'))}{f', by {by}' if by else ''}" if approval else "",
        f"- comment: {comment}" if comment else "",
        f"- error: {error}" if error else "",
    )


def _thing(result: Json, name: str) -> Json:
    return mapping(result.get(name)) or result


def _title(thing: Json) -> str:
    return text(thing.get("title")) or text(thing.get("name")) or "untitled"


def _day(result: Json, *names: str) -> str:
    return next((text(result.get(name))[:10] for name in names if result.get(name)), "?")


def _because(decided: Json) -> str:
    reasons = "; ".join(reason_words(reason) for reason in map(text, items(decided.get("reasons"))) if reason)
    return f" ({reasons})" if reasons else ""
