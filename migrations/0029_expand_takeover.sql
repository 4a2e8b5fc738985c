-- A run that its process leaves behind is carried on by another, under a lease whose generation (epoch) stands in
-- everything that its carrier writes: what names an old one is refused here, however late it comes.

SET LOCAL lock_timeout = '5s';

ALTER TABLE runs
    ADD COLUMN epoch integer NOT NULL DEFAULT 1,
    -- Carriers whose lease ran out; one that hands the run over ('-infinity' in heartbeat_at) is not lost.
    ADD COLUMN lost_carriers integer NOT NULL DEFAULT 0,
    -- Whoever goes on acts as the one who asked, and the record joins as it did.
    ADD COLUMN owner_kind text NOT NULL DEFAULT 'person' CHECK (owner_kind IN ('person', 'service_account')),
    ADD COLUMN scheduled boolean NOT NULL DEFAULT false,
    ADD COLUMN request_id text,
    ADD COLUMN trace_id text;
-- As a part of a key, the epoch changes only once no append holds the row FOR KEY SHARE; a heartbeat need not wait.
CREATE UNIQUE INDEX runs_lease ON runs (organization_id, run_id, epoch);

-- What it takes to go on from the frame that it stands with; no reader is shown it.
ALTER TABLE run_events ADD COLUMN checkpoint text;

GRANT SELECT (epoch, lost_carriers, owner_kind, scheduled, door),
    UPDATE (epoch, lost_carriers) ON runs TO glow_service;

-- Frames of many runs in one statement. Returned are the runs that another carries by now, of which nothing is stored;
-- the others' frames stand all the same.
CREATE FUNCTION glow.append_run_events(
    organization_ids uuid[], run_ids uuid[], sequences bigint[], types text[], datas text[],
    epochs integer[], checkpoints text[]
) RETURNS SETOF uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT * FROM unnest(organization_ids, run_ids, sequences, types, datas, epochs, checkpoints)
            AS g (organization_id, run_id, sequence, type, data, epoch, checkpoint)
    ), held AS MATERIALIZED (
        -- In order, so that no two appends wait for one another.
        SELECT r.organization_id, r.run_id, r.epoch
        FROM (SELECT DISTINCT g.organization_id, g.run_id, g.epoch FROM given g) g
            JOIN runs r ON r.organization_id = g.organization_id AND r.run_id = g.run_id AND r.epoch = g.epoch
        ORDER BY r.organization_id, r.run_id FOR KEY SHARE OF r
    ), stored AS (
        INSERT INTO run_events (organization_id, run_id, sequence, type, data, checkpoint)
        SELECT g.organization_id, g.run_id, g.sequence, g.type, g.data, g.checkpoint
        FROM given g JOIN held h USING (organization_id, run_id, epoch)
        -- There already, by a commit whose answer was lost: one carrier gives a number once.
        ON CONFLICT (organization_id, run_id, sequence) DO NOTHING
    )
    SELECT DISTINCT g.run_id FROM given g
    WHERE NOT EXISTS (SELECT FROM held h WHERE h.organization_id = g.organization_id AND h.run_id = g.run_id
                      AND h.epoch = g.epoch);
END $$;
REVOKE EXECUTE ON FUNCTION glow.append_run_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.append_run_events TO glow_recorder;

-- A plain INSERT by the recorder names no epoch: it may add to a run that nobody has taken over.
CREATE FUNCTION glow.first_carrier_holds(organization uuid, run uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM FROM runs r WHERE r.organization_id = organization AND r.run_id = run AND r.epoch = 1 FOR KEY SHARE;
    RETURN FOUND;
END $$;
REVOKE EXECUTE ON FUNCTION glow.first_carrier_holds FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.first_carrier_holds TO glow_recorder;
DROP POLICY recorder ON run_events;
CREATE POLICY recorder ON run_events FOR INSERT TO glow_recorder
    WITH CHECK (glow.first_carrier_holds(organization_id, run_id));
