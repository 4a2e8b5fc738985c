-- A question that nobody answers in time is written down as expired, and one whose run of a conversation was cancelled as
-- cancelled: by calls of the worker's door, which see no approval that only a higher role may answer. Hence not under the
-- approvals' row security; the tickets of the table hold here as everywhere, since they look at the login.

SET LOCAL lock_timeout = '5s';

CREATE FUNCTION glow.expire_approval(approval uuid, at_time timestamptz) RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET state = 'expired', decided_at = at_time
        WHERE a.organization_id = glow.organization_id() AND a.approval_id = approval AND a.state = 'pending'
          AND a.expires_at <= at_time
        RETURNING a.*;
    END;

-- Only whoever began a run cancels it: hence the decision is the owner's.
CREATE FUNCTION glow.cancel_approvals_of_conversation(run uuid, why text, at_time timestamptz) RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a
        SET state = CASE WHEN a.expires_at <= at_time THEN 'expired' ELSE 'cancelled' END,
            decided_by = CASE WHEN a.expires_at > at_time THEN a.requested_by END,
            comment = CASE WHEN a.expires_at > at_time THEN why END,
            decided_at = at_time
        WHERE a.organization_id = glow.organization_id() AND a.run_id = run AND a.state = 'pending'
        RETURNING a.*;
    END;

REVOKE EXECUTE ON FUNCTION glow.expire_approval, glow.cancel_approvals_of_conversation FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.expire_approval, glow.cancel_approvals_of_conversation TO glow_app;

CREATE INDEX approvals_run ON approvals (organization_id, run_id) WHERE run_id IS NOT NULL;

-- The sweep knows by it which runs still wait for an answer.
GRANT SELECT (run_id) ON approvals TO glow_service;
