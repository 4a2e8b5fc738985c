"""What parts an effect from its event, asked of the whole record; and how each such fault could come about."""

from typing import cast

from server.database.connection import Connection
from tests.support.firms import FIRM_A, FIRM_B

# Each gives rows only where an effect and its event part.
PARTED: dict[str, str] = {
    "a ticket without an end": """
        SELECT t.call_id FROM activity_events t WHERE t.kind = 'tool.allowed' AND NOT EXISTS (
            SELECT FROM activity_events e WHERE e.call_id = t.call_id
              AND e.kind IN ('tool.completed', 'tool.failed', 'tool.cancelled'))
    """,
    "a task that no completed call made": """
        SELECT t.task_id FROM tasks t WHERE t.title ~ '^(Ask for|Review)' AND NOT EXISTS (
            SELECT FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
            WHERE e.kind = 'tool.completed' AND e.tool = 'task_create'
              AND p.result::jsonb #>> '{task,task_id}' = t.task_id::text)
    """,
    "a completed call without its task": """
        SELECT e.call_id FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
        WHERE e.kind = 'tool.completed' AND e.tool = 'task_create' AND NOT EXISTS (
            SELECT FROM tasks t WHERE t.task_id::text = p.result::jsonb #>> '{task,task_id}')
    """,
    "a run that no completed call started": """
        SELECT r.task_run_id FROM task_runs r WHERE r.call_id <> r.task_run_id AND NOT EXISTS (
            SELECT FROM activity_events e WHERE e.call_id = r.call_id AND e.kind = 'tool.completed')
    """,
    "a completed call without its run": """
        SELECT e.call_id FROM activity_events e WHERE e.kind = 'tool.completed' AND e.tool = 'task_run' AND NOT EXISTS (
            SELECT FROM task_runs r WHERE r.call_id = e.call_id)
    """,
    "an approval whose state the record does not tell": """
        SELECT a.approval_id, a.state FROM approvals a
        JOIN LATERAL (SELECT array_agg(e.kind ORDER BY e.kind) AS kinds FROM activity_events e
                      WHERE e.call_id = a.call_id) k ON true
        WHERE a.approval_id <> a.call_id AND k.kinds IS DISTINCT FROM (CASE a.state
            WHEN 'pending' THEN '{tool.waiting}'
            WHEN 'rejected' THEN '{tool.rejected,tool.waiting}'
            WHEN 'executed' THEN '{tool.allowed,tool.completed,tool.waiting}' END)::text[]
    """,
    "a waiting call without its approval": """
        SELECT e.call_id FROM activity_events e WHERE e.kind = 'tool.waiting' AND NOT EXISTS (
            SELECT FROM approvals a WHERE a.call_id = e.call_id AND a.approval_id = e.approval_id)
    """,
    "a settled approval without the call that decided it": """
        SELECT a.approval_id FROM approvals a WHERE a.approval_id <> a.call_id AND a.state <> 'pending'
          AND 1 <> (SELECT count(*) FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
                    WHERE e.kind = 'tool.completed' AND e.tool = 'approval_decide'
                      AND p.result::jsonb #>> '{approval,id}' = a.approval_id::text)
    """,
    # Of documents xmin says, too, that effect and event came by the same transaction. The seed's have no digest.
    "a document that no completed call took in": """
        SELECT d.document_id FROM knowledge_documents d LEFT JOIN knowledge_files f USING (organization_id, document_id)
        WHERE d.content_sha256 <> '' AND NOT EXISTS (
            SELECT FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
            WHERE e.kind = 'tool.completed' AND e.tool = 'document_upload' AND f.xmin = e.xmin
              AND p.result::jsonb #>> '{document,document_id}' = d.document_id::text)
    """,
    "a completed upload without its document": """
        SELECT e.call_id FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
        WHERE e.kind = 'tool.completed' AND e.tool = 'document_upload' AND NOT EXISTS (
            SELECT FROM knowledge_documents d WHERE d.document_id::text = p.result::jsonb #>> '{document,document_id}')
    """,
    "passages that no completed call made": """
        SELECT c.chunk_id FROM knowledge_chunks c JOIN knowledge_documents d USING (organization_id, document_id)
        WHERE d.content_sha256 <> '' AND NOT EXISTS (
            SELECT FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
            WHERE e.kind = 'tool.completed' AND e.tool = 'document_index' AND c.xmin = e.xmin
              AND p.result::jsonb #>> '{document,document_id}' = d.document_id::text)
    """,
    "a completed indexing without its passages": """
        SELECT e.call_id FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
        WHERE e.kind = 'tool.completed' AND e.tool = 'document_index' AND NOT EXISTS (
            SELECT FROM knowledge_documents d WHERE d.document_id::text = p.result::jsonb #>> '{document,document_id}'
              AND (d.deleted_at IS NOT NULL OR d.status = 'ready' AND d.chunk_count = (
                  SELECT count(*) FROM knowledge_chunks c WHERE c.document_id = d.document_id)))
    """,
    "a deleted document that no completed call deleted": """
        SELECT d.document_id FROM knowledge_documents d WHERE d.deleted_at IS NOT NULL AND NOT EXISTS (
            SELECT FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
            WHERE e.kind = 'tool.completed' AND e.tool = 'document_delete' AND d.xmin = e.xmin
              AND p.result::jsonb ->> 'document_id' = d.document_id::text)
    """,
    "a completed deletion whose document is still there": """
        SELECT e.call_id FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
        JOIN knowledge_documents d ON d.document_id::text = p.result::jsonb ->> 'document_id'
        WHERE e.kind = 'tool.completed' AND e.tool = 'document_delete' AND (d.deleted_at IS NULL
            OR EXISTS (SELECT FROM knowledge_chunks c WHERE c.document_id = d.document_id))
    """,
}


_EVENT = """
INSERT INTO activity_events (organization_id, event_id, kind, opens, occurred_at, call_id, tool, door, principal_id,
    principal_kind, mode, attended, facts, approval_id)
SELECT organization_id, gen_random_uuid(), '{kind}', true, now(), gen_random_uuid(), '{tool}', 'rest', user_id,
    'person', 'person', true, '{{}}', gen_random_uuid()
FROM memberships WHERE role = 'EMPLOYEE' LIMIT 1
"""
_RESULT = """
INSERT INTO activity_payloads (organization_id, event_id, salt, result)
SELECT organization_id, event_id, '', '{{"of": "nothing"}}' FROM activity_events WHERE tool = '{tool}'
"""
_RESULT_OF_ONE = """
INSERT INTO activity_payloads (organization_id, event_id, salt, result)
SELECT e.organization_id, e.event_id, '',
       jsonb_build_object('document_id', d.document_id, 'document', jsonb_build_object('document_id', d.document_id))
FROM activity_events e JOIN knowledge_documents d USING (organization_id)
WHERE e.tool = '{tool}' AND d.audience = 'firm'
"""
_APPROVAL = """
INSERT INTO approvals SELECT (jsonb_populate_record(a, jsonb_build_object('approval_id', gen_random_uuid(),
    'call_id', gen_random_uuid(), 'state', '{state}'))).* FROM approvals a LIMIT 1
"""
_TAKEN_IN = "UPDATE knowledge_documents SET content_sha256 = 'digest' WHERE audience = 'firm'"


def _completed(tool: str, result: str) -> tuple[str, str]:
    """A completed call with a result, in transactions of their own."""
    return _EVENT.format(kind="tool.completed", tool=tool), result.format(tool=tool)


# How each could come about, were a transaction cut in two.
PLANTED: dict[str, tuple[str, ...]] = {
    "a ticket without an end": (_EVENT.format(kind="tool.allowed", tool="task_list"),),
    "a task that no completed call made": ("UPDATE tasks SET title = 'Ask for the bank letter'",),
    "a completed call without its task": _completed("task_create", _RESULT),
    "a run that no completed call started": ("UPDATE task_runs SET call_id = gen_random_uuid()",),
    "a completed call without its run": (_EVENT.format(kind="tool.completed", tool="task_run"),),
    "an approval whose state the record does not tell": (_APPROVAL.format(state="pending"),),
    "a waiting call without its approval": (_EVENT.format(kind="tool.waiting", tool="task_list"),),
    "a settled approval without the call that decided it": (_APPROVAL.format(state="rejected"),),
    "a document that no completed call took in": (*_completed("document_upload", _RESULT_OF_ONE), _TAKEN_IN),
    "a completed upload without its document": _completed("document_upload", _RESULT),
    "passages that no completed call made": (*_completed("document_index", _RESULT_OF_ONE), _TAKEN_IN),
    "a completed indexing without its passages": (
        *_completed("document_index", _RESULT_OF_ONE),
        "DELETE FROM knowledge_chunks",
    ),
    "a deleted document that no completed call deleted": (
        *_completed("document_delete", _RESULT_OF_ONE),
        "UPDATE knowledge_documents SET deleted_at = now(), purge_at = now() WHERE audience = 'firm'",
    ),
    "a completed deletion whose document is still there": _completed("document_delete", _RESULT_OF_ONE),
}


async def assert_nothing_parted(inspector: Connection, when: str) -> None:
    """Every effect has its event, and every event its effect."""
    for fault, query in PARTED.items():
        assert not [dict(row) for row in await inspector.fetch(query)], f"{when}: {fault}"


async def calls_of(inspector: Connection, tool: str) -> int:
    """How many calls of a tool the record has, however they ended, but for the seeded ones."""
    query = "SELECT count(DISTINCT call_id) FROM activity_events WHERE tool = $1 AND call_id <> ALL ($2)"
    return cast(int, await inspector.fetchval(query, tool, [firm.id("thing") for firm in (FIRM_A, FIRM_B)]))
