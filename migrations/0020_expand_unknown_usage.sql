-- What a run used is told with how the run stands: of one that failed with its process, nobody knows all it used.

SET LOCAL lock_timeout = '5s';

-- The newest statement of glow.run_usage, whose result a replacement could not widen. New: `status`.
DROP FUNCTION glow.run_usage(timestamptz, timestamptz);
CREATE FUNCTION glow.run_usage(since timestamptz, until timestamptz)
    RETURNS TABLE (owner_id uuid, engagement_id uuid, agent text, model text, door text, created_at timestamptz, usage text,
        status text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT r.owner_id, c.engagement_id, r.agent, r.model, r.door, r.created_at, r.usage, r.status
        FROM runs r JOIN conversations c USING (organization_id, conversation_id)
        WHERE r.organization_id = glow.organization_id() AND r.created_at >= since AND r.created_at < until
          AND glow.role() IS NOT NULL
          AND (glow.reads_organization() OR r.owner_id = glow.principal_id());
    END;

REVOKE EXECUTE ON FUNCTION glow.run_usage FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.run_usage TO glow_app;
