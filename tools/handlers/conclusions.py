"""A person says how a call ended that acted outside, where nobody can find out."""

from uuid import UUID

from domain.intents.model import Conclusion
from domain.kernel import CallId
from tools.handlers.approvals import bring_further
from tools.handlers.arguments import Arguments
from tools.outcomes import Json
from tools.views.values import given, id_text
from tools.work import CallContext, Handler


class CallConclude(Arguments):
    call_id: UUID
    happened: bool
    statement: str


async def call_conclude(arguments: CallConclude, context: CallContext) -> Json:
    """Effect  writes approvals: the call's own, where it had one; beside it the record says how the call ended.

    Raises  CallHasEnded, CallUnderWay.
    """
    call_id = CallId(arguments.call_id)
    said = Conclusion(happened=arguments.happened, statement=arguments.statement)
    ended = await context.conclude(call_id, said)
    approval = await bring_further(call_id, context)
    approval_id = None if approval is None else id_text(approval.approval_id)
    call: Json = {"call_id": str(call_id), "tool": ended.tool, "outcome": ended.outcome, "stated": said.statement}
    return {"call": {**call, **given(approval_id=approval_id)}}


CALL_CONCLUDE = Handler(arguments=CallConclude, work=call_conclude)
