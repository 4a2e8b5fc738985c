"""A call that was made before and has not come to its end, read again from what the database keeps of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import orjson

from domain.approvals.model import Approval
from domain.approvals.subjects import BoundSubject
from domain.intents.model import Intent
from domain.kernel import Principal
from tools.calls import Call
from tools.outcomes import SUBJECT_CHANGED, CallError, CallOutcome, CallRequest, Deny
from tools.record import Recorded
from tools.registry import Invalid, Registry

_SUBJECTS: Mapping[str, str] = {
    "task_runs": "what the task's runs were given or said",
    "sign_offs": "the sign-offs of the engagement",
    "workflow": "the workflow that does the task",
}
"""Where `the` and the kind's own name would not say it."""


def request_of(stored: Approval | Intent) -> CallRequest:
    """The request that an approval is bound to, or that acts outside, as it was made."""
    return CallRequest(
        call_id=stored.call_id,
        tool=stored.tool,
        arguments=orjson.loads(stored.arguments),
        conversation_id=stored.conversation_id,
        run_id=stored.run_id,
        task_run_id=stored.task_run_id,
        engagement_id=stored.engagement_id,
        agent_ceiling=stored.agent_ceiling,
    )


def requester_of(approval: Approval) -> Principal:
    """Who asked, in the mode and at the door of then: the approved call runs as this principal."""
    return Principal(
        organization_id=approval.organization_id,
        principal_id=approval.requested_by,
        kind=approval.requested_kind,
        mode=approval.requested_mode,
        door=approval.requested_door,
        scheduled=approval.requested_scheduled,
    )


def changed_since(approval: Approval) -> CallOutcome:
    """The manifest is not the one that was asked about: the approval no longer fits the call."""
    error = CallError(code="manifest_changed", message="The tool has changed since this call was asked for.")
    verdict = Deny(reasons=("manifest_changed",))
    return CallOutcome(call_id=approval.call_id, tool=approval.tool, outcome="denied", verdict=verdict, error=error)


def subject_changed(changed: BoundSubject) -> CallError:
    """What the call names is not any more what a person was asked about; whoever asked may ask anew."""
    what = _SUBJECTS.get(changed.subject, f"the {changed.subject.replace('_', ' ')}")
    message = (
        f"{changed.argument}: {what} changed after this call was asked for, so it was not made. "
        "Look at it as it is now, and ask anew if the call is still wanted."
    )
    return CallError(code=SUBJECT_CHANGED, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCalls:
    """Calls as they were made, where their tools still take them."""

    registry: Registry
    monotonic: Callable[[], float]

    def intended(self, intent: Intent) -> Call | None:
        """The call that an intent stands for; None: its tool is no more, or takes other arguments by now.

        It can be asked after, and made only where `same` says so.
        """
        tool = self.registry.find(intent.tool)
        request = request_of(intent)
        parsed = None if tool is None or tool.handler.outside is None else tool.parse(request.arguments)
        if tool is None or parsed is None or isinstance(parsed, Invalid):
            return None
        return Call(
            request=request,
            principal=intent.principal,
            tool=tool,
            parsed=parsed,
            started=self.monotonic(),
            approval_id=intent.approval_id,
        )

    def same(self, call: Call, intent: Intent) -> bool:
        """Whether the call is still, to the letter, the one that was allowed, of a tool that has not changed since."""
        known = intent.manifest_digest
        return known in (None, call.manifest.digest) and call.parsed.canonical == intent.arguments

    def left(self, intent: Intent) -> Recorded:
        """The call that an intent stands for, as the record keeps it, also where its tool is no more."""
        tool = self.registry.find(intent.tool)
        return replace(self.unreadable(intent), manifest=None if tool is None else tool.manifest)

    def unreadable(self, intent: Intent) -> Recorded:
        """The call that an intent stands for, as the record keeps it, where its tool does not take it any more."""
        return Recorded(
            request=request_of(intent),
            principal=intent.principal,
            manifest=None,
            arguments=intent.arguments,
            approval_id=intent.approval_id,
        )

    def approved(self, approval: Approval) -> Call | None:
        """The exact call the approval is bound to; None when its tool is no longer what was asked about."""
        tool = self.registry.find(approval.tool)
        if tool is None or tool.manifest.digest != approval.manifest_digest:
            return None
        request = request_of(approval)
        parsed = tool.parse(request.arguments)
        if isinstance(parsed, Invalid):
            return None
        return Call(
            request=request,
            principal=requester_of(approval),
            tool=tool,
            parsed=parsed,
            started=self.monotonic(),
            approval_id=approval.approval_id,
        )

    def recorded(self, approval: Approval) -> Recorded:
        """The call the approval is bound to, as the record keeps it, also where its tool is no more."""
        tool = self.registry.find(approval.tool)
        return Recorded(
            request=request_of(approval),
            principal=requester_of(approval),
            manifest=None if tool is None else tool.manifest,
            arguments=approval.arguments,
            approval_id=approval.approval_id,
        )
