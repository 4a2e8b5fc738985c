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
    """A question to the documents, or words to look for in them."""

    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDocument:
    """The text of a document, or of one of its pages."""

    document_id: str
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTask:
    """A new task; with `then_run` it is started at once."""

    title: str
    due_on: str | None = None
    kind: str | None = None
    then_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """Start the workflow of a task."""

    task: ThingReference


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkTask:
    """Say how far a task is."""

    task: ThingReference
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun:
    """Stop a run."""

    run: ThingReference


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRelease:
    """Whether something of an engagement may leave the firm."""

    control: str
    engagement_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTasks:
    """The tasks there are."""

    words: str = ""
    """What was said beside it; a status of the tool's own among it narrows the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTask:
    """One task with what is known of it."""

    task: ThingReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowTaskRun:
    """How far a run has come."""

    run: ThingReference


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowCall:
    """What became of a call."""

    call_id: str | None = None
    """None for the last act that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAutonomy:
    """What the agent may do on its own."""

    words: str = ""
    """The whole question; a tool named in it is asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Figures: how the tools were used, or another of the reports there are."""

    period: Period | None = None
    name: str = "tool_use"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Go on with another agent."""

    agent: str
    """As it was called; whether there is such is the offer's to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Help:
    """What can be asked."""

    reason: str = ""
    """Why help is given though it was not asked for."""


OneCall = Search | ReadDocument | ListTasks | ShowCall | AskAutonomy | Report
"""The intents that one call answers."""

Intent = OneCall | CreateTask | RunTask | MarkTask | CancelRun | CheckRelease | ShowTask | ShowTaskRun | HandOver | Help
