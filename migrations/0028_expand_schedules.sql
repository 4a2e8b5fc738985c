-- Schedules: which task is run at which times. What only calls write stands apart from where each has come to.

SET LOCAL lock_timeout = '5s';

CREATE TABLE schedules (
    organization_id uuid NOT NULL REFERENCES organizations,
    schedule_id uuid NOT NULL,
    task_id uuid NOT NULL,
    cron text NOT NULL,
    time_zone text NOT NULL,
    input text NOT NULL DEFAULT '{}',
    paused boolean NOT NULL DEFAULT false,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, schedule_id),
    FOREIGN KEY (organization_id, task_id) REFERENCES tasks,
    FOREIGN KEY (organization_id, created_by) REFERENCES memberships
);
CREATE INDEX schedules_listed ON schedules (organization_id, created_at DESC, schedule_id DESC);

CREATE TABLE schedule_progress (
    organization_id uuid NOT NULL,
    schedule_id uuid NOT NULL,
    next_run_at timestamptz,
    last_due_at timestamptz,
    last_started_at timestamptz,
    last_missed integer,
    last_call_id uuid,
    PRIMARY KEY (organization_id, schedule_id),
    FOREIGN KEY (organization_id, schedule_id) REFERENCES schedules ON DELETE CASCADE
);
COMMENT ON TABLE schedule_progress IS 'No next_run_at: paused. Plumbing: the worker writes it without a ticket; what it starts is a call.';
CREATE INDEX schedule_progress_due ON schedule_progress (next_run_at) WHERE next_run_at IS NOT NULL;

-- What a schedule's call started is found by the call.
CREATE INDEX task_runs_call ON task_runs (organization_id, call_id);

CALL glow.isolate('schedules');
CALL glow.isolate('schedule_progress');

-- How the firm runs itself is no client's to see, and of a task that one may not see, neither is its schedule.
CREATE POLICY visible ON schedules AS RESTRICTIVE FOR SELECT TO glow_app
    USING (glow.role() <> 'CLIENT' AND EXISTS (
        SELECT FROM tasks t WHERE t.organization_id = schedules.organization_id AND t.task_id = schedules.task_id));
CREATE POLICY visible ON schedule_progress AS RESTRICTIVE FOR SELECT TO glow_app
    USING (EXISTS (SELECT FROM schedules s WHERE s.organization_id = schedule_progress.organization_id
                   AND s.schedule_id = schedule_progress.schedule_id));

GRANT SELECT, INSERT, DELETE ON schedules TO glow_app;
GRANT UPDATE (cron, time_zone, input, paused, updated_at) ON schedules TO glow_app;
GRANT SELECT, INSERT, UPDATE ON schedule_progress TO glow_app;

CALL glow.require_ticket('schedules');

-- The sweep finds what is due: ids and times, never contents.
CREATE POLICY service ON schedule_progress FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, schedule_id, next_run_at) ON schedule_progress TO glow_service;

-- Whoever may see a schedule is told how the call went that it last made, which is the service account's and would else be
-- told to those only who read the organization's record.
CREATE FUNCTION glow.scheduled_call(call uuid) RETURNS TABLE (outcome text, error_code text)
    LANGUAGE sql STABLE ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT CASE WHEN e.outcome = 'waiting' AND glow.question_lapsed(call) THEN 'expired' ELSE e.outcome END,
               e.error_code
        FROM activity_events e
        WHERE e.organization_id = glow.organization_id() AND e.call_id = call AND e.outcome IS NOT NULL
          AND EXISTS (SELECT FROM schedule_progress p
                      WHERE p.organization_id = e.organization_id AND p.last_call_id = call)
        ORDER BY e.outcome = 'waiting', e.occurred_at DESC, e.event_id DESC
        LIMIT 1;
    END;
REVOKE EXECUTE ON FUNCTION glow.scheduled_call FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.scheduled_call TO glow_app;
