-- Each batch of an erasure says from which events it took what they carried: with its result, which the record seals, whoever
-- checks an export tells what was erased from what was taken away.

SET LOCAL lock_timeout = '5s';

DROP FUNCTION glow.erase_payloads(uuid, uuid, text[], uuid, boolean, integer);
DROP FUNCTION glow.erase_step(uuid, integer, timestamptz);

-- The newest statement of glow.erase_payloads. New: `erased`, the events whose payloads went.
-- What calls carried and gave, with the salts: without these nobody can try what a digest is of. A page of the organization's
-- payloads after `scanned_to`; gives which went, and where the page ended (null: there is no further one). First the
-- person's own; when no more can be made of these, what others' calls have repeated of them.
CREATE FUNCTION glow.erase_payloads(organization uuid, person uuid, known_as text[], scanned_to uuid, copies boolean,
        most integer, OUT erased uuid[], OUT ended_at uuid)
    LANGUAGE sql AS $$
    WITH page AS MATERIALIZED (
        SELECT p.event_id FROM activity_payloads p
        WHERE p.organization_id = organization AND p.event_id > coalesce(scanned_to, '00000000-0000-0000-0000-000000000000')
        ORDER BY p.event_id LIMIT most
    ), gone AS (
        DELETE FROM activity_payloads x USING page p, activity_events e
        WHERE x.organization_id = organization AND x.event_id = p.event_id
          AND e.organization_id = organization AND e.event_id = p.event_id
          AND CASE WHEN NOT copies THEN e.principal_id = person
              ELSE glow.names_person(known_as, concat(x.arguments, x.result))
                   -- A decision of a call, and a look at one, have it again in their results.
                   OR e.tool IN ('approval_decide', 'call_get')
                      AND glow.tells_of_calls_of(organization, person, concat(x.arguments, x.result)) END
        RETURNING x.event_id
    )
    SELECT (SELECT coalesce(array_agg(g.event_id ORDER BY g.event_id), '{}') FROM gone g),
           (SELECT max(p.event_id::text)::uuid FROM page p HAVING count(*) = most);
$$;

-- The newest statement of glow.erase_step. New: `erased`, the events whose payloads went.
-- One batch of an erasure, in the transaction of the call that carries it out: without its ticket nothing is done. `waits`:
-- something is under way that has to end first; `gone`: rows by table.
CREATE FUNCTION glow.erase_step(erasure uuid, most integer, at_time timestamptz, OUT state text, OUT waits boolean,
        OUT gone jsonb, OUT erased uuid[])
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    organization uuid := glow.organization_id();
    here erasures;
    scanned uuid;
BEGIN
    IF NOT coalesce(glow.has_ticket(organization, 'erasures'), false) THEN
        RAISE EXCEPTION 'no ticket for an erasure' USING ERRCODE = 'GL001',
            HINT = 'Changes go through the gate, by a tool whose manifest declares this table.';
    END IF;
    SELECT * INTO STRICT here FROM erasures e
        WHERE e.organization_id = organization AND e.erasure_id = erasure FOR UPDATE;
    state := here.state;
    waits := false;
    gone := '{}';
    erased := '{}';
    scanned := here.scanned_to;
    CASE here.state
    WHEN 'asked' THEN
        gone := glow.begin_erasing(organization, erasure, here.user_id, at_time);
        state := 'ending';
        waits := true;
    WHEN 'ending' THEN
        waits := NOT glow.has_ended(organization, here.user_id, here.known_as, here.after_xact);
        state := CASE WHEN waits THEN 'ending' ELSE 'rows' END;
    WHEN 'rows' THEN
        gone := glow.erase_rows(organization, here.user_id, here.known_as, most);
        IF NOT EXISTS (SELECT FROM jsonb_each_text(gone) g WHERE g.value <> '0') THEN
            state := 'own_payloads';
        END IF;
    WHEN 'own_payloads' THEN
        SELECT p.erased, p.ended_at INTO erased, scanned
            FROM glow.erase_payloads(organization, here.user_id, here.known_as, scanned, false, most) p;
        state := CASE WHEN scanned IS NULL THEN 'copies' ELSE 'own_payloads' END;
        UPDATE erasures e SET after_xact = pg_current_xact_id()
            WHERE e.organization_id = organization AND e.erasure_id = erasure;
    WHEN 'copies' THEN
        -- Whoever could still see the person's own when these went has written down what was seen.
        waits := pg_snapshot_xmin(pg_current_snapshot()) <= here.after_xact;
        IF NOT waits THEN
            SELECT p.erased, p.ended_at INTO erased, scanned
                FROM glow.erase_payloads(organization, here.user_id, here.known_as, scanned, true, most) p;
            state := CASE WHEN scanned IS NULL THEN 'done' ELSE 'copies' END;
        END IF;
    WHEN 'done' THEN
        WITH late AS (
            DELETE FROM activity_payloads x WHERE x.organization_id = organization AND x.event_id IN (
                SELECT l.event_id FROM glow.late_payloads(organization, here.user_id, here.requested_at) l (event_id)
                LIMIT most)
            RETURNING x.event_id)
        SELECT coalesce(array_agg(l.event_id ORDER BY l.event_id), '{}') INTO erased FROM late l;
    END CASE;
    IF here.state IN ('own_payloads', 'copies', 'done') THEN
        gone := jsonb_build_object('activity_payloads', cardinality(erased));
    END IF;
    UPDATE erasures e SET state = erase_step.state, scanned_to = scanned,
            known_as = CASE WHEN erase_step.state = 'done' THEN '{}' ELSE e.known_as END,
            finished_at = CASE WHEN erase_step.state = 'done' THEN coalesce(e.finished_at, at_time) END,
            removed = coalesce((SELECT jsonb_object_agg(t.key, t.total) FROM (
                SELECT r.key, sum(r.value::bigint) AS total
                FROM (SELECT * FROM jsonb_each_text(e.removed) UNION ALL SELECT * FROM jsonb_each_text(gone)) r
                WHERE r.value <> '0' GROUP BY r.key) t), '{}')
        WHERE e.organization_id = organization AND e.erasure_id = erasure;
END $$;
REVOKE EXECUTE ON FUNCTION glow.erase_payloads, glow.erase_step FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.erase_step TO glow_app;
