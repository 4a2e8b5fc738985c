"""What a person may ask of the offline model, as types; reading.py finds them in plain sentences."""

from dataclasses import dataclass

from agent.offline.dates import Period


@dataclass(frozen=True, slots=True, kw_only=True)
class ThingReference:
    """How a task or run was pointed at: by id, by (part of) its title, or, with neither, as the last one spoken of."""

    id: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    document_id: str
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    title: str
    due_on: str | None = None
    kind: str | None = None
    then_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    task: ThingReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTasks:
    words: str = ""
    """What was said beside it; a status of the tool's own among it narrows the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTask:
    task: ThingReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTaskRun:
    run: ThingReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCall:
    call_id: str | None = None
    """None for the last act that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAutonomy:
    words: str = ""
    """The whole question; a tool named in it is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    period: Period | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    reason: str = ""
    """Why help is given though it was not asked for."""


OneCall = Search | ReadDocument | ListTasks | ShowCall | AskAutonomy | Report
"""The intents that one call answers."""

Intent = OneCall | CreateTask | RunTask | ShowTask | ShowTaskRun | Help
