-- Conversations, messages, runs and their events: plumbing, which no ticket guards; their owner alone reads them.

CREATE TABLE conversations (
    organization_id uuid NOT NULL REFERENCES organizations,
    conversation_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    title text NOT NULL,
    agent text NOT NULL,
    engagement_id uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, conversation_id),
    FOREIGN KEY (organization_id, owner_id) REFERENCES memberships,
    FOREIGN KEY (organization_id, engagement_id) REFERENCES engagements
);
CREATE INDEX conversations_listed ON conversations (organization_id, owner_id, updated_at DESC, conversation_id DESC);

CREATE TABLE runs (
    organization_id uuid NOT NULL,
    run_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    agent text NOT NULL,
    model text NOT NULL,
    door text NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'completed', 'waiting', 'failed', 'cancelled')),
    cancel_requested boolean NOT NULL DEFAULT false,
    heartbeat_at timestamptz NOT NULL,
    error text,
    usage text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (organization_id, run_id),
    FOREIGN KEY (organization_id, conversation_id) REFERENCES conversations ON DELETE CASCADE
);
-- One run a conversation at a time, whichever replica was asked.
CREATE UNIQUE INDEX runs_one_running ON runs (organization_id, conversation_id) WHERE status = 'running';
CREATE INDEX runs_alive ON runs (heartbeat_at) WHERE status = 'running';
CREATE INDEX runs_conversation ON runs (organization_id, conversation_id, created_at);

CREATE TABLE messages (
    organization_id uuid NOT NULL,
    message_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    run_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'tool')),
    content text NOT NULL,
    client_message_id text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, message_id),
    UNIQUE (organization_id, conversation_id, ordinal),
    FOREIGN KEY (organization_id, conversation_id) REFERENCES conversations ON DELETE CASCADE,
    FOREIGN KEY (organization_id, run_id) REFERENCES runs ON DELETE CASCADE
);
CREATE UNIQUE INDEX messages_client_message ON messages (organization_id, conversation_id, client_message_id)
    WHERE client_message_id IS NOT NULL;

-- Frames are text: jsonb reorders keys and refuses \u0000, and what was sent once is sent the same again.
CREATE TABLE run_events (
    organization_id uuid NOT NULL,
    run_id uuid NOT NULL,
    sequence bigint NOT NULL,
    type text NOT NULL,
    data text NOT NULL,
    PRIMARY KEY (organization_id, run_id, sequence),
    FOREIGN KEY (organization_id, run_id) REFERENCES runs ON DELETE CASCADE
);

CALL glow.isolate('conversations');
CALL glow.isolate('runs');
CALL glow.isolate('messages');
CALL glow.isolate('run_events');

CREATE POLICY visible ON conversations AS RESTRICTIVE TO glow_app USING (owner_id = (SELECT glow.principal_id()));
-- A run belongs to a conversation of its own owner: a foreign key alone would take another's, which it sees past RLS.
CREATE POLICY visible ON runs AS RESTRICTIVE TO glow_app USING (owner_id = (SELECT glow.principal_id()))
    WITH CHECK (owner_id = (SELECT glow.principal_id()) AND EXISTS (
        SELECT FROM conversations c WHERE c.organization_id = runs.organization_id
          AND c.conversation_id = runs.conversation_id));
CREATE POLICY visible ON messages AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM conversations c WHERE c.organization_id = messages.organization_id
                   AND c.conversation_id = messages.conversation_id));
CREATE POLICY visible ON run_events AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM runs r WHERE r.organization_id = run_events.organization_id
                   AND r.run_id = run_events.run_id));

GRANT SELECT, INSERT, UPDATE, DELETE ON conversations TO glow_app;
GRANT SELECT, INSERT, UPDATE ON runs TO glow_app;
GRANT SELECT, INSERT ON messages TO glow_app;
GRANT SELECT ON run_events TO glow_app;

CREATE POLICY recorder ON run_events FOR INSERT TO glow_recorder WITH CHECK (true);
GRANT INSERT ON run_events TO glow_recorder;

-- Heartbeats of a process's runs, and the end of those whose process is gone, cross organizations.
CREATE POLICY service ON runs TO glow_service USING (true) WITH CHECK (true);
GRANT SELECT (organization_id, run_id, conversation_id, owner_id, status, heartbeat_at, cancel_requested),
    UPDATE (status, heartbeat_at, error, finished_at) ON runs TO glow_service;
CREATE POLICY service ON run_events FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, run_id, sequence) ON run_events TO glow_service;
