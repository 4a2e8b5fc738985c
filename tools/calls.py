"""One call on its way through the gate: what it says, the transaction it runs in, and the ways it can end."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

import orjson

from domain.activity.model import EventKind
from domain.budgets.model import calls_of
from domain.idempotency.model import Claim
from domain.kernel import ApprovalId, Outcome, Principal, Role
from tools.facts import Facts, shown_by
from tools.manifest import Manifest, Subject
from tools.outcomes import CallError, CallOutcome, CallRequest, Json, Tell
from tools.ports import CallTransaction, Transactions
from tools.record import Judged, Recorded
from tools.registry import Invalid, Parsed, Tool
from tools.spending import Holds, Spending
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
    spending: Spending = field(default_factory=Spending)
    """What it has spent at models so far."""
    holds: Holds = field(default_factory=Holds)
    """What it holds of budgets."""

    @property
    def manifest(self) -> Manifest:
        return self.tool.manifest

    @property
    def timeout_s(self) -> float:
        """How long the work may take: the tool's own time, or less where whoever asks has less."""
        most, asked = self.manifest.timeout, self.request.timeout
        return (most if asked is None else min(most, asked)).total_seconds()

    @property
    def subjects(self) -> Mapping[Subject, str]:
        """The subjects that the arguments name, and the task run that the call is a step of."""
        named: dict[Subject, str] = {**subjects_of(self.manifest, self.parsed.arguments)}
        words, run_id = named.pop("statement", None), self.request.run_id
        if words is not None and run_id is not None:
            named["statement"] = orjson.dumps({"run_id": run_id, "words": words}).decode()
        if self.request.task_run_id is not None:
            named["step_of"] = str(self.request.task_run_id)
        if self.by_agent and self.manifest.may_write:
            named["turn"] = orjson.dumps(self._turn).decode()
        return named

    @property
    def by_agent(self) -> bool:
        """A model chose it, or a workflow on somebody's behalf; not what the worker does of itself, nor a person."""
        in_a_run = self.request.conversation_id is not None or self.request.task_run_id is not None
        return self.principal.mode == "agent" and (in_a_run or self.principal.door != "worker")

    @property
    def _turn(self) -> Json:
        """Where what the agent was told before is to be found."""
        request = self.request
        return {
            "conversation_id": request.conversation_id,
            "task_run_id": request.task_run_id,
            "door": self.principal.door,
        }

    def widens(self, facts: Facts) -> bool | None:
        """Whether it would show clients what was kept from them, or what untrusted words may have dictated.

        None: it shows them nothing. What a CLIENT's own agent reads is nobody's but the client's. Of a workflow's step
        the firm has written down which words go where; whoever made them is the turn's trust.
        """
        turn, request = facts.turn, self.request
        by_workflow = request.task_run_id is not None and request.conversation_id is None
        if turn is None or by_workflow or facts.role is Role.CLIENT:
            return None
        shown = shown_by(self.manifest.name, self.parsed.arguments, facts)
        if shown is None:
            return None
        return shown == "firm" or turn.trust != "internal" or turn.is_kept_from(facts.shown_in or request.engagement_id)

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
    def charged_run(self) -> UUID | None:
        """The run in whose budget it counts: the agent's, or the task run that it is a step of."""
        return self.request.run_id or self.request.task_run_id

    def left_of_budgets(self, facts: Facts) -> tuple[int, ...]:
        """What is left of each budget of calls that it counts in."""
        if not self.manifest.counted:
            return ()
        measure = calls_of(self.manifest.effect)
        return tuple(each.left for each in facts.budgets_in(self.charged_run) if each.measure == measure)

    def budget_exhausted(self, facts: Facts) -> bool | None:
        """Whether nothing is left of a budget that it counts in; None: no such budget is set."""
        holds, call_id, left = self.holds, self.request.call_id, self.left_of_budgets(facts)
        if holds.exhausted(call_id) is not None:
            return True
        if not left:
            return None
        # Until something is held, or somebody has looked, the facts say what it would find.
        return call_id not in holds.decided and call_id not in holds.looked and min(left) < 1

    @property
    def recorded(self) -> Recorded:
        """The call as the record keeps it."""
        return Recorded(
            request=self.request,
            principal=self.principal,
            manifest=self.manifest,
            arguments=self.parsed.canonical,
            approval_id=self.approval_id,
            spending=self.spending,
        )


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a call has come, for whoever has to say how it ended."""

    judged: Judged | None = None
    ended: CallOutcome | None = None
    """How the call ended, once that is committed: nothing that comes later changes it."""
    jobs: list[Job] = field(default_factory=list[Job])


class ReadMustWait(Exception):
    """Leaves the transaction of a call that only reads: a person is to be asked about it, which is written down."""


class Undone(Exception):
    """Leaves the call's transaction so that it is rolled back; carries how the call ended."""

    def __init__(self, ended: CallOutcome, judged: Judged | None, *, ticket: bool = False) -> None:
        super().__init__(ended.outcome)
        self.ended = ended
        self.judged = judged
        self.ticket = ticket
        """The call had its ticket, which the rollback takes along: both events are written again."""


class Unreserved(Exception):
    """Leaves the transaction: the call would be made, and nothing is held yet of a budget that it counts in."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.manifest.name)
        self.call = call


class RoomUnknown(Exception):
    """Leaves the transaction: the call holds nothing, and what it comes to hangs on the room that budgets have."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.manifest.name)
        self.call = call


def begin(transactions: Transactions, call: Call, *, read_only: bool) -> AbstractAsyncContextManager[CallTransaction]:
    """The call's transaction, with the facts that policy needs about it."""
    return transactions.begin(call.principal, call.manifest.name, call.subjects, call.control, read_only=read_only)


def changes_only(tell: Tell) -> Tell:
    """Tells what differs from what was told before."""
    told: tuple[float, str] | None = None

    def changed(progress: float, message: str) -> None:
        nonlocal told
        if told != (progress, message):
            told = (progress, message)
            tell(progress, message)

    return changed


def subjects_of(manifest: Manifest, arguments: Mapping[str, object]) -> Mapping[Subject, str]:
    """The subjects that these arguments name, by the manifest's word for them."""
    return {
        subject: cast(str, arguments[argument])
        for subject, argument in manifest.subjects.items()
        if isinstance(arguments.get(argument), str)
    }


def settling(call: Call) -> Job:
    """The job that finds out what became of a call outside."""
    return Job(kind="call_settle", organization_id=call.principal.organization_id, subject_id=call.request.call_id)


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
    what = "member" if subject == "assignee" else subject.replace("_", " ")
    # Nobody asks for a document by whether it is deleted.
    kind = "document" if subject == "deleted_document" else subject
    return CallError(code=f"{kind}_not_found", message=f"There is no such {what}.")


def fault_of_result(manifest: Manifest, tool: Tool, result: Json, size: int) -> CallError | None:
    """Why a result may not leave: larger than the manifest says, or not of its schema."""
    if size > manifest.result_limit:
        return CallError(
            code="result_too_large", message=f"The result exceeds {manifest.result_limit} bytes; ask for less."
        )
    if tool.result_faults(result):
        return CallError(code="result_invalid", message="The tool's result does not hold to its schema.")
    return None
