-- Those who may decide a question are written to directly in Slack, each once when it is asked and once when it is reminded of:
-- which message shows which question to whom. Whom is written to is planned as rows of slack_events, beside one that says so.

SET LOCAL lock_timeout = '5s';

CREATE TABLE slack_direct_questions (
    organization_id uuid NOT NULL,
    approval_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    occasion text NOT NULL CHECK (occasion IN ('asked', 'reminded')),
    team_id text NOT NULL,
    channel_id text NOT NULL,
    message_ts text NOT NULL,
    settled_at timestamptz,
    lease_until timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, approval_id, principal_id, occasion),
    FOREIGN KEY (organization_id, approval_id) REFERENCES approvals,
    FOREIGN KEY (organization_id, team_id) REFERENCES slack_teams,
    FOREIGN KEY (organization_id, principal_id) REFERENCES memberships
);
COMMENT ON TABLE slack_direct_questions IS 'Plumbing: which direct message shows which question to whom who may decide it.';
CREATE INDEX slack_direct_questions_open ON slack_direct_questions (lease_until) WHERE settled_at IS NULL;

CALL glow.isolate('slack_direct_questions');
CREATE POLICY visible ON slack_direct_questions AS RESTRICTIVE TO glow_app
    USING (principal_id = (SELECT glow.principal_id()));
GRANT SELECT, INSERT ON slack_direct_questions TO glow_app;
GRANT UPDATE (settled_at) ON slack_direct_questions TO glow_app;

-- The service login finds what is to be told, and takes up what was settled: ids and states, never contents.
CREATE POLICY service ON slack_direct_questions TO glow_service USING (true) WITH CHECK (true);
GRANT SELECT (organization_id, approval_id, principal_id, occasion, team_id, channel_id, message_ts, settled_at, lease_until),
    UPDATE (lease_until) ON slack_direct_questions TO glow_service;
CREATE POLICY service ON slack_teams FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, team_id) ON slack_teams TO glow_service;
GRANT SELECT (created_at, reminded_at) ON approvals TO glow_service;
