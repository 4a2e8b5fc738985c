-- What people say of answers. It is given to the firm: whoever gave it and those who read the organization's record see it.

SET LOCAL lock_timeout = '5s';

CREATE TABLE feedback (
    organization_id uuid NOT NULL,
    run_id uuid NOT NULL,
    given_by uuid NOT NULL,
    rating text NOT NULL CHECK (rating IN ('up', 'down')),
    comment text NOT NULL,
    given_at timestamptz NOT NULL,
    agent text NOT NULL,
    model text NOT NULL,
    engagement_id uuid,
    PRIMARY KEY (organization_id, run_id, given_by),
    FOREIGN KEY (organization_id, run_id) REFERENCES runs ON DELETE CASCADE,
    FOREIGN KEY (organization_id, given_by) REFERENCES memberships,
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements
);
CREATE INDEX feedback_listed ON feedback (organization_id, given_at DESC, run_id DESC);

CALL glow.isolate('feedback');
CREATE POLICY visible ON feedback AS RESTRICTIVE FOR SELECT TO glow_app
    USING ((SELECT glow.reads_organization()) OR given_by = (SELECT glow.principal_id()));
CREATE POLICY own_given ON feedback AS RESTRICTIVE FOR INSERT TO glow_app
    WITH CHECK (given_by = (SELECT glow.principal_id()));
CREATE POLICY own_changed ON feedback AS RESTRICTIVE FOR UPDATE TO glow_app
    USING (given_by = (SELECT glow.principal_id())) WITH CHECK (given_by = (SELECT glow.principal_id()));
CREATE POLICY own_removed ON feedback AS RESTRICTIVE FOR DELETE TO glow_app
    USING (given_by = (SELECT glow.principal_id()));
GRANT SELECT, INSERT, DELETE, UPDATE (rating, comment, given_at) ON feedback TO glow_app;

-- Feedback goes by a call, or with its conversation, which is plumbing and leaves no run behind.
CREATE FUNCTION glow.refuse_parted_feedback() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    refused uuid;
BEGIN
    IF session_user = 'glow_owner' THEN
        RETURN NULL;
    END IF;
    WITH parted AS MATERIALIZED (
        SELECT DISTINCT f.organization_id FROM changed f
        WHERE EXISTS (SELECT FROM runs r WHERE r.organization_id = f.organization_id AND r.run_id = f.run_id))
    SELECT p.organization_id INTO refused FROM parted p
    WHERE NOT glow.has_ticket(p.organization_id, TG_TABLE_NAME) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'no ticket for % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'GL001',
            HINT = 'Changes go through the gate, by a tool whose manifest declares this table.';
    END IF;
    RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION glow.refuse_parted_feedback FROM PUBLIC;

CREATE TRIGGER ticket_insert AFTER INSERT ON feedback REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_without_ticket();
CREATE TRIGGER ticket_update AFTER UPDATE ON feedback REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_without_ticket();
CREATE TRIGGER ticket_delete AFTER DELETE ON feedback REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION glow.refuse_parted_feedback();
