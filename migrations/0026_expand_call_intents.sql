-- What a call is about to do outside: written with its ticket before anything is done, taken away with the event that says
-- how it ended. A row that stays was left by a crash, and is settled by asking the outside.

CREATE TABLE call_intents (
    organization_id uuid NOT NULL REFERENCES organizations,
    call_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    principal_kind text NOT NULL,
    mode text NOT NULL,
    door text NOT NULL,
    scheduled boolean NOT NULL,
    tool text NOT NULL,
    arguments text NOT NULL,
    approval_id uuid,
    conversation_id uuid,
    run_id uuid,
    task_run_id uuid,
    engagement_id uuid,
    agent_ceiling smallint NOT NULL CHECK (agent_ceiling BETWEEN 0 AND 3),
    begun_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, call_id),
    FOREIGN KEY (organization_id, principal_id) REFERENCES memberships
);
CREATE INDEX call_intents_left ON call_intents (begun_at);
COMMENT ON TABLE call_intents IS 'Plumbing: the ticket beside it is the record; written and taken away by the gate alone.';

CALL glow.isolate('call_intents');
-- The call is one's own, or the hub settles it for whoever made it.
CREATE POLICY visible ON call_intents AS RESTRICTIVE FOR SELECT TO glow_app
    USING (principal_id = (SELECT glow.principal_id()) OR (SELECT glow.role()) = 'SERVICE_ACCOUNT');
GRANT SELECT, INSERT, DELETE ON call_intents TO glow_app;
CREATE POLICY service ON call_intents FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, call_id, begun_at) ON call_intents TO glow_service;

-- An approved call that was under way outside has ended: its approval says so, by a call of the worker's that sees neither.
CREATE FUNCTION glow.finish_approval_of(call uuid) RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET state = CASE WHEN e.kind = 'tool.completed' THEN 'executed' ELSE 'failed' END
        FROM activity_events e
        WHERE a.organization_id = glow.organization_id() AND a.call_id = call AND a.state = 'executing'
          AND e.organization_id = a.organization_id AND e.call_id = a.call_id
          AND e.kind IN ('tool.completed', 'tool.failed')
        RETURNING a.*;
    END;
REVOKE EXECUTE ON FUNCTION glow.finish_approval_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.finish_approval_of TO glow_app;
GRANT SELECT (call_id, decided_at) ON approvals TO glow_service;
CREATE INDEX approvals_executing ON approvals (decided_at) WHERE state = 'executing';
