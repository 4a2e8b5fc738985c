-- What a run has asked that has failed, nobody need answer any more, and nobody can. And a call that acts outside names the
-- manifest that it was allowed under: under another it is not made.

SET LOCAL lock_timeout = '5s';

-- How a run of a conversation, or of a task, has ended without what it asked for; null: it goes on, has come to its end, or
-- there is none. Whoever decides a question may not see the run that asked it: hence not under its row security.
CREATE FUNCTION glow.run_over(run uuid, task_run uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT status FROM (
            SELECT r.status FROM runs r WHERE r.organization_id = glow.organization_id() AND r.run_id = run
            UNION ALL
            SELECT p.status FROM task_run_progress p
            WHERE p.organization_id = glow.organization_id() AND p.task_run_id = task_run) ended
        WHERE status IN ('failed', 'cancelled') LIMIT 1;
    END;

-- Whether the steps of a task run that is over left questions, also those that only a higher role may answer and see.
CREATE FUNCTION glow.task_run_asked_in_vain(task_run uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT glow.run_over(NULL, task_run) IS NOT NULL AND EXISTS (
            SELECT FROM approvals a
            WHERE a.organization_id = glow.organization_id() AND a.task_run_id = task_run AND a.state = 'pending'
              AND a.expires_at > now());
    END;

-- New: of a run that has failed nobody has decided anything. A cancellation is still its owner's.
CREATE OR REPLACE FUNCTION glow.cancel_approvals_of_conversation(run uuid, why text, at_time timestamptz)
    RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a
        SET state = CASE WHEN a.expires_at <= at_time THEN 'expired' ELSE 'cancelled' END,
            decided_by = CASE WHEN a.expires_at > at_time AND glow.run_over(run, NULL) IS DISTINCT FROM 'failed'
                              THEN a.requested_by END,
            comment = CASE WHEN a.expires_at > at_time THEN why END,
            decided_at = at_time
        WHERE a.organization_id = glow.organization_id() AND a.run_id = run AND a.state = 'pending'
        RETURNING a.*;
    END;

-- The task run that a call is a step of, and the run of a conversation that made it: what waits for it is told that it
-- ended, by a call that need not see it.
CREATE FUNCTION glow.call_belongs_to(call uuid) RETURNS TABLE (run_id uuid, task_run_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT e.run_id, e.task_run_id FROM activity_events e
        WHERE e.organization_id = glow.organization_id() AND e.call_id = call AND e.opens;
    END;

REVOKE EXECUTE ON FUNCTION glow.run_over, glow.task_run_asked_in_vain, glow.call_belongs_to FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.run_over, glow.task_run_asked_in_vain, glow.call_belongs_to TO glow_app;

-- The sweep finds by it what a crash kept from being withdrawn.
GRANT SELECT (task_run_id) ON approvals TO glow_service;

ALTER TABLE call_intents ADD COLUMN manifest_digest bytea;
UPDATE call_intents i SET manifest_digest = e.manifest_digest FROM activity_events e
WHERE e.organization_id = i.organization_id AND e.call_id = i.call_id AND e.kind = 'tool.allowed';
COMMENT ON COLUMN call_intents.manifest_digest IS 'Null: written by a server that did not keep it; such a call is settled '
    'as it was.';
