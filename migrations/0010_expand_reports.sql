-- What reports read: a run's usage by those who read the organization's record, and the days that reports are of.

CREATE INDEX runs_created ON runs (organization_id, created_at);

-- A run, like its conversation, is its owner's alone. Who answers for the organization's record answers for what its runs
-- cost as well, and is shown that and nothing of what was said; everybody else sees the usage of runs of their own.
CREATE FUNCTION glow.run_usage(since timestamptz, until timestamptz)
    RETURNS TABLE (owner_id uuid, engagement_id uuid, agent text, model text, door text, created_at timestamptz, usage text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT r.owner_id, c.engagement_id, r.agent, r.model, r.door, r.created_at, r.usage
        FROM runs r JOIN conversations c USING (organization_id, conversation_id)
        WHERE r.organization_id = glow.organization_id() AND r.created_at >= since AND r.created_at < until
          AND glow.role() IS NOT NULL
          AND (glow.reads_organization() OR r.owner_id = glow.principal_id());
    END;

REVOKE EXECUTE ON FUNCTION glow.run_usage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.run_usage TO glow_app;
