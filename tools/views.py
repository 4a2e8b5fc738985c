"""The JSON in which tools and routes show what the services give: one shape a thing, whichever door shows it."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import orjson

from domain.activity.model import ActivityItem, ActivityStep
from domain.analytics.model import Figure, Report, Series
from domain.approvals.model import ApprovalItem
from domain.autonomy.model import AutonomyStatus, Setting
from domain.kernel import Level, Role
from domain.paging import Page
from domain.preferences.model import Preference
from domain.releases.model import SIGNED_BY, Release, ReleaseState, SignOff
from domain.schedules.model import LastRun, Schedule
from domain.tasks.model import LatestRun, Progress, Reminder, Task, TaskRun, TaskRunAnswer, TaskRunStep
from knowledge.model import Document, DocumentText, Passage, SearchResult
from tools.outcomes import Json

Item = TypeVar("Item")


def page_json(page: Page[Item], view: Callable[[Item], Json]) -> Json:
    """A page as every list shows it: `{"items", "next_cursor"}`."""
    return {"items": [view(item) for item in page.items], "next_cursor": page.next_cursor}


def activity_json(item: ActivityItem) -> Json:
    """One call of the record.

    Source  contract.md, GET /v1/activity.
    """
    return {
        "call_id": str(item.call_id),
        "time": item.time.isoformat(),
        "tool": item.tool,
        "door": item.door,
        "mode": item.mode,
        "principal": item.principal,
        "role": None if item.role is None else str(item.role),
        "decision": item.decision,
        "reasons": list(item.reasons),
        "outcome": item.outcome,
        "duration_ms": item.duration_ms,
        **_given(
            error_code=item.error_code,
            approval_id=_id(item.approval_id),
            conversation_id=_id(item.conversation_id),
            run_id=_id(item.run_id),
        ),
        **parsed("arguments", item.arguments),
        **parsed("result", item.result),
    }


def preference_json(preference: Preference) -> Json:
    """One thing that is remembered of how a person wants to be answered."""
    return {
        "preference_id": str(preference.preference_id),
        "words": preference.words,
        **_given(conversation_id=_id(preference.conversation_id)),
        "created_at": preference.created_at.isoformat(),
        "updated_at": preference.updated_at.isoformat(),
    }


def event_json(step: ActivityStep) -> Json:
    """One event of a call."""
    return {
        "type": step.kind,
        "time": step.time.isoformat(),
        **_given(
            decision=step.decision,
            reasons=list(step.reasons) or None,
            outcome=step.outcome,
            error_code=step.error_code,
            error_reference=step.error_reference,
        ),
    }


def approval_item_json(item: ApprovalItem) -> Json:
    """One approval.

    Source  contract.md, GET /v1/approvals.
    """
    approval = item.approval
    return {
        "id": str(approval.approval_id),
        "state": approval.state,
        "call_id": str(approval.call_id),
        "tool": approval.tool,
        "arguments": orjson.loads(approval.arguments),
        "reasons": list(approval.reasons),
        "requested_by": item.requested_by,
        "needs_role": str(approval.needs_role),
        "four_eyes": approval.four_eyes,
        "created_at": approval.created_at.isoformat(),
        "expires_at": approval.expires_at.isoformat(),
        **_given(
            conversation_id=_id(approval.conversation_id),
            run_id=_id(approval.run_id),
            task_run_id=_id(approval.task_run_id),
            decided_by=item.decided_by,
            decided_at=_time(approval.decided_at),
            comment=approval.comment,
        ),
    }


def pending_json(item: ApprovalItem) -> Json:
    """An approval in short: what is waited for, without the arguments."""
    shown = approval_item_json(item)
    return {name: shown[name] for name in _PENDING}


_PENDING = ("id", "call_id", "tool", "reasons", "needs_role", "four_eyes", "created_at", "expires_at")


def task_json(task: Task) -> Json:
    """One task with its workflow's input."""
    return {**task_line_json(task), "input": orjson.loads(task.input)}


def task_line_json(task: Task) -> Json:
    """One task as lists show it: with its newest run where it has one, without its workflow's input."""
    return {
        "task_id": str(task.task_id),
        "title": task.title,
        "description": task.description,
        "status": task.status,
        "audience": task.audience,
        "created_by": task.created_by,
        "created_at": task.created_at.isoformat(),
        "updated_at": task.updated_at.isoformat(),
        "version": task.version,
        **_given(
            kind=task.kind,
            engagement_id=_id(task.engagement_id),
            assignee=task.assignee,
            due_on=None if task.due_on is None else task.due_on.isoformat(),
            latest_run=None if task.latest_run is None else _latest_run_json(task.latest_run),
        ),
    }


def _latest_run_json(run: LatestRun) -> Json:
    return {"task_run_id": str(run.task_run_id), "status": run.status, "created_at": run.created_at.isoformat()}


def reminder_json(reminder: Reminder) -> Json:
    """One reminder on a task."""
    return {
        "reminder_id": str(reminder.reminder_id),
        "task_id": str(reminder.task_id),
        "text": reminder.text,
        "reminded_by": reminder.reminded_by,
        "reminded_at": reminder.reminded_at.isoformat(),
    }


def reminded_task_json(task: Task, reminders: Iterable[Reminder]) -> Json:
    """A task with the reminders that stand on it."""
    shown = [reminder_json(reminder) for reminder in reminders]
    return {**task_json(task), **({"reminders": shown} if shown else {})}


def task_run_json(run: TaskRun) -> Json:
    """One run of a task, with its steps as far as it has come."""
    return {
        "task_run_id": str(run.task_run_id),
        "task_id": str(run.task_id),
        "kind": run.kind,
        "input": orjson.loads(run.input),
        "call_id": str(run.call_id),
        "requested_by": run.requested_by,
        "created_at": run.created_at.isoformat(),
        **_progress_json(run.progress),
        **_given(
            engagement_id=_id(run.engagement_id),
            answer=None if run.answer is None else _answer_json(run.answer),
        ),
    }


def _answer_json(answer: TaskRunAnswer) -> Json:
    return {
        "conversation_id": str(answer.conversation_id),
        "run_id": str(answer.run_id),
        "citations": orjson.loads(answer.citations),
        **_given(text=answer.text),
    }


def _progress_json(progress: Progress) -> Json:
    return {
        "status": progress.status,
        "progress": progress.progress,
        "message": progress.message,
        "steps": [_step_json(step) for step in progress.steps],
        **_given(
            failure=progress.failure,
            started_at=_time(progress.started_at),
            updated_at=_time(progress.updated_at),
            finished_at=_time(progress.finished_at),
        ),
    }


def _step_json(step: TaskRunStep) -> Json:
    return {
        "name": step.name,
        "tool": step.tool,
        "status": step.status,
        **_given(
            call_id=_id(step.call_id), outcome=step.outcome, attempts=step.attempts if step.attempts > 1 else None
        ),
        **_given(items=step.items, items_done=None if step.items is None else step.items_done),
        **_given(items_left=step.items_left or None),
    }


def schedule_json(schedule: Schedule) -> Json:
    """One schedule: when it is due next, and how it went last."""
    stored = schedule.stored
    return {
        "schedule_id": str(stored.schedule_id),
        "task_id": str(stored.task_id),
        "title": schedule.task_title,
        "task_status": schedule.task_status,
        "cron": stored.timing.cron,
        "time_zone": stored.timing.time_zone,
        "input": orjson.loads(stored.input),
        "paused": stored.paused,
        "next_run_at": _time(stored.next_run_at),
        "created_by": schedule.created_by,
        "created_at": schedule.created_at.isoformat(),
        "updated_at": schedule.updated_at.isoformat(),
        **_given(
            kind=schedule.task_kind,
            last_run=None if schedule.last_run is None else _last_run_json(schedule.last_run),
        ),
    }


def _last_run_json(last: LastRun) -> Json:
    return {
        "due_at": last.due_at.isoformat(),
        "started_at": last.started_at.isoformat(),
        "missed": last.missed,
        "call_id": str(last.call_id),
        **_given(
            outcome=last.outcome,
            error_code=last.error_code,
            task_run_id=_id(last.task_run_id),
            task_run_status=last.task_run_status,
        ),
    }


def autonomy_json(status: AutonomyStatus) -> Json:
    """The level in force and what bounds it."""
    bounds = status.bounds
    return {
        "level": status.level.name,
        "floor": bounds.floor.name,
        "ceiling": bounds.ceiling.name,
        "organization_level": bounds.organization_level.name,
        "autopilot_disabled": bounds.autopilot_disabled,
    }


def setting_json(setting: Setting) -> Json:
    """One entry of the history of what bounds the agent."""
    of_organization = setting.scope == "organization"
    return {
        "setting_id": str(setting.setting_id),
        "scope": setting.scope,
        "reason": setting.reason,
        "changed_by": setting.changed_by,
        "changed_at": setting.changed_at.isoformat(),
        **_given(
            tool=setting.tool,
            member=setting.member,
            level=_level(setting.level),
            autopilot_disabled=setting.autopilot_disabled if of_organization else None,
            floor=_level(setting.floor),
            ceiling=_level(setting.ceiling),
        ),
    }


def _level(level: Level | None) -> str | None:
    return None if level is None else level.name


def release_state_json(state: ReleaseState) -> Json:
    """A release control's state for an engagement, with what it needs and what is there."""
    return {
        "control": state.control,
        "engagement_id": str(state.engagement_id),
        "state": state.state,
        "needs": control_needs_json(state.needs),
        "missing": list(state.missing),
        "sign_offs": [sign_off_json(sign_off) for sign_off in state.sign_offs],
    }


def control_needs_json(kinds: Iterable[str]) -> list[Json]:
    """The kinds of sign-off that a control needs, each with who signs it."""
    return [{"kind": kind, "signed_by": str(SIGNED_BY.get(kind, Role.MANAGER))} for kind in kinds]


def sign_off_json(sign_off: SignOff) -> Json:
    """A person's word on one version of one thing."""
    return {
        "sign_off_id": str(sign_off.sign_off_id),
        "engagement_id": str(sign_off.engagement_id),
        "kind": sign_off.kind,
        "decision": sign_off.decision,
        "subject": sign_off.subject,
        "version": sign_off.version,
        "signed_by": sign_off.signed_by,
        "signed_role": sign_off.signed_role,
        "signed_at": sign_off.signed_at.isoformat(),
        "holds": sign_off.holds,
        **_given(comment=sign_off.comment or None),
    }


def release_json(release: Release) -> Json:
    """What was released, on which evidence and whose word."""
    return {
        "release_id": str(release.release_id),
        "control": release.control,
        "engagement_id": str(release.engagement_id),
        "state": release.state,
        "evidence": [
            {"subject": each.subject, "version": each.version, **_given(note=each.note or None)}
            for each in release.evidence
        ],
        "sign_off_ids": [str(sign_off_id) for sign_off_id in release.sign_off_ids],
        "call_id": str(release.call_id),
        "released_by": release.released_by,
        "released_at": release.released_at.isoformat(),
        **_given(approved_by=release.approved_by),
    }


def report_json(report: Report) -> Json:
    """A report: figures, a table, a chart as data, and the same in one sentence."""
    return {
        "report": report.name,
        "from": report.period.since.isoformat(),
        "to": report.period.until.isoformat(),
        "first_day": report.period.first.isoformat(),
        "last_day": report.period.last.isoformat(),
        "group_by": report.group_by,
        "summary": report.summary,
        "headline": [_figure_json(figure) for figure in report.headline],
        "table": {"columns": list(report.table.columns), "rows": [list(row) for row in report.table.rows]},
        "chart": {
            "kind": "bar",
            "title": report.chart.title,
            "x_label": report.chart.x_label,
            "y_label": report.chart.y_label,
            "stacked": report.chart.stacked,
            "x": list(report.chart.x),
            "series": [_series_json(series) for series in report.chart.series],
        },
    }


def _series_json(series: Series) -> Json:
    return {"name": series.name, "label": series.label, "values": list(series.values)}


def _figure_json(figure: Figure) -> Json:
    return {"label": figure.label, "value": figure.value, **_given(unit=figure.unit)}


def search_json(found: SearchResult) -> Json:
    """Passages, best first, and how the search was really done."""
    return {"mode": found.mode, "items": [_passage_json(passage) for passage in found.items]}


def _passage_json(passage: Passage) -> Json:
    return {
        "document_id": str(passage.document_id),
        "chunk_id": str(passage.chunk_id),
        "title": passage.title,
        "text": passage.text,
        "score": passage.score,
        "start": passage.start,
        "end": passage.end,
        "uri": passage.uri,
        "trust": passage.trust,
        **_given(page=passage.page, section=passage.section),
    }


def document_text_json(text: DocumentText) -> Json:
    """A part of a document's text."""
    return {
        "document_id": str(text.document_id),
        "title": text.title,
        "uri": text.uri,
        "trust": text.trust,
        "text": text.text,
        "start": text.start,
        "end": text.end,
        "length": text.length,
        **_given(page=text.page, page_count=text.page_count),
    }


def document_json(document: Document) -> Json:
    """One document, without its text."""
    return {
        "document_id": str(document.document_id),
        "title": document.title,
        "uri": document.uri,
        "media_type": document.media_type,
        "audience": document.audience,
        "trust": document.trust,
        "status": document.status,
        "size_bytes": document.size_bytes,
        "content_sha256": document.content_sha256.hex(),
        "token_count": document.token_count,
        "version": document.version,
        "uploaded_by": document.uploaded_by,
        "created_at": document.created_at.isoformat(),
        "updated_at": document.updated_at.isoformat(),
        **_given(engagement_id=_id(document.engagement_id), failure=document.failure, page_count=document.page_count),
    }


def _given(**members: object) -> Json:
    """The members that there are; optional keys are left out rather than null."""
    return {name: value for name, value in members.items() if value is not None}


def parsed(name: str, text: str | None) -> Json:
    """A member that the record keeps as JSON text; none where it was erased."""
    if text is None:
        return {}
    try:
        return {name: orjson.loads(text)}
    except orjson.JSONDecodeError:  # what was kept of unreadable arguments may be cut off
        return {name: text}


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
