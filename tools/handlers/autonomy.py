"""What the agent may do on its own here and now, by the policy that decides its calls; and setting what bounds it."""

from typing import ClassVar, Literal, get_args
from uuid import UUID

from domain.approvals.model import ApprovalQuery
from domain.autonomy.model import Scope, SetAutonomy, SettingField, SettingId
from domain.autonomy.service import status_of
from domain.kernel import EFFECTS, Door, Level, Mode, NotFound, Role, RunId
from domain.paging import page_request
from tools.explanations import Supposed, explained_json
from tools.handlers.arguments import Arguments, OpenObject
from tools.outcomes import Json, Verdict, decision_of, verdict_json
from tools.views.calls import autonomy_json, pending_json, setting_json
from tools.views.earned import record_json
from tools.work import CallContext, Handler

PENDING_SHOWN = 20
LevelName = Literal["L0", "L1", "L2", "L3"]
ControlState = Literal["not_applicable", "satisfied", "pending", "changes_required"]
STARTS_JOBS = "task_run"
"""The tool by which a workflow is started: its ceiling bounds every one of them."""


class Suppose(Arguments):
    mode: Mode | None = None
    door: Door | None = None
    role: Role | None = None
    level: LevelName | None = None
    attended: bool | None = None
    control_state: ControlState | None = None
    approved: bool = False
    run_id: UUID | None = None


class AutonomyQuery(Arguments):
    tool: str | None = None
    arguments: OpenObject | None = None
    suppose: Suppose | None = None
    explain: bool = False


class AutonomySet(Arguments):
    scope: Scope
    reason: str
    tool: str | None = None
    member: str | None = None
    level: Literal["L0", "L1", "L2", "L3", None] = None
    autopilot_disabled: bool = False
    floor: LevelName = "L0"
    ceiling: LevelName = "L3"


class ToolNotFound(NotFound):
    """A ceiling for a tool that there is not."""

    code: ClassVar[str] = "tool_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"tool: there is no tool named {name}")


async def autonomy_set(arguments: AutonomySet, context: CallContext) -> Json:
    """Effect  writes autonomy_settings, memberships.

    Raises  ToolNotFound, SettingDoesNotFit, MemberNotFound, FloorAboveCeiling.
    """
    if arguments.tool is not None and await context.what_if(arguments.tool, None) is None:
        raise ToolNotFound(arguments.tool)
    asked = SetAutonomy(
        scope=arguments.scope,
        tool=arguments.tool,
        member=arguments.member,
        given=frozenset(field for field in get_args(SettingField) if field in arguments.model_fields_set),
        level=None if arguments.level is None else Level[arguments.level],
        autopilot_disabled=arguments.autopilot_disabled,
        floor=Level[arguments.floor],
        ceiling=Level[arguments.ceiling],
        reason=arguments.reason,
    )
    setting = await context.work.autonomy.set(
        asked, setting_id=SettingId(context.new_id()), changed_by=context.principal.principal_id, now=context.now
    )
    return {"setting": setting_json(setting)}


async def autonomy_query(arguments: AutonomyQuery, context: CallContext) -> Json:
    """The level in force and what follows from it; with `tool`, that tool's level and the verdict it would get now."""
    level, starting = await context.level_of(arguments.tool), await context.level_of(STARTS_JOBS)
    shown = autonomy_json(status_of(context.facts.range))
    shown["level"] = level.name
    shown["allowed"] = {effect: decision_of(context.suppose(level, effect)) for effect in EFFECTS}
    shown["jobs"] = [
        {"kind": kind, **verdict_json(context.suppose(starting, "prepare", kind))}
        for kind in sorted(context.work.tasks.kinds)
    ]
    shown["pending_approvals"] = await _pending(context)
    shown["earned"] = await _earned(arguments.tool, context)
    if arguments.tool is not None:
        shown["tool"] = await _would(arguments.tool, arguments, context)
    return shown


async def _pending(context: CallContext) -> list[Json]:
    query = ApprovalQuery(
        page=page_request(limit=PENDING_SHOWN), state="pending", requested_by=context.principal.principal_id
    )
    return [pending_json(item) for item in (await context.work.approvals.list(query, context.now)).items]


async def _earned(tool: str | None, context: CallContext) -> list[Json]:
    """What the record says of the agent's calls: of the tool that is asked about, or of each; nothing for a CLIENT."""
    records, _ = await context.work.earned.records()
    return [record_json(record) for record in records if tool in (None, record.tool)]


async def _would(tool: str, arguments: AutonomyQuery, context: CallContext) -> Json:
    """The verdict as things stand; where something is supposed, or why is asked, what it rests on as well."""
    if arguments.suppose is None and not arguments.explain:
        verdict = await context.what_if(tool, arguments.arguments)
        return {"name": tool, "known": False} if verdict is None else _told(tool, verdict)
    explained = await context.explain(tool, arguments.arguments, _supposed(arguments.suppose or Suppose()))
    if explained is None:
        return {"name": tool, "known": False}
    return {**_told(tool, explained.explanation.verdict), "explained": explained_json(explained)}


def _told(tool: str, verdict: Verdict) -> Json:
    return {"name": tool, "known": True, **verdict_json(verdict)}


def _supposed(given: Suppose) -> Supposed:
    return Supposed(
        mode=given.mode,
        door=given.door,
        role=given.role,
        level=None if given.level is None else Level[given.level],
        attended=given.attended,
        control_state=given.control_state,
        approved=given.approved,
        run_id=None if given.run_id is None else RunId(given.run_id),
    )


AUTONOMY_SET = Handler(arguments=AutonomySet, work=autonomy_set)
AUTONOMY_QUERY = Handler(arguments=AutonomyQuery, work=autonomy_query)
