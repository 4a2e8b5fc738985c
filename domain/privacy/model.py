"""A person, what is held of them by parts, and how an erasure of it goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, NewType
from uuid import UUID

from domain.kernel import CallId, DomainError, EventId, NotFound, PrincipalId, PrincipalKind

ErasureId = NewType("ErasureId", UUID)
ErasureState = Literal["asked", "ending", "rows", "own_payloads", "copies", "done"]
"""asked: approved, not begun. ending: what is under way ends. Then rows, what calls carried, and its copies go."""
Going = Literal["run", "task_run", "call_settle"]

PARTS: Mapping[str, str] = {
    "person": "Who you are here: address, name, role and autonomy range.",
    "engagements": "Client engagements that you are assigned to.",
    "identities": "How you sign in: what an identity provider calls you.",
    "preferences": "What you asked the agent to remember.",
    "autonomy_settings": "Settings of the agent's autonomy that are about you, or that you changed.",
    "organization_policies": "Policies of the organization's own that you put in force or took back.",
    "budget_settings": "Budgets that are about you, or that you set.",
    "conversations": "Your conversations with agents.",
    "messages": "What was said in them, by you and by the agent, with what tools gave.",
    "runs": "Each of the agent's turns in them: when, by which model, at what use.",
    "conversation_summaries": "Summaries that a model wrote of long conversations.",
    "feedback": "What you said of answers.",
    "tasks": "Tasks that you made or that are given to you.",
    "task_runs": "Background work that you started, and its answers.",
    "task_reminders": "Reminders on your tasks, or by you.",
    "task_run_cancellations": "Background work that you stopped, and why.",
    "schedules": "Schedules that you set.",
    "approvals_asked": "Calls of yours that needed somebody's approval.",
    "approvals_decided": "Approvals that you decided. What another person asked for is not in here.",
    "delegations": "Who decided in your stead while you were away, and in whose you did.",
    "sign_offs": "What you signed off.",
    "releases": "Releases that you made or approved.",
    "documents": "Documents that you uploaded (title and place; their text is the firm's).",
    "activity": "Every call made by you or in your name: when, which tool, what it carried, how it ended.",
}
"""What an export holds, in the order of its files, each in words for the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A member, or one who was."""

    user_id: PrincipalId
    email: str
    kind: PrincipalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPage:
    """Some rows of a part, as JSON; `behind`: the key of the last one, None when there was none."""

    rows: tuple[str, ...]
    behind: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """That a person is being erased, or was."""

    erasure_id: ErasureId
    user_id: PrincipalId
    requested_by: str
    """An e-mail address."""
    requested_at: datetime
    call_id: CallId
    state: ErasureState
    removed: Mapping[str, int]
    """How many rows went, by table."""
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one step of an erasure did."""

    state: ErasureState
    waits: bool
    """Something is under way that has to end first."""
    removed: Mapping[str, int]
    erased: Sequence[EventId]
    """Of the record: what has lost what its call carried or gave."""


class PersonNotFound(NotFound):
    """No such member."""

    code: ClassVar[str] = "person_not_found"

    def __init__(self, email: str) -> None:
        super().__init__(f"person: no member {email} of this organization")


class NotAPerson(DomainError):
    """A service account has no personal data."""

    code: ClassVar[str] = "not_a_person"

    def __init__(self, email: str) -> None:
        super().__init__(f"person: {email} is a service account, and no person")


class ErasureNotFound(NotFound):
    """No such erasure in this organization."""

    code: ClassVar[str] = "erasure_not_found"

    def __init__(self, erasure_id: ErasureId) -> None:
        super().__init__(f"erasure_id: no erasure {erasure_id}")
