-- Autonomy that is earned from the record: what became of the agent's calls, read out of the sealed ledger in its order, what
-- that comes to for each tool, and proposals to raise a tool's ceiling, which a PARTNER decides.

SET LOCAL lock_timeout = '5s';

-- One row a call of the agent's that ended: the evidence. It holds ids and moments, and nothing that a person said.
CREATE TABLE autonomy_calls (
    organization_id uuid NOT NULL REFERENCES organizations,
    call_id uuid NOT NULL,
    tool text NOT NULL,
    effect text NOT NULL CHECK (effect IN ('prepare', 'commit')),
    mark text NOT NULL CHECK (mark IN ('approved', 'own', 'unasked', 'rejected', 'failed')),
    ended_index bigint NOT NULL,
    ended_at timestamptz NOT NULL,
    made uuid,
    reversed_at timestamptz,
    reversed_by uuid,
    PRIMARY KEY (organization_id, call_id),
    CHECK ((reversed_at IS NULL) = (reversed_by IS NULL))
);
COMMENT ON COLUMN autonomy_calls.mark IS 'approved: by somebody else than who asked, and done; own: by who asked; unasked: done '
    'without a question.';
COMMENT ON COLUMN autonomy_calls.ended_index IS 'The place in the ledger of the event that ended the call.';
COMMENT ON COLUMN autonomy_calls.made IS 'What the call made, where a person can undo that; reversed_by: the call that did.';
CREATE INDEX autonomy_calls_newest ON autonomy_calls (organization_id, tool, ended_index DESC);
CREATE INDEX autonomy_calls_made ON autonomy_calls (organization_id, made) WHERE made IS NOT NULL;

CREATE TABLE autonomy_records (
    organization_id uuid NOT NULL REFERENCES organizations,
    tool text NOT NULL,
    effect text NOT NULL CHECK (effect IN ('prepare', 'commit')),
    approved integer NOT NULL,
    rejected integer NOT NULL,
    failed integer NOT NULL,
    reversed integer NOT NULL,
    bound double precision NOT NULL CHECK (bound BETWEEN 0 AND 1),
    PRIMARY KEY (organization_id, tool)
);
COMMENT ON COLUMN autonomy_records.bound IS 'Lower end of the Wilson score interval of approved among all four.';

-- How far the ledger has been read, and by which rules the records were counted: of exactly these events they are the sum.
CREATE TABLE autonomy_progress (
    organization_id uuid NOT NULL REFERENCES organizations,
    through bigint NOT NULL CHECK (through >= 0),
    rules text NOT NULL,
    reviewed_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id)
);
COMMENT ON COLUMN autonomy_progress.through IS 'The number of events read: the next is the one of this index.';

CREATE TABLE autonomy_proposals (
    organization_id uuid NOT NULL REFERENCES organizations,
    proposal_id uuid NOT NULL,
    tool text NOT NULL,
    from_level smallint NOT NULL CHECK (from_level BETWEEN 0 AND 3),
    to_level smallint NOT NULL CHECK (to_level BETWEEN 0 AND 3 AND to_level > from_level),
    evidence text NOT NULL,
    through bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'accepted', 'rejected', 'withdrawn')),
    proposed_by uuid NOT NULL,
    proposed_at timestamptz NOT NULL,
    decided_by uuid,
    decided_at timestamptz,
    comment text,
    PRIMARY KEY (organization_id, proposal_id),
    FOREIGN KEY (organization_id, proposed_by) REFERENCES memberships,
    FOREIGN KEY (organization_id, decided_by) REFERENCES memberships,
    CHECK ((state = 'open') = (decided_at IS NULL))
);
COMMENT ON COLUMN autonomy_proposals.evidence IS 'As it was when it was proposed, as JSON: counts, bound, rules, the calls.';
CREATE UNIQUE INDEX autonomy_proposals_one_open ON autonomy_proposals (organization_id, tool) WHERE state = 'open';
CREATE INDEX autonomy_proposals_listed ON autonomy_proposals (organization_id, proposed_at DESC, proposal_id DESC);

CALL glow.isolate('autonomy_calls');
CALL glow.isolate('autonomy_records');
CALL glow.isolate('autonomy_progress');
CALL glow.isolate('autonomy_proposals');
CREATE POLICY visible ON autonomy_calls AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) <> 'CLIENT');
CREATE POLICY visible ON autonomy_records AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) <> 'CLIENT');
CREATE POLICY visible ON autonomy_progress AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) <> 'CLIENT');
CREATE POLICY visible ON autonomy_proposals AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) <> 'CLIENT');
GRANT SELECT, INSERT, UPDATE (reversed_at, reversed_by) ON autonomy_calls TO glow_app;
GRANT SELECT, INSERT, UPDATE (effect, approved, rejected, failed, reversed, bound) ON autonomy_records TO glow_app;
GRANT SELECT, INSERT, UPDATE (through, rules, reviewed_at) ON autonomy_progress TO glow_app;
GRANT SELECT, INSERT, UPDATE (state, decided_by, decided_at, comment) ON autonomy_proposals TO glow_app;
CALL glow.require_ticket('autonomy_calls');
CALL glow.require_ticket('autonomy_records');
CALL glow.require_ticket('autonomy_progress');
CALL glow.require_ticket('autonomy_proposals');

-- The agent's newest calls of a tool are looked at whenever one of them goes wrong.
CREATE INDEX activity_events_agent_ended ON activity_events (organization_id, tool, occurred_at DESC, event_id DESC)
    WHERE mode = 'agent' AND effect IN ('prepare', 'commit') AND kind IN ('tool.completed', 'tool.failed', 'tool.rejected');

-- Does an event end a call of the agent's that changes something, or a call by hand that may undo one?
CREATE FUNCTION glow.counts_for_autonomy(e activity_events) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT (e).mode = 'agent' AND (e).effect IN ('prepare', 'commit')
                AND (e).kind IN ('tool.completed', 'tool.failed', 'tool.rejected')
            OR (e).mode = 'person' AND (e).kind = 'tool.completed'
                AND (e).tool IN ('task_update', 'task_run_cancel', 'document_delete');
    END;

-- What the ledger's next events say of the agent's calls, from one place to another. Of payloads only
-- what a call by hand named and what a call of the agent's made. The hub's own service account counts for the firm, and reads
-- no call of anybody's otherwise: hence not under the record's row security.
CREATE FUNCTION glow.autonomy_evidence(after bigint, upto bigint)
    RETURNS TABLE (leaf_index bigint, kind text, call_id uuid, tool text, effect text, mode text, occurred_at timestamptz,
        principal_id uuid, asked boolean, decided_by uuid, arguments text, result text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT l.leaf_index, e.kind, e.call_id, e.tool, e.effect, e.mode, e.occurred_at, e.principal_id,
            e.approval_id IS NOT NULL, d.principal_id,
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
            SELECT a.principal_id FROM activity_events a
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

-- How the agent's newest calls of a tool ended, sealed or not.
CREATE FUNCTION glow.autonomy_newest(of_tool text, since timestamptz, most integer)
    RETURNS TABLE (call_id uuid, effect text, kind text, occurred_at timestamptz, reversed_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT e.call_id, e.effect, e.kind, e.occurred_at, c.reversed_at
        FROM activity_events e
        LEFT JOIN autonomy_calls c ON c.organization_id = e.organization_id AND c.call_id = e.call_id
        WHERE e.organization_id = glow.organization_id() AND e.tool = of_tool AND e.mode = 'agent'
          AND e.effect IN ('prepare', 'commit') AND e.kind IN ('tool.completed', 'tool.failed', 'tool.rejected')
          AND (since IS NULL OR e.occurred_at > since)
          AND (glow.role() = 'SERVICE_ACCOUNT' OR glow.reads_organization())
        ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT most;
    END;

-- Organizations in whose ledger something counts that was not read yet; `seen`: up to where the asker has looked before.
CREATE FUNCTION glow.autonomy_due(organizations uuid[], seen bigint[])
    RETURNS TABLE (organization_id uuid, size bigint, due boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT o.organization_id, h.size, EXISTS (
            SELECT FROM ledger_leaves l
            JOIN activity_events e ON e.organization_id = l.organization_id AND e.event_id = l.event_id
            WHERE l.organization_id = o.organization_id AND l.leaf_index >= greatest(p.through, s.size, 0)
              AND l.leaf_index < h.size AND glow.counts_for_autonomy(e)
              AND (e.mode = 'person' OR e.approval_id IS NOT NULL OR e.kind <> 'tool.completed'))
        FROM organizations o
        CROSS JOIN LATERAL (
            SELECT a.size FROM ledger_heads a WHERE a.organization_id = o.organization_id ORDER BY a.size DESC LIMIT 1) h
        LEFT JOIN autonomy_progress p ON p.organization_id = o.organization_id
        LEFT JOIN unnest(organizations, seen) s (organization_id, size) ON s.organization_id = o.organization_id
        WHERE h.size > greatest(p.through, s.size, 0);
    END;

REVOKE EXECUTE ON FUNCTION glow.autonomy_evidence, glow.autonomy_newest, glow.autonomy_due FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.autonomy_evidence, glow.autonomy_newest TO glow_app;
GRANT EXECUTE ON FUNCTION glow.autonomy_due TO glow_service;
