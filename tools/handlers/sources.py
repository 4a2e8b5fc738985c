"""Sources of documents: set up, changed and removed by people, listed by anybody of the firm, synced by the worker."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, cast
from uuid import UUID

import orjson

from domain.kernel import Audience, Clock, DomainError, EngagementId, TaskId, TaskRunId, Trust, utc_now
from domain.paging import DEFAULT_PAGE, page_request
from domain.schedules.model import CreateSchedule, ScheduleField, ScheduleId, ScheduleQuery, UpdateSchedule
from domain.taint import Taint
from domain.tasks.model import CreateTask, UpdateTask
from domain.tasks.service import NotRunnable, TaskNotFound, TaskRunNotFound
from knowledge.keeping import Keep, in_the_transaction
from knowledge.sources.model import (
    ChangeKind,
    ChangeQuery,
    Contents,
    NewSource,
    Read,
    SourceChange,
    SourceId,
    SourceQuery,
    StepDone,
    StoredSource,
    SyncState,
)
from knowledge.sources.port import OpenSource, SourceKind, SourceRefused
from knowledge.sources.reading import read_on
from tools.handlers.arguments import Arguments, OpenObject
from tools.handlers.documents import EngagementNeeded
from tools.handlers.removal import Grace, as_usual
from tools.outcomes import Json
from tools.views.sources import change_json, source_json
from tools.views.values import page_json
from tools.work import CallContext, Handler, Job, PrepareContext

SourceKinds = Mapping[SourceKind, OpenSource]

UTC = "UTC"

WORKFLOW = "knowledge_sync"
TRUST: Trust = "external"
"""Of what a source holds, where nothing is said: as with an upload, somebody else is taken to have written it."""


class SettingsRefused(DomainError):
    """What a source is to read is nothing that it can or may."""

    code: ClassVar[str] = "source_refused"


class NoSuchKind(DomainError):
    """This server reads no sources of that kind."""

    code: ClassVar[str] = "source_kind_unavailable"

    def __init__(self, kind: str) -> None:
        super().__init__(f"kind: this server is not set up to read sources of the kind {kind}")


class NoSourceChange(DomainError):
    """A change that names nothing."""

    code: ClassVar[str] = "nothing_to_change"

    def __init__(self) -> None:
        super().__init__("say what to change: name, settings or cron (time_zone goes with cron)")


class SourceAdd(Arguments):
    kind: SourceKind
    name: str
    settings: OpenObject
    audience: Audience = "firm"
    engagement_id: UUID | None = None
    trust: Trust | None = None
    cron: str | None = None
    time_zone: str = UTC


class SourceList(Arguments):
    limit: int = DEFAULT_PAGE
    cursor: str | None = None


class SourceReport(Arguments):
    source_id: UUID
    kind: ChangeKind | None = None
    limit: int = DEFAULT_PAGE
    before: int | None = None


class SourceSync(Arguments):
    source_id: UUID


class SourceChangeAsked(Arguments):
    source_id: UUID
    name: str | None = None
    settings: OpenObject | None = None
    cron: str | None = None
    time_zone: str | None = None


class SourceRemove(Arguments):
    source_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was read of a source, and of which state of its sync."""

    revision: int
    read: Read | None
    """None: it is to be left alone for now."""


async def source_add(arguments: SourceAdd, context: CallContext) -> Json:
    """Effect  writes knowledge_sources, tasks, schedules.

    Raises  EngagementNotFound, TooManySources, InvalidCron, UnknownTimeZone, TooManySchedules.
    """
    source_id = SourceId(context.new_id())
    engagement_id = None if arguments.engagement_id is None else EngagementId(arguments.engagement_id)
    task_id = await _task(context, source_id, arguments.name, engagement_id)
    source = await context.work.sources.add(
        NewSource(
            source_id=source_id,
            kind=arguments.kind,
            name=arguments.name,
            settings=cast("Mapping[str, object]", context.prepared),
            audience=arguments.audience,
            engagement_id=engagement_id,
            trust=arguments.trust or TRUST,
            task_id=task_id,
            created_by=context.principal.principal_id,
            created_at=context.now,
        )
    )
    if arguments.cron is not None:
        await _schedule(context, task_id, arguments.cron, arguments.time_zone)
    context.told.add(Taint(trust=source.trust, firm=True))
    return {"source": source_json(source)}


async def source_change(arguments: SourceChangeAsked, context: CallContext) -> Json:
    """Effect  writes knowledge_sources, knowledge_documents, tasks, schedules.

    Raises  SourceNotFound, NoSourceChange, SettingsRefused, InvalidCron, UnknownTimeZone, TooManySchedules.
    """
    given = arguments.model_fields_set
    if not given & {"name", "settings", "cron"} or ("time_zone" in given and arguments.cron is None):
        raise NoSourceChange
    source = await context.work.sources.get(SourceId(arguments.source_id), lock=True)
    name, task_id = arguments.name or source.name, source.task_id
    if name != source.name and task_id is not None:
        await _retitle(context, task_id, source.name, name)
    if "cron" in given:
        task_id = await _reschedule(context, source, arguments)
    changed = await context.work.sources.change(
        SourceChange(
            source_id=source.source_id,
            name=name,
            settings=await _changed_settings(source, arguments.settings or {}, context),
            task_id=task_id,
            changed_at=context.now,
        )
    )
    context.told.add(Taint(trust=source.trust, firm=True))
    return {"source": source_json(changed)}


async def source_list(arguments: SourceList, context: CallContext) -> Json:
    page = await context.work.sources.list(SourceQuery(page=page_request(arguments.cursor, arguments.limit)))
    context.told.add(*(Taint(trust=source.trust, firm=True) for source in page.items))
    return page_json(page, source_json)


async def source_report(arguments: SourceReport, context: CallContext) -> Json:
    """Raises  SourceNotFound."""
    source = await context.work.sources.get(SourceId(arguments.source_id))
    changes, before = await context.work.sources.changes(
        ChangeQuery(source_id=source.source_id, kind=arguments.kind, before=arguments.before, limit=arguments.limit)
    )
    context.told.add(Taint(trust=source.trust, firm=True))
    return {"source": source_json(source), "items": [change_json(change) for change in changes], "next_before": before}


async def source_remove(arguments: SourceRemove, context: CallContext) -> Json:
    """Effect  writes knowledge_sources, knowledge_source_items, schedules, tasks, task_runs; the documents go in a run.

    Raises  SourceNotFound.
    """
    source = await context.work.sources.remove(SourceId(arguments.source_id), now=context.now)
    context.told.add(Taint(trust=source.trust, firm=True))
    task_id = await _runnable(context, source.source_id, source.name, source.task_id)
    await _end_schedules(context, task_id)
    run = await context.work.tasks.run(
        task_id,
        _input(source.source_id),
        task_run_id=TaskRunId(context.new_id()),
        call_id=context.call_id,
        requested_by=context.principal.principal_id,
        now=context.now,
        trust=context.trust,
    )
    context.jobs.append(
        Job(kind="task_run", organization_id=context.principal.organization_id, subject_id=run.task_run_id)
    )
    return {"source": source_json(source), "task_run_id": str(run.task_run_id)}


async def source_sync(grace: Grace, arguments: SourceSync, context: CallContext) -> Json:
    """Effect  writes what knowledge.sources.service says; the worker indexes what is new after the commit.

    Raises  SourceNotFound, SourceNotRead, SourceKeptAway.
    """
    prepared, source_id = cast(Prepared, context.prepared), SourceId(arguments.source_id)
    state = await context.work.sources.state(source_id)
    context.told.add(Taint(trust=state.source.trust, firm=True))
    if await _is_busy(state, context):
        return _step_json(StepDone(more=False, message="another run is at it"))
    rests_until = state.source.rests_until
    if prepared.read is None or (rests_until is not None and rests_until > context.now):
        rest = timedelta(0) if rests_until is None else max(rests_until - context.now, timedelta(0))
        return _step_json(StepDone(more=True, message="it is left alone for a while", rest=rest))
    done, to_index = await context.work.sources.step(
        source_id,
        prepared.revision,
        prepared.read,
        context.task_run_id,
        new_id=context.new_id,
        by=await context.work.sources.keeper() or context.principal.principal_id,
        now=context.now,
        until=context.now + grace(),
    )
    organization_id = context.principal.organization_id
    context.jobs.extend(
        Job(kind="document_index", organization_id=organization_id, subject_id=document_id) for document_id in to_index
    )
    return _step_json(done)


def source_handlers(
    kinds: SourceKinds, clock: Clock = utc_now, grace: Grace = as_usual, keep: Keep = in_the_transaction
) -> Mapping[str, Handler[Any]]:
    """The tools of sources; `kinds`: how those of each kind that this server reads are opened.

    `grace`: how long what is gone there can be restored here. `keep`: where files are kept, before a document has them.
    """

    def opener(kind: SourceKind) -> OpenSource:
        found = kinds.get(kind)
        if found is None:
            raise NoSuchKind(kind)
        return found

    async def check(arguments: SourceAdd, context: PrepareContext) -> Mapping[str, object]:
        """The settings as they are kept. Raises  EngagementNeeded, NoSuchKind, SettingsRefused."""
        if arguments.audience == "client" and arguments.engagement_id is None:
            raise EngagementNeeded
        slug = cast(str, await context.read(lambda work: work.sources.organization()))
        try:
            return opener(arguments.kind).check(arguments.settings, slug)
        except SourceRefused as refused:
            raise SettingsRefused(str(refused)) from refused

    async def opening(arguments: SourceChangeAsked, context: PrepareContext) -> OpenSource:
        """How it is opened, and its settings are checked. Raises  SourceNotFound, NoSuchKind."""
        source_id = SourceId(arguments.source_id)
        source = cast(StoredSource, await context.read(lambda work: work.sources.get(source_id)))
        return opener(source.kind)

    async def read(arguments: SourceSync, context: PrepareContext) -> Prepared:
        """What the next step needs. Raises  SourceNotFound, NoSuchKind."""
        source_id = SourceId(arguments.source_id)
        state = cast(SyncState, await context.read(lambda work: work.sources.state(source_id)))
        rests_until = state.source.rests_until
        if rests_until is not None and rests_until > clock():
            return Prepared(revision=state.revision, read=None)
        found = await read_on(state, opener(state.source.kind))
        if isinstance(found, Contents):
            contents = [each.content.content for each in found.items if each.content is not None]
            await keep(context.principal.organization_id, contents)
        return Prepared(revision=state.revision, read=found)

    return {
        "source_add": Handler(arguments=SourceAdd, work=source_add, prepare=check),
        "source_change": Handler(arguments=SourceChangeAsked, work=source_change, prepare=opening),
        "source_list": Handler(arguments=SourceList, work=source_list),
        "source_report": Handler(arguments=SourceReport, work=source_report),
        "source_remove": Handler(arguments=SourceRemove, work=source_remove),
        "source_sync": Handler(arguments=SourceSync, work=partial(source_sync, grace), prepare=read),
    }


async def _is_busy(state: SyncState, context: CallContext) -> bool:
    """Whether another run, which is not at its end, is at the sync."""
    if state.task_run_id is None or state.task_run_id == context.task_run_id:
        return False
    try:
        other = await context.work.tasks.get_run(state.task_run_id)
    except TaskRunNotFound:
        return False
    return other.progress.finished_at is None


async def _changed_settings(
    source: StoredSource, given: Mapping[str, object], context: CallContext
) -> Mapping[str, object]:
    """The settings with some of them changed, as they are kept. Raises  SettingsRefused."""
    if not given:
        return source.settings
    opens = cast(OpenSource, context.prepared)
    try:
        kept = opens.check({**source.settings, **given}, await context.work.sources.organization())
    except SourceRefused as refused:
        raise SettingsRefused(str(refused)) from refused
    for name in sorted(opens.lasting):
        if kept.get(name) != source.settings.get(name):
            raise SettingsRefused(f"settings: {name}: that would be another source; set up one")
    return kept


async def _retitle(context: CallContext, task_id: TaskId, before: str, after: str) -> None:
    """The task goes by the source's new name, unless somebody calls it otherwise."""
    with suppress(TaskNotFound):
        if (await context.work.tasks.get(task_id)).title == _titled(before):
            asked = UpdateTask(given=frozenset({"title"}), title=_titled(after))
            await context.work.tasks.update(task_id, asked, context.now, context.trust)


async def _reschedule(context: CallContext, source: StoredSource, asked: SourceChangeAsked) -> TaskId | None:
    """Its one schedule is as asked, or it has none; the task that it runs.

    Raises  InvalidCron, UnknownTimeZone, TooManySchedules.
    """
    if asked.cron is None:
        if source.task_id is not None:
            await _end_schedules(context, source.task_id)
        return source.task_id
    task_id = await _runnable(context, source.source_id, source.name, source.task_id)
    first = next(iter(await _schedules(context, task_id)), None)
    if first is None:
        await _schedule(context, task_id, asked.cron, asked.time_zone or UTC)
        return task_id
    await _end_schedules(context, task_id, kept=first)
    given: frozenset[ScheduleField] = frozenset({"cron"} if asked.time_zone is None else {"cron", "time_zone"})
    changes = UpdateSchedule(given=given, cron=asked.cron, time_zone=asked.time_zone or "")
    await context.work.schedules.update(first, changes, context.now)
    return task_id


async def _schedule(context: CallContext, task_id: TaskId, cron: str, time_zone: str) -> None:
    await context.work.schedules.create(
        CreateSchedule(task_id=task_id, cron=cron, time_zone=time_zone, input="{}"),
        schedule_id=ScheduleId(context.new_id()),
        created_by=context.principal.principal_id,
        now=context.now,
    )


async def _end_schedules(context: CallContext, task_id: TaskId, *, kept: ScheduleId | None = None) -> None:
    while found := [each for each in await _schedules(context, task_id) if each != kept]:
        for schedule_id in found:
            await context.work.schedules.remove(schedule_id)


def _titled(name: str) -> str:
    return f"Sync {name}"[:200]


async def _task(context: CallContext, source_id: SourceId, name: str, engagement_id: EngagementId | None) -> TaskId:
    """A new task whose workflow syncs the source."""
    task = await context.work.tasks.create(
        CreateTask(title=_titled(name), kind=WORKFLOW, engagement_id=engagement_id, input=_input(source_id)),
        task_id=TaskId(context.new_id()),
        created_by=context.principal.principal_id,
        now=context.now,
        trust=context.trust,
    )
    return task.task_id


async def _runnable(context: CallContext, source_id: SourceId, name: str, task_id: TaskId | None) -> TaskId:
    """The source's own task, or another where that cannot be run any more."""
    try:
        if task_id is not None:
            return (await context.work.tasks.runnable(task_id, "{}")).task_id
    except (NotRunnable, TaskNotFound):
        pass
    return await _task(context, source_id, name, None)


async def _schedules(context: CallContext, task_id: TaskId) -> list[ScheduleId]:
    page = await context.work.schedules.list(ScheduleQuery(page=page_request(), task_id=task_id))
    return [schedule.stored.schedule_id for schedule in page.items]


def _input(source_id: SourceId) -> str:
    return orjson.dumps({"source_id": str(source_id)}).decode()


def _step_json(done: StepDone) -> Json:
    rest = 0.0 if done.rest is None else done.rest.total_seconds()
    return {"more": done.more, "rest_s": rest, "message": done.message[:500]}
