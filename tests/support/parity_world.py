"""Who calls in the parity suite and what: a member of every role and level, and the calls that each of them tries."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson

from domain.activity.model import Payload
from domain.activity.postgres import insert_events
from domain.kernel import CallId, Decision, EventId, Level, OrganizationId, PrincipalId, Role, utc_now
from server.database.connection import Connection
from tests.support.calls import event
from tests.support.fake_slack import BOT_USER, TEAM, FakeSlack, user
from tests.support.firms import FIRM_A, seed_firms
from tests.support.parity import ACTS, Cell, Who, expected

Json = dict[str, Any]

ORGANIZATION = OrganizationId(FIRM_A.organization_id)
READER = PrincipalId(FIRM_A.id("partner"))
"""Reads the organization's record back."""
WHOS = tuple(Who(role=role, level=level) for level in Level for role in Role)
EVERYBODY = tuple(who for who in WHOS if who.level is Level.L1)
"""One of each role, at the level where reading, preparing and starting a workflow get three different answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One call, as everybody tries it at every door. `arguments`: given whose call it is and through which entrance."""

    name: str
    tool: str
    arguments: Callable[[Who, str], Json]
    assigns_other: bool = False
    client_own: bool | None = None
    """Of a CLIENT's call: what it names is of its own engagement; None: it names nothing that a CLIENT can see."""
    client_own_task: bool = True
    """Of a CLIENT's call: the task that it names is given to it."""
    minimum: Level | None = None
    control: str | None = None
    ready: bool = True
    """The release control that it names is satisfied."""
    sign_off_kind: str | None = None
    malformed: bool = False
    """It is refused for its form, before any verdict."""

    def expected(self, cell: Cell, who: Who) -> Decision | None:
        """What domain.md says of it."""
        if self.malformed:
            return None
        return expected(
            ACTS[self.tool],
            cell,
            who.role,
            who.level,
            assigns_other=self.assigns_other,
            client_own=self.client_own,
            client_own_task=self.client_own_task,
            minimum=self.minimum,
            control=self.control,
            ready=self.ready,
            sign_off_kind=self.sign_off_kind,
        )


def _fixed(arguments: Json) -> Callable[[Who, str], Json]:
    return lambda _who, _entrance: arguments


def _ids(name: str) -> str:
    return str(FIRM_A.id(name))


def one_of(kind: str, who: Who, entrance: str) -> UUID:
    """The thing that one member's call through one entrance uses up: an approval it decides, a document it deletes."""
    return FIRM_A.id(f"{kind} of {who.email} through {entrance}")


ELSEWHERE = {"issuer": "https://sign-in.example", "subject": "5f6c"}
TITLE = {"title": "Ask for the bank letter"}
IN_A_WEEK = (utc_now() + timedelta(days=7)).date().isoformat()
EVIDENCE = [{"subject": "plan", "version": "1"}]
CASES: tuple[Case, ...] = (
    # Ahead of all that tells the run something: what is said after that is confirmed by a person.
    Case(
        name="remember",
        tool="preference_set",
        arguments=_fixed({"words": "Answer me briefly, and in English."}),
    ),
    Case(
        name="forget",
        tool="preference_forget",
        arguments=lambda who, entrance: {"preference_id": str(one_of("preference", who, entrance))},
    ),
    Case(name="search", tool="knowledge_search", arguments=_fixed({"query": "text", "limit": 5})),
    Case(name="read", tool="knowledge_read", arguments=_fixed({"document_id": _ids("client_thing")}), client_own=True),
    Case(name="read what is not there", tool="knowledge_read", arguments=_fixed({"document_id": _ids("nothing")})),
    Case(name="create", tool="task_create", arguments=_fixed(TITLE)),
    Case(
        name="create for another",
        tool="task_create",
        arguments=_fixed({**TITLE, "assignee": "partner@firm-1.example"}),
        assigns_other=True,
    ),
    Case(name="create without a title", tool="task_create", arguments=_fixed({}), malformed=True),
    Case(name="create with more", tool="task_create", arguments=_fixed({**TITLE, "spare": 1}), malformed=True),
    Case(
        name="list",
        tool="task_list",
        # Of what no other case makes or changes, so that the list stays as it is while the doors take their turns.
        arguments=_fixed({"status": "cancelled", "engagement_id": _ids("engagement")}),
    ),
    Case(name="get", tool="task_get", arguments=_fixed({"task_id": _ids("client_thing")}), client_own=True),
    Case(
        name="run",
        tool="task_run",
        arguments=_fixed({"task_id": _ids("workflow task")}),
        client_own=True,
        minimum=Level.L1,
    ),
    Case(
        name="run what is for people",
        tool="task_run",
        arguments=_fixed({"task_id": _ids("client_thing")}),
        client_own=True,
    ),
    Case(name="audit head", tool="audit_head", arguments=_fixed({})),
    Case(name="audit prove", tool="audit_prove", arguments=_fixed({"call_id": _ids("thing")})),
    Case(name="audit export", tool="audit_export", arguments=_fixed({})),
    Case(name="audit export for a SIEM", tool="audit_export", arguments=_fixed({"format": "ocsf", "since": 0})),
    Case(
        name="hand out a person's data",
        tool="privacy_export",
        arguments=_fixed({"person": "partner@firm-1.example"}),
        assigns_other=True,
    ),
    Case(name="hand out one's own data", tool="privacy_export_own", arguments=_fixed({})),
    Case(
        name="erase a person",
        tool="privacy_erase",
        arguments=_fixed({"person": "partner@firm-1.example"}),
        assigns_other=True,
    ),
    Case(
        name="carry on an erasure",
        tool="privacy_erase_step",
        arguments=_fixed({"erasure_id": _ids("nothing")}),
        minimum=Level.L0,
    ),
    Case(name="list documents", tool="document_list", arguments=_fixed({"status": "ready"})),
    Case(name="list figures", tool="figure_list", arguments=_fixed({})),
    Case(
        name="extract",
        tool="document_extract",
        arguments=_fixed({"document_id": _ids("client_thing")}),
        client_own=True,
    ),
    Case(
        name="remind",
        tool="task_remind",
        arguments=lambda who, entrance: {
            "task_id": str(one_of("task to remind of", who, entrance)),
            "text": "Please send it.",
        },
        client_own=True,
    ),
    Case(
        name="change",
        tool="task_update",
        arguments=lambda who, entrance: {
            "task_id": str(one_of("own task", who, entrance)),
            "status": "done",
            "due_on": None,
        },
        client_own=True,
    ),
    Case(
        name="change what is another's",
        tool="task_update",
        arguments=lambda who, entrance: {"task_id": str(one_of("task", who, entrance)), "status": "in_progress"},
        client_own=True,
        client_own_task=False,
    ),
    Case(
        name="give to another",
        tool="task_update",
        arguments=lambda who, entrance: {
            "task_id": str(one_of("task to give", who, entrance)),
            "assignee": "partner@firm-1.example",
        },
        assigns_other=True,
        client_own=True,
        client_own_task=False,
    ),
    Case(
        name="cancel a run",
        tool="task_run_cancel",
        arguments=lambda who, entrance: {"task_run_id": str(one_of("run", who, entrance)), "reason": "not now"},
        client_own=True,
    ),
    Case(
        name="schedule",
        tool="schedule_create",
        arguments=_fixed({"task_id": _ids("workflow task"), "cron": "0 7 * * *", "time_zone": "Europe/Malta"}),
        client_own=True,
    ),
    Case(
        name="pause a schedule",
        tool="schedule_update",
        arguments=lambda who, entrance: {"schedule_id": str(one_of("schedule", who, entrance)), "paused": True},
    ),
    Case(
        name="delete a schedule",
        tool="schedule_delete",
        arguments=lambda who, entrance: {"schedule_id": str(one_of("schedule to delete", who, entrance))},
    ),
    Case(
        name="list schedules",
        tool="schedule_list",
        # Of a task that no other case schedules.
        arguments=_fixed({"task_id": _ids("thing")}),
    ),
    Case(name="follow", tool="task_run_get", arguments=_fixed({"task_run_id": _ids("thing")})),
    Case(
        name="check a release",
        tool="release_check",
        arguments=_fixed({"control": "plan_freeze", "engagement_id": _ids("engagement")}),
        client_own=True,
    ),
    Case(
        name="release",
        tool="release_submit",
        arguments=_fixed({"control": "plan_freeze", "engagement_id": _ids("engagement"), "evidence": EVIDENCE}),
        client_own=True,
        control="plan_freeze",
    ),
    Case(
        name="release what is not ready",
        tool="release_submit",
        arguments=_fixed({"control": "plan_freeze", "engagement_id": _ids("other_engagement"), "evidence": EVIDENCE}),
        client_own=False,
        control="plan_freeze",
        ready=False,
    ),
    Case(
        name="submit a filing",
        tool="release_submit",
        arguments=_fixed({"control": "filings_submit", "engagement_id": _ids("engagement"), "evidence": EVIDENCE}),
        client_own=True,
        control="filings_submit",
    ),
    *(
        Case(
            name=f"sign off {kind}",
            tool="signoff_record",
            arguments=_fixed(
                {
                    "engagement_id": _ids("other_engagement"),
                    "kind": kind,
                    "decision": "accept",
                    "subject": "report",
                    "version": "1",
                }
            ),
            client_own=False,
            sign_off_kind=kind,
        )
        for kind in ("REPORT_FINAL", "EQR_REVIEW", "VAT_RETURN")
    ),
    Case(
        name="set autonomy",
        tool="autonomy_set",
        arguments=_fixed({"scope": "tool", "tool": "call_get", "level": "L3", "reason": "It is so already."}),
    ),
    # There is none, and nothing else is decided otherwise by it.
    Case(
        name="lift a budget",
        tool="budget_set",
        arguments=_fixed({"scope": "organization", "measure": "tokens", "limit": None, "reason": "There is none."}),
    ),
    Case(name="ask what is left", tool="budget_query", arguments=_fixed({})),
    Case(
        name="decide a proposal that was withdrawn",
        tool="autonomy_proposal_decide",
        arguments=_fixed({"proposal_id": _ids("thing"), "decision": "reject"}),
    ),
    Case(name="review autonomy", tool="autonomy_review", arguments=_fixed({}), minimum=Level.L0),
    Case(name="ask autonomy", tool="autonomy_query", arguments=_fixed({})),
    Case(
        name="ask autonomy of a tool",
        tool="autonomy_query",
        arguments=_fixed({"tool": "task_create", "arguments": TITLE}),
    ),
    Case(
        name="report",
        tool="analytics_report",
        arguments=_fixed({"report": "tool_use", "from": "2020-01-01", "to": "2020-01-31"}),
    ),
    # Of a day on which nothing happened.
    Case(
        name="try the policies on what happened",
        tool="policy_replay",
        arguments=_fixed({"from": "2020-01-01", "to": "2020-01-01"}),
    ),
    Case(name="try a policy that there is not", tool="policy_try", arguments=_fixed({"remove": "no_such_policy"})),
    Case(
        name="put a policy in force that permits",
        tool="policy_add",
        arguments=_fixed({"text": '@id("x") permit (principal, action, resource);', "reason": "none"}),
    ),
    Case(
        name="take a policy back that there is not",
        tool="policy_remove",
        arguments=_fixed({"policy_id": "no_such_policy", "reason": "none"}),
    ),
    Case(name="follow a call", tool="call_get", arguments=lambda who, _: {"call_id": str(own_call(who))}),
    # To one whose ceiling binds none of the calls that come after it in the same run.
    Case(name="hand over", tool="agent_handover", arguments=_fixed({"agent": "operations"})),
    Case(
        name="reject",
        tool="approval_decide",
        arguments=lambda who, entrance: {
            "approval_id": str(one_of("approval", who, entrance)),
            "decision": "reject",
            "comment": "not now",
        },
    ),
    Case(
        name="say what one thinks of another's answer",
        tool="feedback_give",
        arguments=_fixed({"run_id": _ids("thing"), "rating": "up"}),
    ),
    Case(
        name="record an evaluation",
        tool="evaluation_record",
        arguments=_fixed(
            {
                "kind": "retrieval",
                "set_name": "S",
                "set_digest": "0" * 64,
                "conditions": {"k": 10},
                "figures": {"mrr": 0.5},
                "questions": {},
            }
        ),
    ),
    # To a partner, whose own role reaches as far as any delegation could.
    Case(
        name="name a deputy",
        tool="delegation_give",
        arguments=_fixed({"delegate": "partner@firm-1.example", "ends_at": IN_A_WEEK}),
    ),
    Case(
        name="revoke a delegation",
        tool="delegation_revoke",
        arguments=_fixed({"delegation_id": _ids("nothing")}),
    ),
    Case(
        name="link",
        tool="identity_link",
        arguments=_fixed({**ELSEWHERE, "user": "partner@firm-1.example"}),
        assigns_other=True,
    ),
    Case(
        name="unlink who is not linked",
        tool="identity_unlink",
        arguments=_fixed({**ELSEWHERE, "subject": "nobody"}),
    ),
    Case(
        name="hand out",
        tool="document_content",
        arguments=_fixed({"document_id": _ids("client_thing")}),
        client_own=True,
    ),
    Case(
        name="delete",
        tool="document_delete",
        arguments=lambda who, entrance: {"document_id": str(one_of("document", who, entrance))},
        client_own=True,
    ),
    Case(
        name="hand out a file by a link",
        tool="document_link",
        arguments=_fixed({"document_id": _ids("client_thing")}),
        client_own=True,
    ),
    Case(
        name="restore what is not deleted",
        tool="document_restore",
        arguments=_fixed({"document_id": _ids("client_thing")}),
    ),
    Case(
        name="say whose words a document holds",
        tool="document_trust_set",
        # As it is trusted already, so that no other case reads it otherwise.
        arguments=_fixed({"document_id": _ids("client_thing"), "trust": "internal"}),
        client_own=True,
    ),
    Case(
        name="purge what is not deleted",
        tool="document_purge",
        arguments=_fixed({"document_id": _ids("client_thing")}),
        minimum=Level.L0,
    ),
    Case(
        name="upload without a file",
        tool="document_upload",
        arguments=_fixed({"title": "Notes", "content_sha256": "0" * 64, "size_bytes": 4}),
    ),
    Case(
        name="upload for a client without a file",
        tool="document_upload",
        arguments=_fixed(
            {"title": "Notes", "content_sha256": "0" * 64, "size_bytes": 4, "engagement_id": _ids("engagement")}
        ),
        client_own=True,
    ),
    Case(
        name="take in a page that is not on the public network",
        tool="document_from_url",
        arguments=_fixed({"url": "http://127.0.0.1/handbook"}),
    ),
    Case(
        name="set up a source that the operator does not let be read",
        tool="source_add",
        arguments=_fixed({"kind": "folder", "name": "Papers", "settings": {"path": "/srv/papers"}}),
    ),
    Case(name="list sources", tool="source_list", arguments=_fixed({})),
    Case(name="say what changed", tool="source_report", arguments=_fixed({"source_id": _ids("thing")})),
    Case(
        name="change a source that there is not",
        tool="source_change",
        arguments=_fixed({"source_id": _ids("org"), "name": "Papers"}),
    ),
    Case(name="remove a source that there is not", tool="source_remove", arguments=_fixed({"source_id": _ids("org")})),
    Case(name="sync a source that there is not", tool="source_sync", arguments=_fixed({"source_id": _ids("org")})),
    Case(
        name="index",
        tool="document_index",
        arguments=_fixed({"document_id": _ids("unindexed")}),
        client_own=True,
        minimum=Level.L1,
    ),
    Case(
        name="analyse",
        tool="document_analyse",
        arguments=_fixed({"document_id": _ids("client_thing")}),
        client_own=True,
        minimum=Level.L1,
    ),
    Case(
        name="embed",
        tool="document_embed",
        arguments=_fixed({"document_id": _ids("client_thing")}),
        client_own=True,
        minimum=Level.L1,
    ),
    Case(name="expire", tool="approval_expire", arguments=_fixed({"approval_id": _ids("question")}), minimum=Level.L0),
    Case(
        name="remind of what waits",
        tool="approval_remind",
        arguments=_fixed({"approval_id": _ids("nothing")}),
        minimum=Level.L0,
    ),
    Case(name="settle", tool="call_settle", arguments=_fixed({"call_id": _ids("client_thing")}), minimum=Level.L0),
    Case(
        name="say how a call ended that there is not",
        tool="call_conclude",
        arguments=_fixed({"call_id": _ids("client_thing"), "happened": False, "statement": "There is none."}),
    ),
    Case(name="cancel what waits", tool="approval_cancel", arguments=_fixed({"run_id": _ids("run")}), minimum=Level.L0),
    Case(name="connect", tool="slack_connect", arguments=_fixed({"team_id": TEAM})),
    Case(
        name="name who answers",
        tool="slack_channel_set",
        arguments=_fixed({"team_id": "TFIRM1", "channel_id": "C0GENERAL", "agent": "assistant"}),
    ),
    Case(name="what is no tool", tool="no_such_tool", arguments=_fixed({}), malformed=True),
)

LEVELLED = ("list", "create", "create for another", "run", "run what is for people")
"""What commands try at every level: a read, what prepares, and what starts a workflow."""


def cases_of(*names: str) -> tuple[Case, ...]:
    """The cases of these names."""
    return tuple(case for case in CASES if case.name in names)


def own_call(who: Who) -> CallId:
    """A call that the member made long ago."""
    return CallId(FIRM_A.id(f"call of {who.email}"))


# The seed -------------------------------------------------------------------------------------------------------------

_USER = "INSERT INTO users (user_id, kind, email, display_name) VALUES ($1, $2, $3, 'Somebody')"
_MEMBER = """
INSERT INTO memberships (organization_id, user_id, role, autonomy_floor, autonomy_ceiling) VALUES ($1, $2, $3, $4, $4)
"""
_ENGAGED = "INSERT INTO engagement_members (organization_id, engagement_id, user_id) VALUES ($1, $2, $3)"
_TASK = """
INSERT INTO tasks (organization_id, task_id, title, kind, status, audience, engagement_id, created_by, created_at,
    updated_at)
VALUES ($1, $2, 'Refresh', 'refresh_analytics', 'in_progress', 'client', $3, $4, now(), now())
"""
_OWN_TASK = """
INSERT INTO tasks (organization_id, task_id, title, status, audience, engagement_id, assignee_id, created_by,
    created_at, updated_at)
VALUES ($1, $2, 'Bring the letter', 'open', $6, $3, $4, $5, now(), now())
"""
_TASK_LEFT_ALONE = """
INSERT INTO tasks (organization_id, task_id, title, status, audience, engagement_id, created_by, created_at, updated_at)
VALUES ($1, $2, 'Count the chairs', 'cancelled', 'client', $3, $4, now(), now())
"""
_RUN = """
INSERT INTO task_runs (organization_id, task_run_id, task_id, kind, call_id, requested_by, created_at)
VALUES ($1, $2, $3, 'refresh_analytics', $2, $4, now())
"""
_SCHEDULE = """
WITH added AS (
    INSERT INTO schedules (organization_id, schedule_id, task_id, cron, time_zone, created_by, created_at, updated_at)
    VALUES ($1, $2, $3, '0 7 * * *', 'UTC', $4, now(), now()) RETURNING organization_id, schedule_id
)
INSERT INTO schedule_progress (organization_id, schedule_id) SELECT organization_id, schedule_id FROM added
"""
_CONTROL = """
INSERT INTO release_controls (organization_id, name, needs) VALUES ($1, 'report_release', $2)
"""
_DOCUMENT = """
INSERT INTO knowledge_documents (organization_id, document_id, title, uri, media_type, audience, engagement_id, trust,
    status, size_bytes, content_sha256, uploaded_by, created_at, updated_at)
VALUES ($1, $2, 'Notes', 'glow:notes', 'text/plain', 'client', $3, 'internal', 'queued', 5, '', $4, now(), now())
"""
_PREFERENCE = """
INSERT INTO preferences (organization_id, preference_id, user_id, words, call_id, created_at, updated_at)
VALUES ($1, $2, $3, 'Answer in English.', $2, now(), now())
"""
_FILE = "INSERT INTO knowledge_files (organization_id, document_id, content) VALUES ($1, $2, 'notes')"
_DIGESTS = """
UPDATE knowledge_documents d SET content_sha256 = sha256(f.content) FROM knowledge_files f
WHERE f.organization_id = d.organization_id AND f.document_id = d.document_id
"""
_APPROVAL = """
INSERT INTO approvals (organization_id, approval_id, call_id, tool, manifest_digest, policy_digest, arguments,
    arguments_digest, reasons, requested_by, requested_kind, requested_mode, requested_door, requested_scheduled,
    agent_ceiling, needs_role, four_eyes, state, created_at, expires_at)
VALUES ($1, $2, $2, 'task_create', '', '', '{"title":"Asked"}', '', '{}', $3, 'person', 'agent', 'chat', false, 3,
    'EMPLOYEE', false, 'pending', now(), now() + interval '1 day')
"""


def _seen_by(who: Who) -> str:
    """Only a CLIENT's tasks are seen by clients: what an agent would show them hangs on what it has read before."""
    return "client" if who.role is Role.CLIENT else "firm"


async def seed_world(owner: Connection, entrances: Sequence[str]) -> None:
    """The firm, its members of every role and level, and what their calls name."""
    await seed_firms(owner)
    engagement, partner = FIRM_A.id("engagement"), FIRM_A.id("partner")
    await owner.executemany(_USER, [(who.id, who.kind, who.email) for who in WHOS])
    await owner.executemany(_MEMBER, [(ORGANIZATION, who.id, str(who.role), int(who.level)) for who in WHOS])
    clients = [who for who in WHOS if who.role is Role.CLIENT]
    await owner.executemany(_ENGAGED, [(ORGANIZATION, engagement, who.id) for who in clients])
    await owner.execute(_TASK, ORGANIZATION, FIRM_A.id("workflow task"), engagement, partner)
    await owner.execute(_TASK_LEFT_ALONE, ORGANIZATION, FIRM_A.id("task left alone"), engagement, partner)
    await owner.execute(_CONTROL, ORGANIZATION, ["REPORT_FINAL", "EQR_REVIEW", "VAT_RETURN"])
    used_up = [(who, entrance) for who in WHOS for entrance in entrances]
    own = [
        (ORGANIZATION, one_of("own task", *each), engagement, each[0].id, partner, _seen_by(each[0]))
        for each in used_up
    ]
    await owner.executemany(_OWN_TASK, own)
    # One for each case: at the command line a member makes some of the cases only, and must find the thing as it was.
    kinds = ("task", "task to give", "task to remind of")
    others = [
        (ORGANIZATION, one_of(kind, *each), engagement, None, partner, _seen_by(each[0]))
        for each in used_up
        for kind in kinds
    ]
    await owner.executemany(_OWN_TASK, others)
    runs = [(ORGANIZATION, one_of("run", *each), FIRM_A.id("workflow task"), partner) for each in used_up]
    await owner.executemany(_RUN, runs)
    kinds = ("schedule", "schedule to delete")
    schedules = [
        (ORGANIZATION, one_of(kind, *each), FIRM_A.id("workflow task"), partner) for each in used_up for kind in kinds
    ]
    await owner.executemany(_SCHEDULE, schedules)
    documents = [FIRM_A.id("unindexed"), *(one_of("document", *each) for each in used_up)]
    await owner.executemany(_DOCUMENT, [(ORGANIZATION, each, engagement, partner) for each in documents])
    await owner.executemany(_FILE, [(ORGANIZATION, each) for each in documents])
    # What is handed out is held to its digest, which the seed leaves empty.
    await owner.execute(_DIGESTS)
    kept = [(ORGANIZATION, one_of("preference", *each), each[0].id) for each in used_up]
    await owner.executemany(_PREFERENCE, kept)
    # Each member's own: a widget decides no other's.
    await owner.executemany(_APPROVAL, [(ORGANIZATION, one_of("approval", *each), each[0].id) for each in used_up])
    await insert_events(owner, [_earlier_call(who) for who in WHOS])


_TEAM = """
INSERT INTO slack_teams (organization_id, team_id, name, bot_user_id, connected_by, connected_at)
VALUES ($1, $2, 'Parity', $3, $4, now())
"""


async def seed_slack(owner: Connection, slack: FakeSlack) -> None:
    """The firm's workspace, in which every member has a user, the administrator one that runs it."""
    await owner.execute(_TEAM, ORGANIZATION, TEAM, BOT_USER, FIRM_A.id("partner"))
    for who in WHOS:
        slack.users[slack_user(who)] = user(slack_user(who), who.email, is_admin=who.role is Role.SYSTEM_ADMIN)


def slack_user(who: Who) -> str:
    """The member's id in Slack."""
    return f"U{who.id.hex[:12].upper()}"


def _earlier_call(who: Who) -> Any:
    return replace(
        event(call_id=own_call(who), role=who.role, payload=Payload(salt=b"salt", arguments='{"query":"who"}')),
        event_id=EventId(FIRM_A.id(f"event of {who.email}")),
        principal_id=PrincipalId(who.id),
        principal_kind=who.kind,
    )


def arguments_text(arguments: Mapping[str, object]) -> str:
    """Arguments as JSON text."""
    return orjson.dumps(arguments).decode()


def asked_by(who: Who, entrance: str, cases: Iterable[Case]) -> list[tuple[str, Json]]:
    """The calls of these cases, as tool and arguments."""
    return [(case.tool, case.arguments(who, entrance)) for case in cases]
