-- Whom a token of an issuer stands for, organization by organization: what an issuer calls somebody says nothing of
-- firms, so each firm says for itself which of its members that is.

SET LOCAL lock_timeout = '5s';

CREATE TABLE identities (
    organization_id uuid NOT NULL,
    issuer text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 512),
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 512),
    user_id uuid NOT NULL,
    linked_by uuid NOT NULL,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, issuer, subject),
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships,
    FOREIGN KEY (organization_id, linked_by) REFERENCES memberships
);
-- A sign-in asks before any organization is known.
CREATE INDEX identities_resolved ON identities (issuer, subject);
CREATE INDEX identities_user ON identities (organization_id, user_id);
CALL glow.isolate('identities');
-- What somebody is called elsewhere is nobody's business but that of who may link it.
CREATE POLICY visible ON identities AS RESTRICTIVE FOR SELECT TO glow_app USING (glow.role() = 'SYSTEM_ADMIN');

GRANT SELECT, INSERT, DELETE ON identities TO glow_app;
CALL glow.require_ticket('identities');

-- The members that organizations take this identity for. A row comes from an organization's own link to its own member
-- and opens that organization alone.
CREATE FUNCTION glow.resolve_identity(wanted_issuer text, wanted_subject text)
    RETURNS TABLE (organization_id uuid, slug text, user_id uuid, role text, kind text, email text, display_name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT i.organization_id, o.slug, i.user_id, m.role, u.kind, u.email, u.display_name
        FROM identities i
            JOIN memberships m ON m.organization_id = i.organization_id AND m.user_id = i.user_id
            JOIN organizations o ON o.organization_id = i.organization_id
            JOIN users u ON u.user_id = i.user_id
        WHERE i.issuer = wanted_issuer AND i.subject = wanted_subject
        ORDER BY o.slug LIMIT 100;
    END;
REVOKE EXECUTE ON FUNCTION glow.resolve_identity FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.resolve_identity TO glow_app;
