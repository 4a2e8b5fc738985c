-- A call whose question nobody answered in time is expired, whether or not anything has written that down yet.

SET LOCAL lock_timeout = '5s';

-- Whoever may read a call is told how it stands, also of a question that only a higher role may answer and see: hence
-- not under the approvals' row security.
CREATE FUNCTION glow.question_lapsed(call uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM approvals a
            WHERE a.organization_id = glow.organization_id() AND a.call_id = call
              AND (a.state = 'expired' OR a.state = 'pending' AND a.expires_at <= now()));
    END;

REVOKE EXECUTE ON FUNCTION glow.question_lapsed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.question_lapsed TO glow_app;
