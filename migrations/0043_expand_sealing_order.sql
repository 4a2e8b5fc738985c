-- One transaction of very many events is sealed at the same cost an event as any other: each batch begins in the index
-- where the one before ended, within a transaction too. And a ticket of another cluster's transaction admits nothing.

SET LOCAL lock_timeout = '5s';

-- While it is built calls wait, as they did for the one that it takes the place of.
CREATE INDEX activity_events_in_order ON activity_events (xact_id, recorded_at, organization_id, event_id);
DROP INDEX activity_events_sealing;
ALTER INDEX activity_events_in_order RENAME TO activity_events_sealing;

CREATE OR REPLACE FUNCTION glow.unsealed_events(sealed pg_snapshot, target pg_snapshot, at_xact xid8, at_recorded timestamptz,
        at_organization uuid, at_event uuid, most integer)
    RETURNS TABLE (organization_id uuid, event_id uuid, xact_id xid8, recorded_at timestamptz, leaf_hash bytea)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    least_uuid uuid := '00000000-0000-0000-0000-000000000000';
    late xid8[] := ARRAY(SELECT pg_snapshot_xip(sealed));
    begins xid8 := greatest(pg_snapshot_xmax(sealed), at_xact, '0'::xid8);
    -- Of the transaction that the last batch ended in: after its last event. Of any other: from its beginning.
    goes_on boolean := coalesce(begins = at_xact, false);
    begins_recorded timestamptz := CASE WHEN goes_on THEN at_recorded ELSE '-infinity' END;
    begins_organization uuid := CASE WHEN goes_on THEN at_organization ELSE least_uuid END;
    begins_event uuid := CASE WHEN goes_on THEN at_event ELSE least_uuid END;
BEGIN
    RETURN QUERY
    WITH candidates AS (
        (SELECT f.e FROM unnest(late) w (xact)
         CROSS JOIN LATERAL (
             SELECT e FROM activity_events e
             WHERE e.xact_id = w.xact
               AND (e.recorded_at, e.organization_id, e.event_id)
                   > (CASE WHEN w.xact = at_xact THEN at_recorded ELSE '-infinity' END,
                      CASE WHEN w.xact = at_xact THEN at_organization ELSE least_uuid END,
                      CASE WHEN w.xact = at_xact THEN at_event ELSE least_uuid END)
               AND NOT EXISTS (SELECT FROM ledger_leaves l
                               WHERE l.organization_id = e.organization_id AND l.event_id = e.event_id)
             ORDER BY e.recorded_at, e.organization_id, e.event_id LIMIT most) f
         WHERE pg_visible_in_snapshot(w.xact, target) AND (at_xact IS NULL OR w.xact >= at_xact)
         ORDER BY (f.e).xact_id, (f.e).recorded_at, (f.e).organization_id, (f.e).event_id LIMIT most)
        UNION ALL
        (SELECT e FROM activity_events e
         WHERE (e.xact_id, e.recorded_at, e.organization_id, e.event_id)
               > (begins, begins_recorded, begins_organization, begins_event)
           AND (sealed IS NULL OR pg_visible_in_snapshot(e.xact_id, target))
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

-- A dump keeps each event's transaction number, and the cluster that it is restored into comes to that number again. An
-- event of this very transaction cannot be older than the transaction; the minute is for a clock that is set back.
CREATE OR REPLACE FUNCTION glow.has_ticket(wanted_organization uuid, wanted_table text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (
            SELECT FROM activity_events e
            WHERE e.organization_id = wanted_organization AND e.xact_id = pg_current_xact_id()
              AND e.recorded_at >= transaction_timestamp() - interval '1 minute'
              AND e.kind = 'tool.allowed' AND e.effect <> 'read' AND wanted_table = ANY (e.writes));
    END;
