"""The offline model's next move: the call that an intent still needs, or the answer when its calls are done."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from agent.json_values import items, mapping, text, whole
from agent.model import ToolOffer
from agent.offline import answers
from agent.offline.dates import Period
from agent.offline.endings import not_done, not_offered
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
    OneCall,
    ReadDocument,
    Report,
    RunTask,
    Search,
    ShowCall,
    ShowTask,
    ShowTaskRun,
    ThingReference,
)
from agent.offline.questions import widened
from agent.offline.talk import Json, Talk

_PASSAGES = 8
_TASKS = 100
_WAIT_S = 60
"""For a run that was just begun; the person sees meanwhile how it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Call this tool and come back with its result."""

    tool: str
    arguments: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """An answer; the signature below it says that the offline model wrote it."""

    text: str
    signature: str = answers.SIGNATURE


Move = Ask | Say
Then = Callable[[str], Move]


def next_move(intent: Intent, talk: Talk, tools: Sequence[ToolOffer]) -> Move:
    """What to do now; a call is made of an offered tool only, with arguments that its schema knows."""
    move = _wanted(intent, talk, tools)
    if isinstance(move, Say):
        return move
    offer = _offer(tools, move.tool)
    if offer is None:
        return Say(text=not_offered(move.tool))
    return Ask(tool=move.tool, arguments=_fitting(move.arguments, offer.parameters))


def _wanted(intent: Intent, talk: Talk, tools: Sequence[ToolOffer]) -> Move:
    match intent:
        case CreateTask():
            return _create(intent, talk, tools)
        case RunTask(task=task):
            return _with_task(task, talk, lambda task_id: _run(task_id, talk, tools))
        case ShowTask(task=task):
            return _with_task(task, talk, lambda task_id: _once(talk, "task_get", {"task_id": task_id}, answers.task))
        case MarkTask(task=task, status=status):
            return _with_task(task, talk, lambda task_id: _mark(task_id, status, talk))
        case CancelRun(run=run):
            return _with_run(run, talk, "task_run_cancel")
        case CheckRelease():
            return _release(intent, talk)
        case ShowTaskRun(run=run):
            return _with_run(run, talk, "task_run_get")
        case HandOver(agent=agent):
            return _hand_over(agent, talk, tools)
        case Help(reason=reason):
            return Say(text=answers.help_text(reason))
        case _:
            return _one_call(intent, talk, tools)


def _one_call(intent: OneCall, talk: Talk, tools: Sequence[ToolOffer]) -> Move:
    """The intents that need a single call, whose result is the answer."""
    match intent:
        case Search(query=query):
            return _search(query, talk)
        case ReadDocument(document_id=document_id, page=page):
            return _once(talk, "knowledge_read", {"document_id": document_id, "page": page}, answers.document)
        case ListTasks(words=words):
            return _once(talk, "task_list", {"status": _status(words, tools), "limit": _TASKS}, answers.tasks)
        case ShowCall(call_id=call_id):
            return _call(call_id or talk.last_act_id(), talk)
        case AskAutonomy(words=words):
            return _once(talk, "autonomy_query", {"tool": _named_tool(words, tools)}, answers.autonomy)
        case Report(period=period, name=name):
            return _once(talk, "analytics_report", _report_arguments(period, name), answers.report)
        case _:
            assert_never(intent)


def _hand_over(agent: str, talk: Talk, tools: Sequence[ToolOffer]) -> Move:
    """Asks for the one of the agents to choose from that was named; afterwards it is that one who answers."""
    said = _said(talk, "agent_handover", answers.handed_over)
    if said is not None:
        return said
    known = _choices(tools, "agent_handover", "agent")
    wanted = "_".join(agent.casefold().replace("-", " ").split())
    if known and wanted not in known:
        return Say(text=answers.which_agent(agent, known))
    return Ask(tool="agent_handover", arguments={"agent": wanted})


def _call(call_id: str | None, talk: Talk) -> Move:
    if call_id is None:
        return Say(text=answers.WHICH_CALL)
    return _once(talk, "call_get", {"call_id": call_id}, answers.call)


def _once(talk: Talk, tool: str, arguments: Json, words: Callable[[Json], str]) -> Move:
    """Call the tool; when it was called, its result in words is the answer."""
    return _said(talk, tool, words) or Ask(tool=tool, arguments=arguments)


def _said(talk: Talk, tool: str, words: Callable[[Json], str]) -> Say | None:
    """The answer from the result of `tool`; None while it has not been called."""
    step = talk.step(tool)
    if step is None:
        return None
    return Say(text=words(step.result) if step.done else not_done(step))


def _search(query: str, talk: Talk) -> Move:
    step = talk.step("knowledge_search")
    if step is None:
        return Ask(tool="knowledge_search", arguments={"query": widened(query), "limit": _PASSAGES})
    if not step.done:
        return Say(text=not_done(step))
    return Say(text=answers.passages(query, step.result), signature=answers.search_signature(step.result))


def _create(intent: CreateTask, talk: Talk, tools: Sequence[ToolOffer]) -> Move:
    created = talk.step("task_create")
    if created is None:
        arguments: Json = {"title": intent.title, "due_on": intent.due_on, "kind": intent.kind}
        return Ask(tool="task_create", arguments=arguments)
    task_id = text(_thing(created.result, "task").get("task_id"))
    if not created.done or not intent.then_run or not task_id:
        return Say(text=answers.task_created(created.result) if created.done else not_done(created))
    return _run(task_id, talk, tools, before=answers.task_created(created.result) + "\n\n")


def _run(task_id: str, talk: Talk, tools: Sequence[ToolOffer], before: str = "") -> Move:
    """Starts the run and waits for its end, and says how that was; where it cannot wait, that it began."""
    begun, followed = talk.step("task_run"), talk.step("task_run_get")
    if begun is None:
        return Ask(tool="task_run", arguments={"task_id": task_id})
    if not begun.done:
        return Say(text=before + not_done(begun))
    run_id = text(_thing(begun.result, "task_run").get("task_run_id"))
    if followed is None and run_id and "wait_s" in _properties(tools, "task_run_get"):
        return Ask(tool="task_run_get", arguments={"task_run_id": run_id, "wait_s": _WAIT_S})
    if followed is None or not followed.done:
        return Say(text=before + answers.task_run_accepted(begun.result))
    return Say(text=before + answers.task_run_followed(followed.result))


def _with_task(reference: ThingReference, talk: Talk, then: Then) -> Move:
    """Goes on with the id of the task that is meant; by its title it is looked up among the tasks."""
    task_id = reference.id or (None if reference.title else talk.last_task_id())
    if task_id is not None:
        return then(task_id)
    listed = talk.step("task_list")
    if listed is None:
        return Ask(tool="task_list", arguments={"limit": _TASKS})
    if not listed.done:
        return Say(text=not_done(listed))
    found = _matching(reference.title, [mapping(item) for item in items(listed.result.get("items"))])
    if reference.title is None or len(found) != 1:
        return Say(text=answers.which_task(reference.title, found))
    return then(text(found[0].get("task_id")))


def _matching(title: str | None, tasks: Sequence[Json]) -> Sequence[Json]:
    """The tasks of that very title, else those whose title holds the words; without words, all."""
    wanted = (title or "").casefold()
    exact = [task for task in tasks if text(task.get("title")).casefold() == wanted]
    return exact or [task for task in tasks if wanted in text(task.get("title")).casefold()]


def _with_run(reference: ThingReference, talk: Talk, tool: str) -> Move:
    """Calls the tool with the id of the task run that is meant."""
    task_run_id = reference.id or talk.last_task_run_id()
    if task_run_id is None:
        return Say(text=answers.WHICH_RUN)
    return _once(talk, tool, {"task_run_id": task_run_id}, answers.task_run)


def _mark(task_id: str, status: str, talk: Talk) -> Move:
    return _once(talk, "task_update", {"task_id": task_id, "status": status}, answers.task_changed)


def _release(intent: CheckRelease, talk: Talk) -> Move:
    if intent.engagement_id is None:
        return Say(text=answers.WHICH_ENGAGEMENT)
    arguments: Json = {"control": intent.control, "engagement_id": intent.engagement_id}
    return _once(talk, "release_check", arguments, answers.release)


def _thing(result: Json, name: str) -> Json:
    return mapping(result.get(name)) or result


def _status(words: str, tools: Sequence[ToolOffer]) -> str | None:
    """The status that `words` name, in the tool's own words for it."""
    said = words.lower().replace(" ", "_")
    return next((status for status in _choices(tools, "task_list", "status") if status and status in said), None)


def _offer(tools: Sequence[ToolOffer], name: str) -> ToolOffer | None:
    return next((tool for tool in tools if tool.name == name), None)


def _choices(tools: Sequence[ToolOffer], name: str, argument: str) -> Sequence[str]:
    """What the argument of an offered tool may be, as its schema lists it."""
    return [text(choice) for choice in items(mapping(_properties(tools, name).get(argument)).get("enum"))]


def _properties(tools: Sequence[ToolOffer], name: str) -> Json:
    """The arguments that an offered tool knows; none of one that is not offered."""
    offer = _offer(tools, name)
    return mapping(None if offer is None else offer.parameters.get("properties"))


def _named_tool(words: str, tools: Sequence[ToolOffer]) -> str | None:
    """The tool that is asked about, offered or not: a refusal is an answer too."""
    said: list[str] = re.findall(r"[a-z][a-z0-9_]{0,63}", words.lower())
    known = {tool.name for tool in tools}
    return next((word for word in said if word in known), None) or next((word for word in said if "_" in word), None)


def _report_arguments(period: Period | None, name: str) -> Json:
    arguments: Json = {"report": name}
    if name == "tool_use":
        arguments["group_by"] = "tool"
    if period is not None:
        arguments |= {"from": period.first.isoformat(), "to": period.last.isoformat()}
    return arguments


def _fitting(arguments: Json, schema: Json) -> Json:
    """The arguments that the tool knows, within its limits; what is None is left out."""
    known = mapping(schema.get("properties"))
    return {
        name: _limited(value, mapping(known[name]))
        for name, value in arguments.items()
        if value is not None and name in known and _allowed(value, mapping(known[name]))
    }


def _allowed(value: object, schema: Json) -> bool:
    enum = items(schema.get("enum"))
    return not enum or value in enum


def _limited(value: object, schema: Json) -> object:
    if isinstance(value, str):
        return value[: whole(schema.get("maxLength")) or len(value)]
    most = whole(schema.get("maximum"))
    return min(value, most) if isinstance(value, int) and most is not None else value
