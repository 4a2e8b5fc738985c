-- A deputy of whoever asked does not speak for somebody else: what they approve in the asker's stead earns nothing.
SET LOCAL lock_timeout = '5s';

DROP FUNCTION glow.autonomy_evidence;

-- What the ledger's next events say of the agent's calls, from one place to another. Of payloads only
-- what a call by hand named and what a call of the agent's made. The hub's own service account counts for the firm, and reads
-- no call of anybody's otherwise: hence not under the record's row security.
CREATE FUNCTION glow.autonomy_evidence(after bigint, upto bigint)
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
                    AND e.tool IN ('task_create', 'task_run', 'document_upload') THEN (
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
            SELECT a.principal_id, (a.facts::jsonb ->> 'approval_deputy_own') = 'true' AS stands_in
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

REVOKE EXECUTE ON FUNCTION glow.autonomy_evidence FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.autonomy_evidence TO glow_app;
