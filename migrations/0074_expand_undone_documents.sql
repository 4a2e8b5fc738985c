-- What the agent has deleted or restored, or fetched from an address, is seen undone where a person restores or deletes it.

SET LOCAL lock_timeout = '5s';

-- The newest statement of glow.counts_for_autonomy. New: a restoring by hand.
-- Does an event end a call of the agent's that changes something, or a call by hand that may undo one?
CREATE OR REPLACE FUNCTION glow.counts_for_autonomy(e activity_events) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT (e).mode = 'agent' AND (e).effect IN ('prepare', 'commit')
                AND (e).kind IN ('tool.completed', 'tool.failed', 'tool.rejected')
            OR (e).mode = 'person' AND (e).kind = 'tool.completed'
                AND (e).tool IN ('task_update', 'task_run_cancel', 'document_delete', 'document_restore');
    END;

-- The newest statement of glow.autonomy_evidence. New: what more tools did something to.
-- What the ledger's next events say of the agent's calls, from one place to another. Of payloads only
-- what a call by hand named and what a call of the agent's made. The hub's own service account counts for the firm, and reads
-- no call of anybody's otherwise: hence not under the record's row security.
CREATE OR REPLACE FUNCTION glow.autonomy_evidence(after bigint, upto bigint)
    RETURNS TABLE (leaf_index bigint, kind text, call_id uuid, tool text, effect text, mode text, occurred_at timestamptz,
        principal_id uuid, asked boolean, decided_by uuid, stands_in boolean, arguments text, result text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT l.leaf_index, e.kind, e.call_id, e.tool, e.effect, e.mode, e.occurred_at, e.principal_id,
            e.approval_id IS NOT NULL, d.principal_id,
            coalesce(d.stands_in, false),
            CASE WHEN e.mode = 'person' THEN (
                SELECT p.arguments FROM activity_events t
                JOIN activity_payloads p ON p.organization_id = t.organization_id AND p.event_id = t.event_id
                WHERE t.organization_id = e.organization_id AND t.call_id = e.call_id AND t.kind = 'tool.allowed') END,
            CASE WHEN e.mode = 'agent' AND e.kind = 'tool.completed'
                    AND e.tool IN ('task_create', 'task_run', 'document_upload', 'document_from_url', 'document_restore',
                        'document_delete') THEN (
                SELECT p.result FROM activity_payloads p
                WHERE p.organization_id = e.organization_id AND p.event_id = e.event_id) END
        FROM ledger_leaves l
        JOIN activity_events e ON e.organization_id = l.organization_id AND e.event_id = l.event_id
        -- Who decided: the decision and the call's ticket, or its rejection, are of one transaction. A number that another
        -- cluster has come to again, in a restored database, is told apart by the hour.
        LEFT JOIN LATERAL (
            SELECT t.xact_id, t.recorded_at FROM activity_events t
            WHERE e.approval_id IS NOT NULL AND t.organization_id = e.organization_id AND t.call_id = e.call_id
              AND t.kind = 'tool.allowed'
        ) t ON true
        LEFT JOIN LATERAL (
            SELECT a.principal_id, (a.facts::jsonb ->> 'approval_deputy_own') = 'true'
                OR (a.facts::jsonb ->> 'approval_own') = 'true' AS stands_in
            FROM activity_events a
            WHERE e.approval_id IS NOT NULL AND a.organization_id = e.organization_id AND a.tool = 'approval_decide'
              AND a.kind = 'tool.allowed' AND a.xact_id = coalesce(t.xact_id, e.xact_id)
              AND abs(extract(epoch FROM a.recorded_at - coalesce(t.recorded_at, e.recorded_at))) <= 3600
            ORDER BY a.event_id DESC LIMIT 1
        ) d ON true
        WHERE l.organization_id = glow.organization_id() AND l.leaf_index >= after AND l.leaf_index < upto
          AND glow.counts_for_autonomy(e)
          AND (glow.role() = 'SERVICE_ACCOUNT' OR glow.reads_organization())
        ORDER BY l.leaf_index;
    END;

-- Calls that were counted before are seen undone too: what they did something to is filled in, and the ledger read from its
-- beginning again. What stands is counted once, and what was undone stays so.
UPDATE autonomy_calls c SET made = substring(p.result FROM '"document_id":"([0-9a-f-]{36})"')::uuid
    FROM activity_events e JOIN activity_payloads p ON p.organization_id = e.organization_id AND p.event_id = e.event_id
    WHERE c.tool IN ('document_from_url', 'document_restore', 'document_delete') AND c.made IS NULL
      AND e.organization_id = c.organization_id AND e.call_id = c.call_id AND e.kind = 'tool.completed';
UPDATE autonomy_progress SET through = 0;
