-- Tasks and their runs; autonomy settings, release controls and sign-offs; approvals.

CREATE TABLE tasks (
    organization_id uuid NOT NULL REFERENCES organizations,
    task_id uuid NOT NULL,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    kind text,
    status text NOT NULL CHECK (status IN ('open', 'in_progress', 'done', 'cancelled')),
    audience text NOT NULL DEFAULT 'firm' CHECK (audience IN ('firm', 'client')),
    engagement_id uuid,
    assignee_id uuid,
    due_on date,
    input text NOT NULL DEFAULT '{}',
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, task_id),
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements,
    FOREIGN KEY (organization_id, assignee_id) REFERENCES memberships,
    FOREIGN KEY (organization_id, created_by) REFERENCES memberships
);
CREATE INDEX tasks_listed ON tasks (organization_id, created_at DESC, task_id DESC);

-- What only calls write. Status, steps and progress, which the worker moves, stand beside it.
CREATE TABLE task_runs (
    organization_id uuid NOT NULL,
    task_run_id uuid NOT NULL,
    task_id uuid NOT NULL,
    kind text NOT NULL,
    input text NOT NULL DEFAULT '{}',
    call_id uuid NOT NULL,
    requested_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, task_run_id),
    FOREIGN KEY (organization_id, task_id) REFERENCES tasks,
    FOREIGN KEY (organization_id, requested_by) REFERENCES memberships
);
CREATE INDEX task_runs_task ON task_runs (organization_id, task_id, created_at DESC);

CREATE TABLE task_run_progress (
    organization_id uuid NOT NULL,
    task_run_id uuid NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'waiting', 'completed', 'failed', 'cancelled')),
    progress double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    message text NOT NULL DEFAULT '',
    steps text NOT NULL DEFAULT '[]',
    failure text,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (organization_id, task_run_id),
    FOREIGN KEY (organization_id, task_run_id) REFERENCES task_runs
);
COMMENT ON TABLE task_run_progress IS 'No row: the run is queued. Plumbing: the worker writes it without a ticket.';

-- Append-only: the newest row of a scope and subject is in force, the older ones are its history.
CREATE TABLE autonomy_settings (
    organization_id uuid NOT NULL REFERENCES organizations,
    setting_id uuid NOT NULL,
    scope text NOT NULL CHECK (scope IN ('organization', 'tool')),
    subject text NOT NULL DEFAULT '',
    level smallint CHECK (level BETWEEN 0 AND 3),
    autopilot_disabled boolean NOT NULL DEFAULT false,
    changed_by uuid NOT NULL,
    changed_at timestamptz NOT NULL,
    reason text NOT NULL DEFAULT '',
    PRIMARY KEY (organization_id, setting_id),
    FOREIGN KEY (organization_id, changed_by) REFERENCES memberships
);
CREATE INDEX autonomy_settings_newest ON autonomy_settings
    (organization_id, scope, subject, changed_at DESC, setting_id DESC);

CREATE TABLE release_controls (
    organization_id uuid NOT NULL REFERENCES organizations,
    name text NOT NULL CHECK (name IN ('plan_freeze', 'period_lock', 'report_release', 'filings_submit')),
    needs text[] NOT NULL,
    PRIMARY KEY (organization_id, name)
);

CREATE TABLE sign_offs (
    organization_id uuid NOT NULL,
    sign_off_id uuid NOT NULL,
    engagement_id uuid NOT NULL,
    kind text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('accept', 'reject')),
    subject text NOT NULL,
    version text NOT NULL,
    comment text NOT NULL DEFAULT '',
    signed_by uuid NOT NULL,
    signed_role text NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, sign_off_id),
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements,
    FOREIGN KEY (organization_id, signed_by) REFERENCES memberships
);
CREATE INDEX sign_offs_newest ON sign_offs (organization_id, engagement_id, kind, subject, signed_at DESC);

CREATE TABLE approvals (
    organization_id uuid NOT NULL REFERENCES organizations,
    approval_id uuid NOT NULL,
    call_id uuid NOT NULL,
    tool text NOT NULL,
    manifest_digest bytea NOT NULL,
    policy_digest bytea NOT NULL,
    arguments text NOT NULL,
    arguments_digest bytea NOT NULL,
    reasons text[] NOT NULL,
    requested_by uuid NOT NULL,
    requested_kind text NOT NULL,
    requested_mode text NOT NULL,
    requested_door text NOT NULL,
    requested_scheduled boolean NOT NULL,
    agent_ceiling smallint NOT NULL CHECK (agent_ceiling BETWEEN 0 AND 3),
    engagement_id uuid,
    conversation_id uuid,
    run_id uuid,
    task_run_id uuid,
    needs_role text NOT NULL,
    four_eyes boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired', 'cancelled', 'executing',
        'executed', 'failed')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    decided_by uuid,
    decided_at timestamptz,
    comment text,
    PRIMARY KEY (organization_id, approval_id),
    UNIQUE (organization_id, call_id),
    FOREIGN KEY (organization_id, requested_by) REFERENCES memberships,
    FOREIGN KEY (organization_id, decided_by) REFERENCES memberships
);
CREATE INDEX approvals_listed ON approvals (organization_id, created_at DESC, approval_id DESC);
CREATE INDEX approvals_pending ON approvals (organization_id, requested_by, created_at DESC) WHERE state = 'pending';
CREATE INDEX approvals_conversation ON approvals (organization_id, conversation_id) WHERE conversation_id IS NOT NULL;
CREATE INDEX approvals_expiring ON approvals (expires_at) WHERE state = 'pending';

CALL glow.isolate('tasks');
CALL glow.isolate('task_runs');
CALL glow.isolate('task_run_progress');
CALL glow.isolate('autonomy_settings');
CALL glow.isolate('release_controls');
CALL glow.isolate('sign_offs');
CALL glow.isolate('approvals');

CREATE POLICY visible ON tasks AS RESTRICTIVE TO glow_app
    USING (glow.may_see(audience, engagement_id)) WITH CHECK (glow.may_see(audience, engagement_id));
CREATE POLICY visible ON task_runs AS RESTRICTIVE FOR SELECT TO glow_app
    USING (EXISTS (SELECT FROM tasks t WHERE t.organization_id = task_runs.organization_id
                   AND t.task_id = task_runs.task_id));
CREATE POLICY visible ON task_run_progress AS RESTRICTIVE FOR SELECT TO glow_app
    USING (EXISTS (SELECT FROM task_runs r WHERE r.organization_id = task_run_progress.organization_id
                   AND r.task_run_id = task_run_progress.task_run_id));
CREATE POLICY visible ON sign_offs AS RESTRICTIVE FOR SELECT TO glow_app USING (glow.role() <> 'CLIENT');
-- Those one asked for, or may decide.
CREATE POLICY visible ON approvals AS RESTRICTIVE FOR SELECT TO glow_app
    USING (requested_by = (SELECT glow.principal_id())
           OR (SELECT glow.deciding_rank(glow.role())) >= greatest(glow.deciding_rank(needs_role), 1));

GRANT SELECT, INSERT, UPDATE ON tasks TO glow_app;
GRANT SELECT, INSERT ON task_runs, autonomy_settings, sign_offs TO glow_app;
GRANT SELECT, INSERT, UPDATE ON task_run_progress TO glow_app;
GRANT SELECT, INSERT, UPDATE ON release_controls TO glow_app;
GRANT SELECT, INSERT ON approvals TO glow_app;
GRANT UPDATE (state, decided_by, decided_at, comment) ON approvals TO glow_app;

CALL glow.require_ticket('tasks');
CALL glow.require_ticket('task_runs');
CALL glow.require_ticket('autonomy_settings');
CALL glow.require_ticket('release_controls');
CALL glow.require_ticket('sign_offs');

-- A pending question is admitted by the waiting event of its own call, in the same transaction; whatever happens to it
-- afterwards is a writing call of its own and needs a ticket.
CREATE FUNCTION glow.refuse_unasked_approval() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF session_user = 'glow_owner' THEN
        RETURN NULL;
    END IF;
    IF EXISTS (
        SELECT FROM changed c WHERE c.state <> 'pending' OR NOT EXISTS (
            SELECT FROM public.activity_events e
            WHERE e.organization_id = c.organization_id AND e.xact_id = pg_current_xact_id()
              AND e.kind = 'tool.waiting' AND e.call_id = c.call_id AND e.approval_id = c.approval_id))
    THEN
        RAISE EXCEPTION 'no waiting call for INSERT on approvals' USING ERRCODE = 'GL001',
            HINT = 'An approval is asked for by the gate, together with the event of its call.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER asked_insert AFTER INSERT ON approvals REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_unasked_approval();
CREATE TRIGGER ticket_update AFTER UPDATE ON approvals REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_without_ticket();
CREATE TRIGGER ticket_delete AFTER DELETE ON approvals REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_without_ticket();

-- The service login finds what a crash left; ids and states, never contents.
CREATE POLICY service ON task_runs FOR SELECT TO glow_service USING (true);
CREATE POLICY service ON task_run_progress FOR SELECT TO glow_service USING (true);
CREATE POLICY service ON knowledge_documents FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, task_run_id, created_at) ON task_runs TO glow_service;
GRANT SELECT (organization_id, task_run_id, status, updated_at) ON task_run_progress TO glow_service;
GRANT SELECT (organization_id, document_id, status, uploaded_by, updated_at, deleted_at) ON knowledge_documents
    TO glow_service;
