-- The ledger: the record sealed into an RFC 6962 Merkle tree an organization, in tables of its own. The calls' path is left
-- as it is: no trigger, no lock, no row of theirs touched.

SET LOCAL lock_timeout = '5s';

-- What a pass of the sealer reads are the newest transactions' events. New entries go to the index's right edge.
CREATE INDEX activity_events_sealing ON activity_events (xact_id);

-- No foreign key to the event: its check would lock, and so rewrite, every event's row; and an event that its owner removed
-- is to be missed, not to take its leaf along.
CREATE TABLE ledger_leaves (
    organization_id uuid NOT NULL,
    leaf_index bigint NOT NULL CHECK (leaf_index >= 0),
    event_id uuid NOT NULL,
    leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
    chain bytea NOT NULL CHECK (octet_length(chain) = 32),
    PRIMARY KEY (organization_id, leaf_index),
    UNIQUE (organization_id, event_id)
);
COMMENT ON TABLE ledger_leaves IS 'Plumbing: written by the sealer alone.';
COMMENT ON COLUMN ledger_leaves.chain IS 'SHA-256 of 0x02, the chain before (32 zero bytes at first) and leaf_hash: names the '
    'first row that differs, where a root says only that one does.';

CREATE TABLE ledger_nodes (
    organization_id uuid NOT NULL,
    level smallint NOT NULL CHECK (level > 0),
    node_index bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (organization_id, level, node_index)
);
COMMENT ON TABLE ledger_nodes IS 'Plumbing: the perfect subtrees above the leaves, each once it is complete.';

CREATE TABLE ledger_keys (
    organization_id uuid NOT NULL REFERENCES organizations,
    key_id text NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    from_size bigint NOT NULL,
    introduced_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, key_id)
);
COMMENT ON TABLE ledger_keys IS 'Plumbing: which keys have signed heads, and the size of the first head of each.';

CREATE TABLE ledger_heads (
    organization_id uuid NOT NULL,
    size bigint NOT NULL CHECK (size > 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    chain bytea NOT NULL CHECK (octet_length(chain) = 32),
    sealed_at timestamptz NOT NULL,
    key_id text NOT NULL,
    signature bytea NOT NULL,
    PRIMARY KEY (organization_id, size),
    FOREIGN KEY (organization_id, key_id) REFERENCES ledger_keys
);
COMMENT ON TABLE ledger_heads IS 'Plumbing: the signed statement that the first `size` events are those under `root`.';

CALL glow.isolate('ledger_leaves');
CALL glow.isolate('ledger_nodes');
CALL glow.isolate('ledger_keys');
CALL glow.isolate('ledger_heads');
CREATE POLICY visible ON ledger_leaves AS RESTRICTIVE FOR SELECT TO glow_app
    USING ((SELECT glow.reads_organization()) OR EXISTS (
        SELECT FROM activity_events e
        WHERE e.organization_id = ledger_leaves.organization_id AND e.event_id = ledger_leaves.event_id));
CREATE POLICY visible ON ledger_nodes AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) IS NOT NULL);
CREATE POLICY visible ON ledger_keys AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) IS NOT NULL);
CREATE POLICY visible ON ledger_heads AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) IS NOT NULL);

-- The sealer works for every organization. Nobody changes or removes what it wrote, itself included.
CREATE POLICY service ON ledger_leaves TO glow_service USING (true) WITH CHECK (true);
CREATE POLICY service ON ledger_nodes TO glow_service USING (true) WITH CHECK (true);
CREATE POLICY service ON ledger_keys TO glow_service USING (true) WITH CHECK (true);
CREATE POLICY service ON ledger_heads TO glow_service USING (true) WITH CHECK (true);
GRANT SELECT ON ledger_leaves, ledger_nodes, ledger_keys, ledger_heads TO glow_app;
GRANT SELECT, INSERT ON ledger_leaves, ledger_nodes, ledger_keys, ledger_heads TO glow_service;

-- An event as its leaf has it: canonical JSON (keys sorted, no spaces), with the digests of its payload and not the payload.
-- Moments, digests and 64-bit numbers are text, so that no reader rounds them. A change of it needs a new version.
CREATE FUNCTION glow.event_text(e activity_events) RETURNS text
    LANGUAGE plpgsql STABLE PARALLEL SAFE SET extra_float_digits = 1 AS $$
BEGIN
    RETURN row_to_json(v)::text FROM (SELECT
        e.approval_id,
        encode(e.arguments_digest, 'hex') AS arguments_digest,
        e.attended,
        e.call_id,
        e.conversation_id,
        e.cost_micros::text AS cost_micros,
        e.decision,
        e.door,
        e.duration_ms::text AS duration_ms,
        e.effect,
        e.engagement_id,
        e.error_code,
        e.error_reference,
        e.event_id,
        e.facts,
        e.kind,
        e.level,
        encode(e.manifest_digest, 'hex') AS manifest_digest,
        e.mode,
        to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS occurred_at,
        e.opens,
        e.organization_id,
        e.outcome,
        encode(e.policy_digest, 'hex') AS policy_digest,
        e.principal_id,
        e.principal_kind,
        e.reasons,
        to_char(e.recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS recorded_at,
        e.request_id,
        encode(e.result_digest, 'hex') AS result_digest,
        e.role,
        e.run_id,
        e.task_run_id,
        e.tool,
        e.trace_id,
        1 AS version,
        e.writes,
        e.xact_id::text AS xact_id) v;
END $$;

-- Where the sealer is. `sealed`: every event whose transaction this snapshot sees is sealed. While a pass is under way, the
-- snapshot it goes up to, and the last event of its last batch. Beside the queue, and like it of no organization.
CREATE TABLE queue.sealing (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    system_identifier bigint NOT NULL,
    sealed pg_snapshot,
    target pg_snapshot,
    at_xact xid8,
    at_recorded timestamptz,
    at_organization uuid,
    at_event uuid
);
COMMENT ON COLUMN queue.sealing.system_identifier IS 'Transactions are counted by each cluster for itself: in another one, '
    'restored from a dump, sealing begins anew with whatever has no leaf.';
GRANT SELECT, INSERT, UPDATE ON queue.sealing TO glow_service;

-- The next events to seal, as ids and leaves: the sealer sees no content. A snapshot does not see what it says was in
-- progress, and what came after: those are looked up by themselves, however long a transaction stays open elsewhere.
-- `sealed` NULL: none is known to be sealed.
CREATE FUNCTION glow.unsealed_events(sealed pg_snapshot, target pg_snapshot, at_xact xid8, at_recorded timestamptz,
        at_organization uuid, at_event uuid, most integer)
    RETURNS TABLE (organization_id uuid, event_id uuid, xact_id xid8, recorded_at timestamptz, leaf_hash bytea)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    begins xid8 := greatest(pg_snapshot_xmax(sealed), at_xact, '0'::xid8);
    late xid8[] := ARRAY(SELECT pg_snapshot_xip(sealed));
BEGIN
    RETURN QUERY
    WITH candidates AS (
        (SELECT e FROM activity_events e
         WHERE e.xact_id = ANY (late) AND pg_visible_in_snapshot(e.xact_id, target)
           AND (at_xact IS NULL
                OR (e.xact_id, e.recorded_at, e.organization_id, e.event_id) > (at_xact, at_recorded, at_organization, at_event))
           AND NOT EXISTS (SELECT FROM ledger_leaves l
                           WHERE l.organization_id = e.organization_id AND l.event_id = e.event_id)
         ORDER BY e.xact_id, e.recorded_at, e.organization_id, e.event_id LIMIT most)
        UNION ALL
        (SELECT e FROM activity_events e
         WHERE e.xact_id >= begins AND (sealed IS NULL OR pg_visible_in_snapshot(e.xact_id, target))
           AND (at_xact IS NULL
                OR (e.xact_id, e.recorded_at, e.organization_id, e.event_id) > (at_xact, at_recorded, at_organization, at_event))
           AND NOT EXISTS (SELECT FROM ledger_leaves l
                           WHERE l.organization_id = e.organization_id AND l.event_id = e.event_id)
         ORDER BY e.xact_id, e.recorded_at, e.organization_id, e.event_id LIMIT most)
    ), chosen AS (
        SELECT (c.e).organization_id, (c.e).event_id, (c.e).xact_id, (c.e).recorded_at, c.e
        FROM candidates c ORDER BY 3, 4, 1, 2 LIMIT most
    )
    SELECT c.organization_id, c.event_id, c.xact_id, c.recorded_at,
           sha256('\x00'::bytea || convert_to(glow.event_text(c.e), 'UTF8'))
    FROM chosen c ORDER BY 3, 4, 1, 2;
END $$;
REVOKE EXECUTE ON FUNCTION glow.unsealed_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.unsealed_events TO glow_service;
