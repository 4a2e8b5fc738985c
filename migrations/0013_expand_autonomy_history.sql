-- Autonomy is set by a call: the organization's level and switch, a tool's ceiling, a member's range, each with who, when
-- and why. The table stays append-only; a member's range is in force where it always stood, in the membership.

ALTER TABLE autonomy_settings
    ADD COLUMN floor smallint CHECK (floor BETWEEN 0 AND 3),
    ADD COLUMN ceiling smallint CHECK (ceiling BETWEEN floor AND 3),
    DROP CONSTRAINT autonomy_settings_scope_check,
    ADD CONSTRAINT autonomy_settings_scope_check CHECK (scope IN ('organization', 'tool', 'member'));
COMMENT ON COLUMN autonomy_settings.subject IS 'Of a tool its name, of a member its user_id, of the organization empty.';
CREATE INDEX autonomy_settings_listed ON autonomy_settings (organization_id, changed_at DESC, setting_id DESC);

GRANT UPDATE (autonomy_floor, autonomy_ceiling) ON memberships TO glow_app;

-- Settings of an organization are changed one after another, so that none is made of what another has just replaced.
CREATE FUNCTION glow.lock_autonomy() RETURNS void LANGUAGE sql VOLATILE
    BEGIN ATOMIC
        SELECT pg_advisory_xact_lock(hashtextextended('glow.autonomy:' || glow.organization_id(), 0));
    END;
REVOKE EXECUTE ON FUNCTION glow.lock_autonomy FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.lock_autonomy TO glow_app;
