-- A run that waits for people's answers is put down: nobody carries it, and its row says what it waits for.

SET LOCAL lock_timeout = '5s';

ALTER TABLE runs
    ADD COLUMN awaited uuid[],
    ADD CONSTRAINT runs_waiting_for_something CHECK (status <> 'waiting' OR cardinality(awaited) > 0) NOT VALID;
ALTER TABLE runs VALIDATE CONSTRAINT runs_waiting_for_something;
COMMENT ON COLUMN runs.awaited IS 'Approvals. Stays while the run goes on, until its next step is kept: a crash before '
    'that leaves it to be told again.';

-- One run a conversation at a time, carried or put down.
CREATE UNIQUE INDEX runs_one_going ON runs (organization_id, conversation_id) WHERE status IN ('running', 'waiting');
DROP INDEX runs_one_running;
CREATE INDEX runs_waiting ON runs (heartbeat_at) WHERE status = 'waiting';

GRANT SELECT (awaited) ON runs TO glow_service;
GRANT SELECT (type) ON run_events TO glow_service;
