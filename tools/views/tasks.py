"""How tasks, their runs and schedules are shown."""

from collections.abc import Iterable

import orjson

from domain.schedules.model import LastRun, Schedule
from domain.tasks.model import LatestRun, Progress, Reminder, Task, TaskRun, TaskRunAnswer, TaskRunStep
from tools.outcomes import Json
from tools.views.values import given, id_text, time_text


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
        **given(
            kind=task.kind,
            engagement_id=id_text(task.engagement_id),
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
        **given(
            engagement_id=id_text(run.engagement_id),
            answer=None if run.answer is None else _answer_json(run.answer),
        ),
    }


def _answer_json(answer: TaskRunAnswer) -> Json:
    return {
        "conversation_id": str(answer.conversation_id),
        "run_id": str(answer.run_id),
        "citations": orjson.loads(answer.citations),
        **given(text=answer.text),
    }


def _progress_json(progress: Progress) -> Json:
    return {
        "status": progress.status,
        "progress": progress.progress,
        "message": progress.message,
        "steps": [_step_json(step) for step in progress.steps],
        **given(
            failure=progress.failure,
            started_at=time_text(progress.started_at),
            updated_at=time_text(progress.updated_at),
            finished_at=time_text(progress.finished_at),
        ),
    }


def _step_json(step: TaskRunStep) -> Json:
    return {
        "name": step.name,
        "tool": step.tool,
        "status": step.status,
        **given(
            call_id=id_text(step.call_id), outcome=step.outcome, attempts=step.attempts if step.attempts > 1 else None
        ),
        **given(items=step.items, items_done=None if step.items is None else step.items_done),
        **given(items_left=step.items_left or None),
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
        "next_run_at": time_text(stored.next_run_at),
        "created_by": schedule.created_by,
        "created_at": schedule.created_at.isoformat(),
        "updated_at": schedule.updated_at.isoformat(),
        **given(
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
        **given(
            outcome=last.outcome,
            error_code=last.error_code,
            task_run_id=id_text(last.task_run_id),
            task_run_status=last.task_run_status,
        ),
    }
