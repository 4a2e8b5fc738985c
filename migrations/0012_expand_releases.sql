-- Sign-offs hold for what was signed, and for no later version of it; what was released is kept with what it rested on.

-- What a release control rests on in an engagement, one row a needed kind and subject. How a version is known to be the
-- newest: by the newest sign-off, of whatever kind and decision, that speaks of the subject; and where the subject is the
-- id of a document, by the document itself. `holds`: said of that very version. ADR-0022.
CREATE FUNCTION glow.release_standing(control text, for_engagement uuid)
    RETURNS TABLE (sign_off_id uuid, kind text, subject text, version text, decision text, holds boolean)
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        WITH said AS (
            SELECT s.sign_off_id, s.kind, s.subject, s.version, s.decision, s.signed_at FROM sign_offs s
            WHERE s.organization_id = glow.organization_id() AND s.engagement_id = for_engagement
        ), newest AS (
            SELECT DISTINCT ON (s.subject) s.subject, s.version FROM said s
            ORDER BY s.subject, s.signed_at DESC, s.sign_off_id DESC
        ), words AS (
            SELECT DISTINCT ON (s.kind, s.subject) s.sign_off_id, s.kind, s.subject, s.version, s.decision FROM said s
            WHERE s.kind IN (SELECT unnest(c.needs) FROM release_controls c
                WHERE c.organization_id = glow.organization_id() AND c.name = control)
            ORDER BY s.kind, s.subject, s.signed_at DESC, s.sign_off_id DESC
        )
        SELECT w.sign_off_id, w.kind, w.subject, w.version, w.decision,
               w.version = n.version AND NOT EXISTS (
                   SELECT FROM knowledge_documents d
                   WHERE d.organization_id = glow.organization_id() AND d.document_id::text = w.subject
                     AND (d.deleted_at IS NOT NULL OR d.version::text <> w.version))
        FROM words w JOIN newest n ON n.subject = w.subject;
    END;

-- A kind is there when somebody accepted, and everything that was signed by it is accepted in its newest version. One
-- rejection that holds asks for changes.
CREATE OR REPLACE FUNCTION glow.release_state(control text, for_engagement uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        WITH needed AS (
            SELECT DISTINCT unnest(c.needs) AS kind FROM release_controls c
            WHERE c.organization_id = glow.organization_id() AND c.name = control
        ), standing AS (
            SELECT s.kind, s.decision, s.holds FROM glow.release_standing(control, for_engagement) s
        ), kinds AS (
            SELECT n.kind, coalesce(bool_and(s.holds AND s.decision = 'accept'), false) AS there
            FROM needed n LEFT JOIN standing s ON s.kind = n.kind GROUP BY n.kind
        )
        SELECT jsonb_build_object(
            'state', CASE
                WHEN NOT EXISTS (SELECT FROM needed) THEN 'not_applicable'
                WHEN EXISTS (SELECT FROM standing WHERE holds AND decision = 'reject') THEN 'changes_required'
                WHEN EXISTS (SELECT FROM kinds WHERE NOT there) THEN 'pending'
                ELSE 'satisfied' END,
            'missing', coalesce((SELECT jsonb_agg(k.kind ORDER BY k.kind) FROM kinds k WHERE NOT k.there), '[]'));
    END;

-- Sign-offs and releases of an engagement come one after another: none is weighed while another changes what it rests on.
CREATE FUNCTION glow.lock_releases(for_engagement uuid) RETURNS void LANGUAGE sql VOLATILE
    BEGIN ATOMIC
        SELECT pg_advisory_xact_lock(hashtextextended('glow.releases:' || glow.organization_id() || ':' || for_engagement, 0));
    END;

-- Append-only: that something was released, on what evidence, and on which sign-offs it rested.
CREATE TABLE releases (
    organization_id uuid NOT NULL,
    release_id uuid NOT NULL,
    control text NOT NULL CHECK (control IN ('plan_freeze', 'period_lock', 'report_release', 'filings_submit')),
    engagement_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('satisfied', 'not_applicable')),
    evidence text NOT NULL,
    sign_off_ids uuid[] NOT NULL,
    call_id uuid NOT NULL,
    released_by uuid NOT NULL,
    approved_by uuid,
    released_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, release_id),
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements,
    FOREIGN KEY (organization_id, released_by) REFERENCES memberships,
    FOREIGN KEY (organization_id, approved_by) REFERENCES memberships
);
CREATE INDEX releases_listed ON releases (organization_id, engagement_id, released_at DESC, release_id DESC);
CALL glow.isolate('releases');
CREATE POLICY visible ON releases AS RESTRICTIVE FOR SELECT TO glow_app USING (glow.role() <> 'CLIENT');
-- What a firm asks of itself is no client's to read.
CREATE POLICY visible ON release_controls AS RESTRICTIVE FOR SELECT TO glow_app USING (glow.role() <> 'CLIENT');
GRANT SELECT, INSERT ON releases TO glow_app;
CALL glow.require_ticket('releases');

REVOKE EXECUTE ON FUNCTION glow.release_standing, glow.lock_releases FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.release_standing, glow.lock_releases TO glow_app;
