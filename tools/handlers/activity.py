"""How one call ended: what a waiting call is followed by."""

from uuid import UUID

from domain.approvals.service import ApprovalNotFound
from domain.kernel import ApprovalId, CallId
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.calls import activity_json, approval_item_json
from tools.work import CallContext, Handler


class CallGet(Arguments):
    call_id: UUID


async def call_get(arguments: CallGet, context: CallContext) -> Json:
    """The call as the record shows it, and, where it was asked for, what became of the question."""
    item = (await context.work.activity.call(CallId(arguments.call_id))).item
    context.told.add(await context.work.activity.taint_of(item.call_id))
    shown = activity_json(item)
    if item.decision is None and item.arguments is not None:
        # No schema has passed them: as the text that was kept of them they can do no harm to a reader of this result.
        shown["arguments"] = item.arguments
    if item.approval_id is not None:
        shown |= await _question(item.approval_id, context)
    return shown


async def _question(approval_id: ApprovalId, context: CallContext) -> Json:
    """What became of the question, for whoever asked it or may decide it; others see the call alone."""
    try:
        found = await context.work.approvals.get(approval_id, context.now)
    except ApprovalNotFound:
        return {}
    return {"approval": approval_item_json(found)}


CALL_GET = Handler(arguments=CallGet, work=call_get)
