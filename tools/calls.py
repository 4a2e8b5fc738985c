"""One call on its way through the gate, and the ways it can end; pure values, from the request to the record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import orjson

from domain.activity.model import EventKind
from domain.approvals.model import Approval
from domain.idempotency.model import Claim
from domain.kernel import ApprovalId, Outcome, Principal
from tools.manifest import Manifest, Subject
from tools.outcomes import CallError, CallOutcome, CallRequest, Deny, Json
from tools.record import Judged, Recorded
from tools.registry import Invalid, Parsed, Tool
from tools.work import Job

KIND_OF: Mapping[Outcome, EventKind] = {
    "done": "tool.completed",
    "denied": "tool.denied",
    "invalid": "tool.invalid",
    "waiting": "tool.waiting",
    "failed": "tool.failed",
    "cancelled": "tool.cancelled",
    "expired": "tool.expired",
    "rejected": "tool.rejected",
    "dry_run": "tool.previewed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call whose arguments have been read."""

    request: CallRequest
    principal: Principal
    tool: Tool
    parsed: Parsed
    started: float
    approval_id: ApprovalId | None = None

    @property
    def manifest(self) -> Manifest:
        return self.tool.manifest

    @property
    def subjects(self) -> Mapping[Subject, str]:
        """The subjects that the arguments name, and the task run that the call is a step of."""
        named = subjects_of(self.manifest, self.parsed.arguments)
        task_run_id = self.request.task_run_id
        return named if task_run_id is None else {**named, "step_of": str(task_run_id)}

    @property
    def claim(self) -> Claim | None:
        """The key that the call is made under, bound to what it says."""
        key = self.request.idempotency
        said = [self.manifest.name, self.parsed.canonical, self.request.dry_run]
        return None if key is None else key.claim(self.principal.mode, said)

    @property
    def control(self) -> str | None:
        """The release control that must be satisfied for this very call."""
        return self.manifest.control_in(self.parsed.arguments)

    @property
    def sign_off_kind(self) -> str | None:
        """The kind of sign-off that this very call records."""
        return self.manifest.sign_off_kind_in(self.parsed.arguments)

    @property
    def recorded(self) -> Recorded:
        """The call as the record keeps it."""
        return Recorded(
            request=self.request,
            principal=self.principal,
            manifest=self.manifest,
            arguments=self.parsed.canonical,
            approval_id=self.approval_id,
        )


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a call has come, for whoever has to say how it ended."""

    judged: Judged | None = None
    ended: CallOutcome | None = None
    """How the call ended, once that is committed: nothing that comes later changes it."""
    jobs: list[Job] = field(default_factory=list[Job])


class Undone(Exception):
    """Leaves the call's transaction so that it is rolled back; carries how the call ended."""

    def __init__(self, ended: CallOutcome, judged: Judged | None, *, ticket: bool = False) -> None:
        super().__init__(ended.outcome)
        self.ended = ended
        self.judged = judged
        self.ticket = ticket
        """The call had its ticket, which the rollback takes along: both events are written again."""


def subjects_of(manifest: Manifest, arguments: Mapping[str, object]) -> Mapping[Subject, str]:
    """The subjects that these arguments name, by the manifest's word for them."""
    return {
        subject: cast(str, arguments[argument])
        for subject, argument in manifest.subjects.items()
        if isinstance(arguments.get(argument), str)
    }


def request_of(approval: Approval) -> CallRequest:
    """The request an approval is bound to, as it was made."""
    return CallRequest(
        call_id=approval.call_id,
        tool=approval.tool,
        arguments=orjson.loads(approval.arguments),
        conversation_id=approval.conversation_id,
        run_id=approval.run_id,
        task_run_id=approval.task_run_id,
        engagement_id=approval.engagement_id,
        agent_ceiling=approval.agent_ceiling,
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


def unknown_tool(name: str) -> CallError:
    return CallError(code="unknown_tool", message=f"There is no tool named {name[:64]!r}.")


def duplicate_call(request: CallRequest) -> CallError:
    """The call's id was used before: its record stands, and nothing is done twice."""
    message = f"This call was made already; ask for its outcome by its call_id {request.call_id}."
    return CallError(code="duplicate_call", message=message)


def invalid_arguments(invalid: Invalid) -> CallError:
    """The faults of the arguments, each with its path."""
    details = tuple({"path": fault.path, "message": fault.message} for fault in invalid.faults)
    first = invalid.faults[0]
    return CallError(code="invalid_arguments", message=f"{first.path or 'arguments'}: {first.message}", details=details)


def not_found(subject: str) -> CallError:
    """The same words for what does not exist and for what is another's."""
    return CallError(code=f"{subject}_not_found", message=f"There is no such {subject.replace('_', ' ')}.")


def fault_of_result(manifest: Manifest, tool: Tool, result: Json, size: int) -> CallError | None:
    """Why a result may not leave: larger than the manifest says, or not of its schema."""
    if size > manifest.result_limit:
        return CallError(
            code="result_too_large", message=f"The result exceeds {manifest.result_limit} bytes; ask for less."
        )
    if tool.result_faults(result):
        return CallError(code="result_invalid", message="The tool's result does not hold to its schema.")
    return None
