-- The ground: who exists, in which context a transaction stands, and the two walls every later table is put behind.
--
-- Runs as glow_owner, which is no superuser and obeys row level security: every table therefore carries a policy for
-- its owner, or a later backfill would change nothing and say nothing.

CREATE SCHEMA glow;
GRANT USAGE ON SCHEMA glow TO glow_app, glow_recorder, glow_service;
GRANT USAGE ON SCHEMA public TO glow_app, glow_recorder, glow_service;

-- The context of a transaction, set by glow.begin_call and glow.begin_session and nowhere else. After a transaction
-- current_setting() reads '' rather than NULL, hence nullif: without a context nothing is visible.

CREATE FUNCTION glow.organization_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('glow.organization_id', true), '')::uuid;

CREATE FUNCTION glow.principal_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('glow.principal_id', true), '')::uuid;

CREATE FUNCTION glow.role() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('glow.role', true), '');

CREATE FUNCTION glow.engagements() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('glow.engagements', true), '')::uuid[];

-- Height on the ladder of those who may decide an approval; whoever stands beside the ladder decides none.
CREATE FUNCTION glow.deciding_rank(role text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE role WHEN 'EMPLOYEE' THEN 1 WHEN 'MANAGER' THEN 2 WHEN 'PARTNER' THEN 3 WHEN 'SYSTEM_ADMIN' THEN 4
        ELSE 0 END;

-- MANAGER upward and EQR read the whole organization's record; everybody else reads their own calls.
CREATE FUNCTION glow.reads_organization() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(glow.role() IN ('MANAGER', 'PARTNER', 'SYSTEM_ADMIN', 'EQR'), false);

-- A CLIENT sees what is meant for clients, in its own engagements; nobody sees anything without a role.
CREATE FUNCTION glow.may_see(audience text, engagement_id uuid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE glow.role()
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY (glow.engagements()), false)
        ELSE glow.role() IS NOT NULL END;

-- First wall: row level security, forced, by organization; the owner is let through for migrations and for the
-- SECURITY DEFINER functions below.
CREATE PROCEDURE glow.isolate(target regclass, key text DEFAULT 'organization_id') LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY owner ON %s TO glow_owner USING (true) WITH CHECK (true)', target);
    EXECUTE format('CREATE POLICY isolation ON %s TO glow_app '
        'USING (%I = (SELECT glow.organization_id())) WITH CHECK (%I = (SELECT glow.organization_id()))',
        target, key, key);
END $$;

CREATE TABLE organizations (
    organization_id uuid PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL glow.isolate('organizations');

CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('person', 'service_account')),
    email text NOT NULL,
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE memberships (
    organization_id uuid NOT NULL REFERENCES organizations,
    user_id uuid NOT NULL REFERENCES users,
    role text NOT NULL CHECK (role IN ('READONLY', 'EMPLOYEE', 'MANAGER', 'PARTNER', 'SYSTEM_ADMIN',
                                       'CLIENT', 'SERVICE_ACCOUNT', 'EQR')),
    autonomy_floor smallint NOT NULL DEFAULT 0 CHECK (autonomy_floor BETWEEN 0 AND 3),
    autonomy_ceiling smallint NOT NULL DEFAULT 2 CHECK (autonomy_ceiling BETWEEN autonomy_floor AND 3),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);
CALL glow.isolate('memberships');

-- users has no organization of its own: a person may belong to several. It is seen through its memberships.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY owner ON users TO glow_owner USING (true) WITH CHECK (true);
CREATE POLICY isolation ON users FOR SELECT TO glow_app USING (EXISTS (
    SELECT FROM memberships m WHERE m.user_id = users.user_id));

CREATE TABLE engagements (
    organization_id uuid NOT NULL REFERENCES organizations,
    engagement_id uuid NOT NULL,
    name text NOT NULL,
    client_name text NOT NULL,
    kind text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, engagement_id)
);
CALL glow.isolate('engagements');

CREATE TABLE engagement_members (
    organization_id uuid NOT NULL,
    engagement_id uuid NOT NULL,
    user_id uuid NOT NULL,
    PRIMARY KEY (organization_id, engagement_id, user_id),
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements,
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships
);
CREATE INDEX engagement_members_user ON engagement_members (organization_id, user_id);
CALL glow.isolate('engagement_members');
CREATE POLICY visible ON engagements AS RESTRICTIVE FOR SELECT TO glow_app
    USING (glow.may_see('client', engagement_id));

GRANT SELECT ON organizations, users, memberships, engagements, engagement_members TO glow_app;

-- Look-ups that come before the organization is known: a short list, each SECURITY DEFINER, each by exact key.

CREATE FUNCTION glow.resolve_organization(wanted_slug text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT o.organization_id FROM organizations o WHERE o.slug = wanted_slug;
    END;

CREATE FUNCTION glow.resolve_user(wanted_email text)
    RETURNS TABLE (user_id uuid, kind text, display_name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT u.user_id, u.kind, u.display_name FROM users u WHERE lower(u.email) = lower(wanted_email);
    END;

-- The organizations a user belongs to; the door picks by claim, by header, or because there is only one.
CREATE FUNCTION glow.resolve_memberships(wanted_user uuid)
    RETURNS TABLE (organization_id uuid, slug text, role text, kind text, email text, display_name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT m.organization_id, o.slug, m.role, u.kind, u.email, u.display_name
        FROM memberships m JOIN organizations o USING (organization_id) JOIN users u USING (user_id)
        WHERE m.user_id = wanted_user
        ORDER BY o.slug LIMIT 100;
    END;

CREATE FUNCTION glow.resolve_service_account(wanted_organization uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT m.user_id FROM memberships m
        WHERE m.organization_id = wanted_organization AND m.role = 'SERVICE_ACCOUNT'
        ORDER BY m.user_id LIMIT 1;
    END;

REVOKE EXECUTE ON FUNCTION glow.resolve_organization, glow.resolve_user, glow.resolve_memberships,
    glow.resolve_service_account FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.resolve_organization, glow.resolve_user, glow.resolve_memberships,
    glow.resolve_service_account TO glow_app;
