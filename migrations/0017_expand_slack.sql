-- Slack: which workspace belongs to which organization and who answers where in it, which are settings and change by
-- tools only; and the door's plumbing: events taken in, which thread is which conversation, which question stands where.

CREATE TABLE slack_teams (
    organization_id uuid NOT NULL REFERENCES organizations,
    team_id text NOT NULL CHECK (team_id ~ '^[TE][A-Z0-9]{1,30}$'),
    name text NOT NULL,
    bot_user_id text NOT NULL,
    connected_by uuid NOT NULL,
    connected_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, team_id),
    FOREIGN KEY (organization_id, connected_by) REFERENCES memberships
);
-- Across organizations, on purpose: whose workspace it is must have one answer.
CREATE UNIQUE INDEX slack_teams_one_organization ON slack_teams (team_id);

CREATE TABLE slack_channels (
    organization_id uuid NOT NULL,
    team_id text NOT NULL,
    channel_id text NOT NULL CHECK (channel_id ~ '^[CGD][A-Z0-9]{1,30}$'),
    agent text NOT NULL,
    engagement_id uuid,
    set_by uuid NOT NULL,
    set_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, team_id, channel_id),
    FOREIGN KEY (organization_id, team_id) REFERENCES slack_teams,
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements,
    FOREIGN KEY (organization_id, set_by) REFERENCES memberships
);

-- What Slack delivered, kept before it is acknowledged. Whoever holds the lease works on it; `attempts` fences off a
-- holder that was taken for dead. `posted`: the messages of ours that show its answer so far. The payload goes when the
-- work is done; the row stays a while, so that a late second delivery is known for one.
CREATE TABLE slack_events (
    organization_id uuid NOT NULL,
    team_id text NOT NULL,
    event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
    payload text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    posted text[] NOT NULL DEFAULT '{}',
    outcome text,
    done_at timestamptz,
    PRIMARY KEY (organization_id, team_id, event_id),
    FOREIGN KEY (organization_id, team_id) REFERENCES slack_teams
);
CREATE INDEX slack_events_due ON slack_events (lease_until) WHERE done_at IS NULL;
CREATE INDEX slack_events_done ON slack_events (done_at) WHERE done_at IS NOT NULL;

-- Each person has a conversation of their own in a thread.
CREATE TABLE slack_threads (
    organization_id uuid NOT NULL,
    team_id text NOT NULL,
    channel_id text NOT NULL,
    thread_ts text NOT NULL,
    principal_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    PRIMARY KEY (organization_id, team_id, channel_id, thread_ts, principal_id),
    FOREIGN KEY (organization_id, team_id) REFERENCES slack_teams,
    FOREIGN KEY (organization_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
CREATE INDEX slack_threads_conversation ON slack_threads (organization_id, conversation_id);

CREATE TABLE slack_approvals (
    organization_id uuid NOT NULL,
    approval_id uuid NOT NULL,
    team_id text NOT NULL,
    channel_id text NOT NULL,
    message_ts text NOT NULL,
    principal_id uuid NOT NULL,
    settled_at timestamptz,
    lease_until timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, approval_id),
    FOREIGN KEY (organization_id, approval_id) REFERENCES approvals,
    FOREIGN KEY (organization_id, team_id) REFERENCES slack_teams
);
CREATE INDEX slack_approvals_open ON slack_approvals (lease_until) WHERE settled_at IS NULL;

CALL glow.isolate('slack_teams');
CALL glow.isolate('slack_channels');
CALL glow.isolate('slack_events');
CALL glow.isolate('slack_threads');
CALL glow.isolate('slack_approvals');

-- What people wrote is nobody's to read but the door's, which stands in the organization without a principal.
CREATE POLICY visible ON slack_events AS RESTRICTIVE TO glow_app USING ((SELECT glow.principal_id()) IS NULL);
CREATE POLICY visible ON slack_threads AS RESTRICTIVE TO glow_app
    USING (principal_id = (SELECT glow.principal_id()));
CREATE POLICY visible ON slack_approvals AS RESTRICTIVE TO glow_app
    USING (principal_id = (SELECT glow.principal_id()));

GRANT SELECT, INSERT, UPDATE ON slack_teams, slack_channels TO glow_app;
GRANT SELECT, INSERT ON slack_events, slack_threads, slack_approvals TO glow_app;
GRANT UPDATE (payload, lease_until, posted, outcome, done_at) ON slack_events TO glow_app;
GRANT UPDATE (conversation_id) ON slack_threads TO glow_app;
GRANT UPDATE (settled_at) ON slack_approvals TO glow_app;

CALL glow.require_ticket('slack_teams');
CALL glow.require_ticket('slack_channels');

-- The service login finds what a crash left, takes it up and forgets what is old: ids and states, never contents.
CREATE POLICY service ON slack_events TO glow_service USING (true) WITH CHECK (true);
CREATE POLICY service ON slack_approvals TO glow_service USING (true) WITH CHECK (true);
CREATE POLICY service ON approvals FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, team_id, event_id, received_at, lease_until, attempts, done_at),
    UPDATE (lease_until, attempts), DELETE ON slack_events TO glow_service;
GRANT SELECT (organization_id, approval_id, team_id, channel_id, message_ts, principal_id, settled_at, lease_until),
    UPDATE (lease_until) ON slack_approvals TO glow_service;
GRANT SELECT (organization_id, approval_id, state, expires_at) ON approvals TO glow_service;

-- Whose workspace an event comes from, before any organization is known.
CREATE FUNCTION glow.resolve_slack_team(wanted_team text)
    RETURNS TABLE (organization_id uuid, bot_user_id text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT t.organization_id, t.bot_user_id FROM slack_teams t WHERE t.team_id = wanted_team;
    END;
REVOKE EXECUTE ON FUNCTION glow.resolve_slack_team FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.resolve_slack_team TO glow_app;
