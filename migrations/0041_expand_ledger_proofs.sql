-- A proof that one's own call is in the ledger is made of hashes that stand for others' events too. A hash shows none of them.

SET LOCAL lock_timeout = '5s';

CREATE FUNCTION glow.ledger_hashes(levels smallint[], indexes bigint[])
    RETURNS TABLE (level smallint, node_index bigint, hash bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT w.level, w.node_index, coalesce(n.hash, l.leaf_hash)
        FROM unnest(levels, indexes) w (level, node_index)
        LEFT JOIN ledger_nodes n
            ON n.organization_id = glow.organization_id() AND n.level = w.level AND n.node_index = w.node_index
        LEFT JOIN ledger_leaves l
            ON w.level = 0 AND l.organization_id = glow.organization_id() AND l.leaf_index = w.node_index
        WHERE glow.role() IS NOT NULL;
    END;
REVOKE EXECUTE ON FUNCTION glow.ledger_hashes FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.ledger_hashes TO glow_app;
