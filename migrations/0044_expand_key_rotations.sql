-- That one key of the ledger follows another is a statement which both have signed; the sealer writes it where it is given
-- both. Without it a change of the key shows in the heads all the same, and nobody vouches for it.

SET LOCAL lock_timeout = '5s';

CREATE TABLE ledger_rotations (
    organization_id uuid NOT NULL,
    after_size bigint NOT NULL,
    from_key_id text NOT NULL,
    to_key_id text NOT NULL,
    to_public_key bytea NOT NULL CHECK (octet_length(to_public_key) = 32),
    rotated_at timestamptz NOT NULL,
    from_signature bytea NOT NULL,
    to_signature bytea NOT NULL,
    PRIMARY KEY (organization_id, after_size, to_key_id),
    FOREIGN KEY (organization_id, after_size) REFERENCES ledger_heads,
    FOREIGN KEY (organization_id, from_key_id) REFERENCES ledger_keys
);
COMMENT ON TABLE ledger_rotations IS 'Plumbing: heads above after_size may be signed by to_key_id, says the key of the head of '
    'that size, and the new key with it.';

CALL glow.isolate('ledger_rotations');
CREATE POLICY visible ON ledger_rotations AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) IS NOT NULL);
CREATE POLICY service ON ledger_rotations TO glow_service USING (true) WITH CHECK (true);
GRANT SELECT ON ledger_rotations TO glow_app;
GRANT SELECT, INSERT ON ledger_rotations TO glow_service;

-- Keys that were rotated away: a worker that still has one of them steps back, so that a rotation can go from machine to
-- machine without the two keys taking turns.
ALTER TABLE queue.sealing ADD COLUMN retired_keys text[] NOT NULL DEFAULT '{}';

-- Which key each worker signs with: two that differ, at once, are told of.
ALTER TABLE queue.workers ADD COLUMN ledger_key_id text;
GRANT UPDATE (ledger_key_id) ON queue.workers TO glow_service;
