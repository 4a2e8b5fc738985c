-- The record: one row an event, whose columns are final; payloads beside it, so that a person's data can be erased
-- without touching a row that proofs rest on. And the second wall: no ticket, no write.

CREATE TABLE activity_events (
    organization_id uuid NOT NULL REFERENCES organizations,
    event_id uuid NOT NULL,
    xact_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    kind text NOT NULL CHECK (kind IN ('tool.allowed', 'tool.completed', 'tool.failed', 'tool.cancelled', 'tool.denied',
        'tool.invalid', 'tool.waiting', 'tool.previewed', 'tool.rejected', 'tool.expired')),
    opens boolean NOT NULL,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    call_id uuid NOT NULL,
    tool text NOT NULL,
    effect text CHECK (effect IN ('read', 'prepare', 'commit', 'irreversible')),
    writes text[] NOT NULL DEFAULT '{}',
    door text NOT NULL CHECK (door IN ('chat', 'mcp', 'slack', 'rest', 'widget', 'cli', 'worker')),
    principal_id uuid NOT NULL,
    principal_kind text NOT NULL CHECK (principal_kind IN ('person', 'service_account')),
    role text,
    mode text NOT NULL CHECK (mode IN ('person', 'agent')),
    attended boolean NOT NULL,
    level smallint CHECK (level BETWEEN 0 AND 3),
    engagement_id uuid,
    facts text NOT NULL,
    decision text CHECK (decision IN ('allow', 'deny', 'needs_approval')),
    reasons text[] NOT NULL DEFAULT '{}',
    approval_id uuid,
    manifest_digest bytea,
    policy_digest bytea,
    arguments_digest bytea,
    result_digest bytea,
    outcome text CHECK (outcome IN ('done', 'denied', 'invalid', 'waiting', 'failed', 'cancelled', 'expired',
        'rejected', 'dry_run')),
    error_code text,
    error_reference text,
    duration_ms double precision,
    cost_micros bigint,
    conversation_id uuid,
    run_id uuid,
    task_run_id uuid,
    request_id text,
    trace_id text,
    PRIMARY KEY (organization_id, event_id)
);
COMMENT ON COLUMN activity_events.opens IS 'True for the first event of a call: what a list of calls is paged over.';
COMMENT ON COLUMN activity_events.facts IS 'What policy saw, as canonical JSON text (sorted keys, no spaces).';
COMMENT ON COLUMN activity_events.arguments_digest IS 'SHA-256 of the payload''s salt and the arguments'' canonical JSON.';

-- The ticket is looked up by every writing statement.
CREATE INDEX activity_events_ticket ON activity_events (organization_id, xact_id)
    WHERE kind IN ('tool.allowed', 'tool.waiting');
-- One ticket a call: two processes that take up the same call cannot both do its work.
CREATE UNIQUE INDEX activity_events_one_ticket ON activity_events (organization_id, call_id) WHERE kind = 'tool.allowed';
-- And one record: whoever makes it again is recorded as a call of its own.
CREATE UNIQUE INDEX activity_events_one_opening ON activity_events (organization_id, call_id) WHERE opens;
CREATE INDEX activity_events_call ON activity_events (organization_id, call_id, occurred_at);
CREATE INDEX activity_events_listed ON activity_events (organization_id, occurred_at DESC, event_id DESC) WHERE opens;
CREATE INDEX activity_events_principal ON activity_events
    (organization_id, principal_id, occurred_at DESC, event_id DESC) WHERE opens;
CREATE INDEX activity_events_conversation ON activity_events (organization_id, conversation_id)
    WHERE conversation_id IS NOT NULL;
CREATE INDEX activity_events_task_run ON activity_events (organization_id, task_run_id) WHERE task_run_id IS NOT NULL;

CREATE TABLE activity_payloads (
    organization_id uuid NOT NULL,
    event_id uuid NOT NULL,
    salt bytea NOT NULL,
    arguments text,
    result text,
    PRIMARY KEY (organization_id, event_id),
    FOREIGN KEY (organization_id, event_id) REFERENCES activity_events
);

CALL glow.isolate('activity_events');
CALL glow.isolate('activity_payloads');
CREATE POLICY visible ON activity_events AS RESTRICTIVE FOR SELECT TO glow_app
    USING ((SELECT glow.reads_organization()) OR principal_id = (SELECT glow.principal_id()));
CREATE POLICY visible ON activity_payloads AS RESTRICTIVE FOR SELECT TO glow_app
    USING (EXISTS (SELECT FROM activity_events e
                   WHERE e.organization_id = activity_payloads.organization_id AND e.event_id = activity_payloads.event_id));

-- Nobody updates or deletes an event. xact_id and recorded_at are the database's own word: no INSERT on them.
GRANT SELECT ON activity_events, activity_payloads TO glow_app;
GRANT INSERT (organization_id, event_id, kind, opens, occurred_at, call_id, tool, effect, writes, door, principal_id,
    principal_kind, role, mode, attended, level, engagement_id, facts, decision, reasons, approval_id, manifest_digest,
    policy_digest, arguments_digest, result_digest, outcome, error_code, error_reference, duration_ms, cost_micros,
    conversation_id, run_id, task_run_id, request_id, trace_id) ON activity_events TO glow_app, glow_recorder;
GRANT INSERT ON activity_payloads TO glow_app, glow_recorder;
-- The recorder writes for any organization and reads nothing.
CREATE POLICY recorder ON activity_events FOR INSERT TO glow_recorder WITH CHECK (true);
CREATE POLICY recorder ON activity_payloads FOR INSERT TO glow_recorder WITH CHECK (true);

-- Is there, in this very transaction, an allowed and writing ticket of this organization that declares the table?
CREATE FUNCTION glow.has_ticket(wanted_organization uuid, wanted_table text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (
            SELECT FROM activity_events e
            WHERE e.organization_id = wanted_organization AND e.xact_id = pg_current_xact_id()
              AND e.kind = 'tool.allowed' AND e.effect <> 'read' AND wanted_table = ANY (e.writes));
    END;
REVOKE EXECUTE ON FUNCTION glow.has_ticket FROM PUBLIC;

-- Statement level with transition tables: it costs nothing measurable on bulk writes. session_user, so that cascades
-- and SECURITY DEFINER functions are covered; only the owner, who migrates, needs no ticket.
CREATE FUNCTION glow.refuse_without_ticket() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    refused uuid;
BEGIN
    IF session_user = 'glow_owner' THEN
        RETURN NULL;
    END IF;
    -- MATERIALIZED: else the planner asks for the ticket once a row instead of once a statement.
    WITH touched AS MATERIALIZED (SELECT DISTINCT organization_id FROM changed)
    SELECT t.organization_id INTO refused FROM touched t
    WHERE NOT glow.has_ticket(t.organization_id, TG_TABLE_NAME) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'no ticket for % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'GL001',
            HINT = 'Changes go through the gate, by a tool whose manifest declares this table.';
    END IF;
    RETURN NULL;
END $$;

CREATE PROCEDURE glow.require_ticket(target regclass) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER ticket_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS changed '
        'FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_without_ticket()', target);
    EXECUTE format('CREATE TRIGGER ticket_update AFTER UPDATE ON %s REFERENCING NEW TABLE AS changed '
        'FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_without_ticket()', target);
    EXECUTE format('CREATE TRIGGER ticket_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS changed '
        'FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_without_ticket()', target);
END $$;

CALL glow.require_ticket('organizations');
CALL glow.require_ticket('memberships');
CALL glow.require_ticket('engagements');
CALL glow.require_ticket('engagement_members');
