"""What the agent may do on its own here and now, by the same policy that decides its calls."""

from domain.approvals.model import ApprovalQuery
from domain.autonomy.service import status_of
from domain.kernel import EFFECTS
from domain.paging import page_request
from tools.handlers.arguments import Arguments, OpenObject
from tools.outcomes import Json, decision_of, verdict_json
from tools.views import autonomy_json, pending_json
from tools.work import CallContext, Handler

PENDING_SHOWN = 20


class AutonomyQuery(Arguments):
    tool: str | None = None
    arguments: OpenObject | None = None


async def autonomy_query(arguments: AutonomyQuery, context: CallContext) -> Json:
    """The level in force and what follows from it; with `tool`, the verdict that it would get now."""
    shown = autonomy_json(status_of(context.facts.range))
    shown["level"] = context.level.name
    shown["allowed"] = {effect: decision_of(context.suppose(effect)) for effect in EFFECTS}
    shown["jobs"] = [
        {"kind": kind, **verdict_json(context.suppose("prepare", kind))} for kind in sorted(context.work.tasks.kinds)
    ]
    shown["pending_approvals"] = await _pending(context)
    if arguments.tool is not None:
        shown["tool"] = await _would(arguments.tool, arguments.arguments, context)
    return shown


async def _pending(context: CallContext) -> list[Json]:
    query = ApprovalQuery(
        page=page_request(limit=PENDING_SHOWN), state="pending", requested_by=context.principal.principal_id
    )
    return [pending_json(item) for item in (await context.work.approvals.list(query, context.now)).items]


async def _would(tool: str, arguments: Json | None, context: CallContext) -> Json:
    verdict = await context.what_if(tool, arguments)
    if verdict is None:
        return {"name": tool, "known": False}
    return {"name": tool, "known": True, **verdict_json(verdict)}


AUTONOMY_QUERY = Handler(arguments=AutonomyQuery, work=autonomy_query)
