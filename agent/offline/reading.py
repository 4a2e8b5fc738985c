"""From a person's sentence to what is asked for: slash commands first, then plain sentences, else a search."""

import re
from collections.abc import Callable
from datetime import date

from agent.offline.dates import read_day, read_period
from agent.offline.intents import (
    AskAutonomy,
    CancelRun,
    CheckRelease,
    CreateTask,
    HandOver,
    Help,
    Intent,
    ListTasks,
    MarkTask,
    ReadDocument,
    Report,
    RunTask,
    Search,
    ShowCall,
    ShowTask,
    ShowTaskRun,
    ThingReference,
)

_ID = r"[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}"
_POLITE = re.compile(
    r"^(?:(?:hi|hello|hey)[,!. ]+)?(?:please[, ]+|kindly )?"
    r"(?:(?:can|could|would|will) you (?:please )?|i (?:want|need|would like|'d like)(?: you)? to )?"
    r"(?:please[, ]+)?",
    re.IGNORECASE,
)
_REFRESH = re.compile(r"\brefresh(?:es|ing)?\s+(?:of\s+)?(?:the\s+|our\s+|all\s+)?analytics\b", re.IGNORECASE)
_DUE = re.compile(r"[,;(]? ?\b(?:(?:which is |it is )?due(?: on| by| date)?:?|by|until) ", re.IGNORECASE)
_AND_RUN_IT = re.compile(r"[,;]? ?\b(?:and|then) (?:then )?(?:run|start) it(?: now)?[.!]?$", re.IGNORECASE)
_REFRESH_KIND = "refresh_analytics"
_LONGEST_TITLE = 200
_LONGEST_COMMAND = 2000

Reader = Callable[[re.Match[str], date], Intent | None]


def read_intent(message: str, today: date) -> Intent:
    """What `message` asks for; whatever is no known command is taken as a question to the documents."""
    said = " ".join(message.split())
    if not said:
        return Help(reason="The message was empty.")
    if len(said) > _LONGEST_COMMAND:
        return Search(query=said)
    if said.startswith("/"):
        return _command(said, today)
    asked = _POLITE.sub("", said, count=1) or said
    for pattern, read in _SENTENCES:
        if (found := pattern.search(asked)) and (intent := read(found, today)) is not None:
            return intent
    return Search(query=said)


def _command(said: str, today: date) -> Intent:
    name, _, rest = said[1:].partition(" ")
    rest = rest.strip()
    reader = _COMMANDS.get(name.lower())
    if reader is None:
        return Help(reason=f"There is no command /{name}.")
    return reader(rest, today)


def _reference(words: str) -> ThingReference:
    """The thing that `words` point at; "it", "that" and nothing at all point at the last one spoken of."""
    if found := re.search(_ID, words):
        return ThingReference(id=found[0].lower())
    title = _unquoted(re.sub(r"^(?:the|called|named|titled|task|to)\s+", "", words.strip(" .!?:"), flags=re.IGNORECASE))
    if title.lower() in ("", "it", "that", "this", "that one", "this one", "again", "now", "the task", "task"):
        return ThingReference()
    return ThingReference(title=title)


def _unquoted(words: str) -> str:
    return words.strip().strip("\"'“”‘’«»„`").strip()


def _create(rest: str, today: date) -> CreateTask | Help:
    """A task from what follows the word: its title, with "due DATE" and "and run it" taken off its end."""
    rest, then_run = _AND_RUN_IT.subn("", rest)
    rest, due_on = _without_due(rest, today)
    title = _unquoted(
        re.sub(r"^(?:to|called|named|titled|for|that|:|-)\s*(?=\S)", "", rest.strip(), flags=re.IGNORECASE)
    )
    title = title.rstrip(".!").strip()[:_LONGEST_TITLE]
    if not title:
        return Help(reason="A task needs a title.")
    kind = _REFRESH_KIND if _REFRESH.search(rest) or _REFRESH_KIND in rest else None
    return CreateTask(title=title[0].upper() + title[1:], due_on=due_on, kind=kind, then_run=bool(then_run))


def _without_due(rest: str, today: date) -> tuple[str, str | None]:
    """`rest` without its due date; words that name no day stay in the title."""
    for found in _DUE.finditer(rest):
        if day := read_day(rest[found.end() :].rstrip(" )"), today):
            return rest[: found.start()], day.isoformat()
    return rest, None


def _read_create(found: re.Match[str], today: date) -> Intent:
    return _create(found["rest"], today)


def _read_refresh(found: re.Match[str], today: date) -> Intent:
    return CreateTask(title="Refresh the analytics", kind=_REFRESH_KIND, then_run=True)


def _read_run(found: re.Match[str], today: date) -> Intent | None:
    words = found["rest"]
    reference = _reference(words)
    # "start the audit" is no order to run a task: a title must be called one.
    return RunTask(task=reference) if found["task"] or reference.title is None else None


def _read_mark(found: re.Match[str], today: date) -> Intent:
    return MarkTask(task=_reference(found["rest"]), status=_STATUSES[found["status"].lower().replace(" ", "_")])


_STATUSES = {
    "done": "done",
    "finished": "done",
    "complete": "done",
    "completed": "done",
    "open": "open",
    "in_progress": "in_progress",
    "under_way": "in_progress",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}


def _read_cancel_run(found: re.Match[str], today: date) -> Intent:
    return CancelRun(run=_reference(found["rest"] or ""))


def _read_release(found: re.Match[str], today: date) -> Intent:
    named = re.search(_ID, found.string)
    return CheckRelease(
        control=_CONTROLS[" ".join(re.split(r"[ _]", found["control"].lower()))],
        engagement_id=None if named is None else named[0].lower(),
    )


_CONTROLS = {
    "plan freeze": "plan_freeze",
    "period lock": "period_lock",
    "report release": "report_release",
    "filings submit": "filings_submit",
    "filing": "filings_submit",
}


def _read_list(found: re.Match[str], today: date) -> Intent:
    return ListTasks(words=found[0])


def _read_show(found: re.Match[str], today: date) -> Intent:
    return ShowTask(task=_reference(found["rest"]))


def _read_task_run(found: re.Match[str], today: date) -> Intent:
    return ShowTaskRun(run=_reference(found["rest"] or ""))


def _read_call(found: re.Match[str], today: date) -> Intent:
    return ShowCall(call_id=found["id"].lower())


def _read_last_call(found: re.Match[str], today: date) -> Intent:
    return ShowCall()


def _read_autonomy(found: re.Match[str], today: date) -> Intent:
    return AskAutonomy(words=found.string)


def _read_report(found: re.Match[str], today: date) -> Intent:
    return _report(found.string, today)


def _report(words: str, today: date) -> Report:
    """The report that the words name, of the period that they name; without a name, how the tools were used."""
    named = next((name for name, form in _REPORTS.items() if re.search(form, words, re.IGNORECASE)), "tool_use")
    return Report(period=read_period(words, today), name=named)


def _read_document(found: re.Match[str], today: date) -> Intent:
    return ReadDocument(document_id=found["id"].lower(), page=int(found["page"]) if found["page"] else None)


def _read_search(found: re.Match[str], today: date) -> Intent:
    return Search(query=found["rest"])


def _read_hand_over(found: re.Match[str], today: date) -> Intent:
    return HandOver(agent=found["agent"] or found["by_name"])


def _read_help(found: re.Match[str], today: date) -> Intent:
    return Help()


def _sentence(read: Reader, *forms: str) -> tuple[re.Pattern[str], Reader]:
    """A reader with the forms it reads; blanks in the message are single by then, and case does not matter."""
    return re.compile("|".join(forms), re.IGNORECASE), read


_REPORTS = {
    "tool_use": r"\btools?\b",
    "approvals": r"\bapprovals?\b",
    "tasks": r"\btasks?\b",
    "feedback": r"\bfeedback\b",
    "cost": r"\b(?:costs?|spend(?:ing)?|tokens?)\b",
    "knowledge": r"\b(?:knowledge|documents?|searches)\b",
    "activity": r"\bactivity\b",
}
_REPORTED = r"(?:activity|tasks?|tool[ _-]?use|approvals?|knowledge|documents?|costs?|feedback)"
_OURS = r"(?:the |my |our |all )*"
_SENTENCES = (
    _sentence(
        _read_hand_over,
        rf"^(?:(?:let me )?(?:talk|speak)|switch|go|(?:hand|pass|put|turn)(?: me| this| us)?(?: over| on| through)?)"
        rf"(?: back)? (?:to|with) {_OURS}(?:(?P<agent>[\w -]{{1,60}}?) agent|(?P<by_name>assistant|librarian))[.!]?$",
    ),
    _sentence(_read_help, r"^(?:help|what can you do|hi|hello|hey|good (?:morning|day)|thanks?(?: you)?)\b[^a-z]*$"),
    _sentence(
        _read_create,
        r"^(?:(?:create|make|add|set up)(?: me)?(?: an?| the)?(?: new)?|new|(?:open|start) a(?: new)?) task\b[:,]? ?"
        r"(?P<rest>.*)$",
    ),
    _sentence(_read_refresh, rf"^refresh {_OURS}analytics(?: now)?[.!]?$"),
    _sentence(
        _read_document,
        rf"^(?:read|open|show)(?: me)?(?: the)? document (?P<id>{_ID})(?:.*?\bpage (?P<page>[0-9]{{1,5}}))?",
    ),
    _sentence(_read_run, rf"^(?:run|start|execute) (?P<task>{_OURS}task\b)?:? ?(?P<rest>.*)$"),
    _sentence(
        _read_mark,
        rf"^(?:mark|set|call) {_OURS}task\b:? ?(?P<rest>.*?) ?(?:as |to )?"
        r"\b(?P<status>done|finished|completed?|open|in[ _]progress|under way|cancell?ed)[.!]?$",
    ),
    _sentence(_read_cancel_run, rf"^(?:cancel|stop|abort) {_OURS}(?:task[ -])?run\b[:#]? ?(?P<rest>{_ID})?[.!]?$"),
    _sentence(
        _read_release,
        # "ready" must be said: most questions about a filing are questions to the documents.
        r"^(?:is|are|check whether)\b.*\b(?P<control>plan[ _]freeze|period[ _]lock|report[ _]release|filings[ _]submit"
        r"|filing)\b.*\bready\b",
    ),
    _sentence(
        _read_list,
        rf"^(?:list|show|display|give|see) (?:me )?{_OURS}(?:\w+ )?tasks\b.*$",
        r"^(?:what|which) (?:\w+ )?tasks (?:are there|do (?:i|we) have|are \w+)[.?!]*$",
        r"^(?:my |open )*tasks[.?!]*$",
    ),
    _sentence(
        _read_task_run,
        rf"\b(?:status|state|progress|result|outcome) of {_OURS}(?:task[ -])?run\b[:#]? ?(?P<rest>{_ID})?",
    ),
    _sentence(_read_task_run, r"^(?P<rest>)(?:run )?status[.?!]*$"),
    _sentence(_read_task_run, rf"^how is {_OURS}(?:task[ -])?run\b ?(?P<rest>{_ID})?"),
    _sentence(
        _read_task_run,
        r"^(?P<rest>)(?:is|has) (?:it|the (?:task|run))(?: been| yet)? (?:done|finished|run|ready|completed?)\b",
    ),
    _sentence(_read_call, rf"\b(?:status|outcome|result|became) of {_OURS}call (?P<id>{_ID})"),
    _sentence(
        _read_last_call,
        r"^what (?:became of|happened (?:to|with)) (?:it|that|this|(?:the|my) (?:call|request|approval))\b",
        r"^(?:was|is|has) (?:it|that|this|(?:the|my) (?:call|request))(?: been)?(?: now| yet)? "
        r"(?:approved|decided|rejected|allowed|waiting)\b",
    ),
    _sentence(_read_show, rf"^(?:show|get|open|display|describe) (?:me )?{_OURS}task\b:? ?(?P<rest>.+)$"),
    _sentence(_read_show, rf"\b(?:status|state) of {_OURS}task\b:? ?(?P<rest>.+)$"),
    _sentence(
        _read_autonomy,
        r"\bwhat (?:may|can|could|are) you\b.*\b(?:own|do|without|allowed)\b",
        r"^(?:may|can|are|would|do) you\b.*\b(?:[a-z]+_[a-z_]+|on your own|without asking|allowed)\b",
        r"\byour (?:level of )?autonomy\b|^autonomy\b",
    ),
    _sentence(
        _read_report,
        rf"\bhow (?:often |much |well )?(?:were|are|was|have|did) {_OURS}tools?\b",
        r"\btool[ _-]?us(?:e|age)\b",
        rf"^(?:(?:show|give|write|make|create) (?:me )?(?:an? |the )?)?(?:{_REPORTED} )?(?:report|analytics)[.!]?"
        rf"(?:$| (?:for|on|of|from|last|about|since|this|yesterday|today)\b| {_REPORTED}\b)",
    ),
    _sentence(
        _read_search,
        rf"^(?:search|find|look up|look for) (?:(?:in )?{_OURS}(?:documents|files|knowledge) )?(?:for |about )?"
        r"(?P<rest>\S.*)$",
    ),
)


def _command_search(rest: str, today: date) -> Intent:
    return Search(query=rest) if rest else Help(reason="/search needs words to search for.")


def _command_task(rest: str, today: date) -> Intent:
    return ShowTask(task=_reference(rest)) if re.fullmatch(_ID, rest) else _create(rest, today)


def _command_call(rest: str, today: date) -> Intent:
    found = re.fullmatch(_ID, rest)
    if rest and not found:
        return Help(reason="/call takes the id of a call.")
    return ShowCall(call_id=found[0].lower() if found else None)


def _command_status(rest: str, today: date) -> Intent:
    return ShowTaskRun(run=_reference(rest))


_COMMANDS: dict[str, Callable[[str, date], Intent]] = {
    "help": lambda rest, today: Help(),
    "search": _command_search,
    "task": _command_task,
    "run": lambda rest, today: RunTask(task=_reference(rest)),
    "tasks": lambda rest, today: ListTasks(words=rest),
    "status": _command_status,
    "report": _report,
    "autonomy": lambda rest, today: AskAutonomy(words=rest),
    "call": _command_call,
    "agent": lambda rest, today: HandOver(agent=rest) if rest else Help(reason="/agent needs the name of one."),
}
