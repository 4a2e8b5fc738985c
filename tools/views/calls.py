"""How the record, questions and what a person set are shown."""

import orjson

from domain.activity.model import ActivityItem, ActivityStep
from domain.approvals.comparison import ArgumentRow, Comparison, LikeCall
from domain.approvals.model import ApprovalItem
from domain.approvals.subjects import ShownSubjects, SubjectWords
from domain.autonomy.model import AutonomyStatus, Setting
from domain.intents.model import OpenCall
from domain.kernel import Level
from domain.preferences.model import Preference
from tools.outcomes import Json
from tools.views.values import given, id_text, parsed, time_text


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
        **given(
            error_code=item.error_code,
            approval_id=id_text(item.approval_id),
            conversation_id=id_text(item.conversation_id),
            run_id=id_text(item.run_id),
            cost_usd=item.cost_micros / 1_000_000 if item.cost_micros else None,
        ),
        **parsed("arguments", item.arguments),
        **parsed("result", item.result),
    }


def event_json(step: ActivityStep) -> Json:
    """One event of a call."""
    return {
        "type": step.kind,
        "time": step.time.isoformat(),
        **given(
            decision=step.decision,
            reasons=list(step.reasons) or None,
            outcome=step.outcome,
            error_code=step.error_code,
            error_reference=step.error_reference,
        ),
    }


def open_call_json(call: OpenCall) -> Json:
    """One call of which nobody knows yet how it ended outside."""
    return {
        "call_id": str(call.call_id),
        "tool": call.tool,
        "begun_at": call.begun_at.isoformat(),
        "asked_by": call.asked_by,
        "needs_role": str(call.needs_role),
        "four_eyes": call.four_eyes,
        **given(
            approval_id=id_text(call.approval_id),
            conversation_id=id_text(call.conversation_id),
            run_id=id_text(call.run_id),
            task_run_id=id_text(call.task_run_id),
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
        **given(
            conversation_id=id_text(approval.conversation_id),
            run_id=id_text(approval.run_id),
            task_run_id=id_text(approval.task_run_id),
            set_up_by=list(item.set_up_by) or None,
            decided_by=item.decided_by,
            decided_for=item.decided_for,
            decided_at=time_text(approval.decided_at),
            comment=approval.comment,
            reminded_at=time_text(approval.reminded_at),
        ),
    }


def compared_json(item: ApprovalItem, comparison: Comparison, subjects: ShownSubjects) -> Json:
    """One approval by itself: its arguments beside those of the last like call, and what they name."""
    return {**approval_item_json(item), "comparison": comparison_json(comparison), "subjects": subjects_json(subjects)}


def subjects_json(shown: ShownSubjects) -> Json:
    """What a question names; `words` are left out where the principal sees no such thing."""
    items: list[Json] = [
        {
            "subject": each.subject,
            "argument": each.argument,
            "state": each.state,
            **({} if each.seen is None else {"words": _words_json(each.seen), "is_whole": each.seen.is_whole}),
        }
        for each in shown.subjects
    ]
    return {"is_bound": shown.is_bound, "items": items, **given(left_out=shown.left_out or None)}


def _words_json(seen: SubjectWords) -> list[Json]:
    return [{"name": name, "value": value} for name, value in seen.words]


def comparison_json(comparison: Comparison) -> Json:
    """Row by row; `last` and `change` are left out where there is nothing to compare with."""
    last = comparison.last
    return {
        "rows": [_row_json(row) for row in comparison.rows],
        **given(last=None if last is None else _like_json(last), rows_left_out=comparison.rows_left_out or None),
    }


def _like_json(last: LikeCall) -> Json:
    return {
        "call_id": str(last.call_id),
        "made_at": last.made_at.isoformat(),
        "made_by": last.made_by,
        "same_requester": last.same_requester,
    }


def _row_json(row: ArgumentRow) -> Json:
    shown: Json = {"argument": row.argument}
    if row.change != "removed":
        shown["value"] = row.value
    if row.change is not None:
        shown["change"] = row.change
    if row.change in ("changed", "removed"):
        shown["last_value"] = row.last_value
    return shown


def pending_json(item: ApprovalItem) -> Json:
    """An approval in short: what is waited for, without the arguments."""
    shown = approval_item_json(item)
    return {name: shown[name] for name in _PENDING}


_PENDING = ("id", "call_id", "tool", "reasons", "needs_role", "four_eyes", "created_at", "expires_at")


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
        **given(
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


def preference_json(preference: Preference) -> Json:
    """One thing that is remembered of how a person wants to be answered."""
    return {
        "preference_id": str(preference.preference_id),
        "words": preference.words,
        **given(conversation_id=id_text(preference.conversation_id)),
        "created_at": preference.created_at.isoformat(),
        "updated_at": preference.updated_at.isoformat(),
    }
