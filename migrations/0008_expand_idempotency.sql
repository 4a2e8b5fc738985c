-- Idempotency keys: what a principal's request was answered under a key of its own, written in the very transaction of the
-- work. Plumbing (ADR-0011): a key causes no change, it keeps one from being made twice.

CREATE TABLE idempotency_keys (
    organization_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    mode text NOT NULL CHECK (mode IN ('person', 'agent')),
    route text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    part smallint NOT NULL,
    content_digest bytea NOT NULL,
    -- NULL only between the claim and the end of the transaction that took it.
    answer text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organization_id, principal_id, mode, route, key, part),
    FOREIGN KEY (organization_id, principal_id) REFERENCES memberships ON DELETE CASCADE
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (created_at);

CALL glow.isolate('idempotency_keys');
CREATE POLICY visible ON idempotency_keys AS RESTRICTIVE TO glow_app
    USING (principal_id = (SELECT glow.principal_id())) WITH CHECK (principal_id = (SELECT glow.principal_id()));
GRANT SELECT, INSERT, UPDATE (content_digest, answer, created_at) ON idempotency_keys TO glow_app;

-- The sweep crosses organizations, and may touch only what has expired; answers it cannot read.
CREATE POLICY service ON idempotency_keys TO glow_service USING (created_at <= now() - interval '24 hours');
GRANT SELECT (organization_id, principal_id, mode, route, key, part, created_at), DELETE ON idempotency_keys TO glow_service;

-- Takes a key for this transaction, or gives what it was taken for before: no row means taken. A transaction that holds it
-- without having ended is waited for, not longer than a second (55P03 then). A key of more than 24 hours is as good as none.
CREATE FUNCTION glow.claim_key(for_mode text, for_route text, for_key text, for_part smallint, for_digest bytea)
    RETURNS TABLE (kept_digest bytea, kept_answer text) LANGUAGE plpgsql AS $$
DECLARE
    patience text := current_setting('lock_timeout');
    taken boolean;
BEGIN
    PERFORM set_config('lock_timeout', '1s', true);
    INSERT INTO idempotency_keys AS k (organization_id, principal_id, mode, route, key, part, content_digest)
        VALUES (glow.organization_id(), glow.principal_id(), for_mode, for_route, for_key, for_part, for_digest)
        ON CONFLICT (organization_id, principal_id, mode, route, key, part) DO UPDATE
            SET content_digest = excluded.content_digest, answer = NULL, created_at = excluded.created_at
            WHERE k.created_at <= excluded.created_at - interval '24 hours'
        RETURNING true INTO taken;
    PERFORM set_config('lock_timeout', patience, true);
    IF taken IS NULL THEN
        RETURN QUERY SELECT k.content_digest, k.answer FROM idempotency_keys k
            WHERE k.organization_id = glow.organization_id() AND k.principal_id = glow.principal_id()
              AND k.mode = for_mode AND k.route = for_route AND k.key = for_key AND k.part = for_part;
    END IF;
END $$;

REVOKE EXECUTE ON FUNCTION glow.claim_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.claim_key TO glow_app;
