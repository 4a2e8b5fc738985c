-- What a call holds of budgets is held, counted and given back once, whoever makes the call, however often, and however late.

SET LOCAL lock_timeout = '5s';

ALTER TABLE budget_reservations ADD COLUMN state text NOT NULL DEFAULT 'held'
    CHECK (state IN ('held', 'passed_on', 'returned', 'counted'));
COMMENT ON COLUMN budget_reservations.state IS 'held: reserved of its budget. passed_on: the same call is held for whoever came after to make '
    'it. returned: taken back, though whoever held it may come yet. counted: used, of a call outside that may be said not to be made.';
CREATE INDEX budget_reservations_call ON budget_reservations (organization_id, call_id) WHERE call_id IS NOT NULL;

-- Whether the record has a call as made. One that waited has been made only with a ticket: without it, it was cancelled as it waited.
CREATE FUNCTION glow.call_was_made(for_organization uuid, call uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT coalesce(bool_or(e.kind = 'tool.allowed')
            OR bool_or(e.kind IN ('tool.completed', 'tool.failed', 'tool.cancelled')) AND NOT bool_or(e.kind = 'tool.waiting'), false)
        FROM activity_events e WHERE e.organization_id = for_organization AND e.call_id = call;
    END;

-- Ends what is held of one call in one budget, whose row the caller has locked. `made`: whether it was; NULL: the record says so, and
-- says it again in an hour if it has nothing yet. A call counts once, however many have tried to make it. One that was not made by
-- who came after is held for who was at it before.
CREATE FUNCTION glow.end_held_call(for_organization uuid, of_reservation uuid, of_scope text, of_measure text, made boolean)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    mine budget_reservations;
    freed bigint;
    heir uuid;
    counted boolean;
BEGIN
    SELECT * INTO mine FROM budget_reservations r WHERE r.organization_id = for_organization
        AND r.reservation_id = of_reservation AND r.scope = of_scope AND r.measure = of_measure;
    IF NOT FOUND OR mine.state = 'counted' THEN
        RETURN;
    END IF;
    freed := CASE WHEN mine.state = 'held' THEN mine.amount ELSE 0 END;
    IF coalesce(made, glow.call_was_made(for_organization, mine.call_id)) THEN
        WITH others AS (
            DELETE FROM budget_reservations r WHERE r.organization_id = for_organization AND r.call_id = mine.call_id
                AND r.scope = mine.scope AND r.subject = mine.subject AND r.measure = mine.measure AND r.period = mine.period
                AND r.reservation_id <> of_reservation AND r.state <> 'counted'
            RETURNING r.state, r.amount)
        SELECT freed + coalesce(sum(o.amount), 0) INTO freed FROM others o WHERE o.state = 'held';
        counted := EXISTS (SELECT FROM budget_reservations r WHERE r.organization_id = for_organization
            AND r.call_id = mine.call_id AND r.scope = mine.scope AND r.subject = mine.subject AND r.measure = mine.measure
            AND r.period = mine.period AND r.state = 'counted');
        UPDATE budget_use u SET reserved = u.reserved - freed, used = u.used + CASE WHEN counted THEN 0 ELSE mine.amount END
            WHERE u.organization_id = for_organization AND u.scope = mine.scope AND u.subject = mine.subject
              AND u.measure = mine.measure AND u.period = mine.period;
        -- Of what acts outside and is not known to have ended a person may say that it was not made.
        IF NOT counted AND EXISTS (SELECT FROM call_intents i
            WHERE i.organization_id = for_organization AND i.call_id = mine.call_id)
        THEN
            UPDATE budget_reservations r SET state = 'counted', expires_at = clock_timestamp() + interval '40 days'
                WHERE r.organization_id = for_organization AND r.reservation_id = of_reservation AND r.scope = of_scope
                  AND r.measure = of_measure;
            RETURN;
        END IF;
    ELSE
        IF mine.state = 'held' THEN
            SELECT r.reservation_id INTO heir FROM budget_reservations r WHERE r.organization_id = for_organization
                AND r.call_id = mine.call_id AND r.scope = mine.scope AND r.subject = mine.subject AND r.measure = mine.measure
                AND r.period = mine.period AND r.state = 'passed_on' AND r.expires_at > clock_timestamp()
                ORDER BY r.expires_at DESC LIMIT 1;
            UPDATE budget_reservations r SET state = 'held' WHERE r.organization_id = for_organization
                AND r.reservation_id = heir AND r.scope = of_scope AND r.measure = of_measure;
            UPDATE budget_use u SET reserved = u.reserved - freed
                WHERE heir IS NULL AND u.organization_id = for_organization AND u.scope = mine.scope
                  AND u.subject = mine.subject AND u.measure = mine.measure AND u.period = mine.period;
        END IF;
        IF made IS NULL AND mine.state <> 'returned' THEN
            UPDATE budget_reservations r SET state = 'returned', expires_at = clock_timestamp() + interval '1 hour'
                WHERE r.organization_id = for_organization AND r.reservation_id = of_reservation AND r.scope = of_scope
                  AND r.measure = of_measure;
            RETURN;
        END IF;
    END IF;
    DELETE FROM budget_reservations r WHERE r.organization_id = for_organization AND r.reservation_id = of_reservation
        AND r.scope = of_scope AND r.measure = of_measure;
END $$;

-- The newest statement of glow.reserve_budget. New: a call that is held by who was at it before is not held twice, nor one again that
-- was made; and it counts on the day on which it was held first.
CREATE OR REPLACE FUNCTION glow.reserve_budget(for_organization uuid, for_principal uuid, for_run uuid, wanted jsonb,
        of_reservation uuid, of_call uuid, held_for interval)
    RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    today text := glow.budget_day();
    parts jsonb := '[]';
    refused jsonb;
    budget record;
    day text;
    passed_on boolean;
BEGIN
    FOR budget IN
        SELECT b.scope, b.measure, b.most, (wanted ->> b.measure)::bigint AS amount,
               CASE b.scope WHEN 'organization' THEN for_organization WHEN 'member' THEN for_principal ELSE for_run END
                   AS subject,
               CASE b.scope WHEN 'run' THEN 'run' ELSE today END AS period
        FROM glow.budgets_of(for_organization, for_principal) b
        WHERE wanted ? b.measure AND (b.scope <> 'run' OR for_run IS NOT NULL)
        ORDER BY glow.budget_place(b.scope), b.measure
    LOOP
        day := budget.period;
        passed_on := false;
        IF of_call IS NOT NULL THEN
            day := coalesce((SELECT min(r.period) FROM budget_reservations r
                WHERE r.organization_id = for_organization AND r.call_id = of_call AND r.scope = budget.scope
                  AND r.subject = budget.subject AND r.measure = budget.measure), budget.period);
            -- Locked before anybody looks: two who come at once must not both be the first.
            INSERT INTO budget_use (organization_id, scope, subject, measure, period, begun_on)
                VALUES (for_organization, budget.scope, budget.subject, budget.measure, day, today::date)
                ON CONFLICT (organization_id, scope, subject, measure, period) DO NOTHING;
            PERFORM FROM budget_use u WHERE u.organization_id = for_organization AND u.scope = budget.scope
                AND u.subject = budget.subject AND u.measure = budget.measure AND u.period = day FOR UPDATE;
            UPDATE budget_reservations r SET state = 'passed_on'
                WHERE r.organization_id = for_organization AND r.call_id = of_call AND r.scope = budget.scope
                  AND r.subject = budget.subject AND r.measure = budget.measure AND r.period = day AND r.state = 'held';
            passed_on := FOUND;
            -- It was settled before this asked, and is not made again.
            CONTINUE WHEN NOT passed_on AND glow.call_was_made(for_organization, of_call) AND NOT EXISTS (
                SELECT FROM budget_reservations r WHERE r.organization_id = for_organization AND r.call_id = of_call
                  AND r.scope = budget.scope AND r.subject = budget.subject AND r.measure = budget.measure);
        END IF;
        IF NOT passed_on THEN
            IF budget.amount <= budget.most THEN
                INSERT INTO budget_use AS u (organization_id, scope, subject, measure, period, begun_on, reserved)
                VALUES (for_organization, budget.scope, budget.subject, budget.measure, day, today::date, budget.amount)
                ON CONFLICT (organization_id, scope, subject, measure, period) DO UPDATE
                    SET reserved = u.reserved + excluded.reserved
                    WHERE u.used + u.reserved + excluded.reserved <= budget.most;
            END IF;
            IF budget.amount IS NULL OR budget.amount > budget.most OR NOT FOUND THEN
                SELECT jsonb_build_object('scope', budget.scope, 'measure', budget.measure, 'most', budget.most,
                        'wanted', budget.amount, 'left', greatest(budget.most - coalesce(max(u.used + u.reserved), 0), 0))
                    INTO refused FROM budget_use u
                    WHERE u.organization_id = for_organization AND u.scope = budget.scope AND u.subject = budget.subject
                      AND u.measure = budget.measure AND u.period = day;
                RAISE EXCEPTION 'nothing is left of a budget' USING ERRCODE = 'GL020';
            END IF;
        END IF;
        INSERT INTO budget_reservations (organization_id, reservation_id, scope, subject, measure, period, amount, call_id,
            run_id, expires_at)
        VALUES (for_organization, of_reservation, budget.scope, budget.subject, budget.measure, day,
            budget.amount, of_call, for_run, clock_timestamp() + held_for);
        parts := parts || jsonb_build_object('scope', budget.scope, 'subject', budget.subject, 'measure', budget.measure,
            'period', day);
    END LOOP;
    RETURN CASE WHEN parts <> '[]' THEN jsonb_build_object('parts', parts) END;
EXCEPTION WHEN SQLSTATE 'GL020' THEN
    RETURN jsonb_build_object('refused', refused);
END $$;

-- The newest statement of glow.settle_budget. New: calls are ended as above; null for a measure of calls: nobody knows whether it
-- was made.
CREATE OR REPLACE FUNCTION glow.settle_budget(for_organization uuid, of_reservation uuid, parts jsonb, really jsonb)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    part record;
    held record;
BEGIN
    FOR part IN
        SELECT p.* FROM jsonb_to_recordset(parts) AS p (scope text, subject uuid, measure text, period text)
        ORDER BY glow.budget_place(p.scope), p.subject, p.measure, p.period
    LOOP
        PERFORM FROM budget_use u WHERE u.organization_id = for_organization AND u.scope = part.scope
            AND u.subject = part.subject AND u.measure = part.measure AND u.period = part.period FOR UPDATE;
        IF part.measure LIKE 'calls:%' THEN
            PERFORM glow.end_held_call(for_organization, of_reservation, part.scope, part.measure,
                CASE WHEN really ? part.measure THEN (really ->> part.measure)::bigint > 0 ELSE false END);
            CONTINUE;
        END IF;
        DELETE FROM budget_reservations r WHERE r.organization_id = for_organization
            AND r.reservation_id = of_reservation AND r.scope = part.scope AND r.measure = part.measure
            RETURNING r.amount INTO held;
        UPDATE budget_use u SET reserved = u.reserved - coalesce(held.amount, 0),
                used = u.used + coalesce((really ->> part.measure)::bigint, 0)
            WHERE u.organization_id = for_organization AND u.scope = part.scope
              AND u.subject = part.subject AND u.measure = part.measure AND u.period = part.period;
    END LOOP;
END $$;

-- The newest statement of glow.return_budgets. New: calls are ended as above, by the record, and looked at once more.
CREATE OR REPLACE FUNCTION glow.return_budgets(for_organization uuid, of_run uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    counter record;
    back record;
    call record;
    returned bigint := 0;
BEGIN
    FOR counter IN
        SELECT DISTINCT r.organization_id, glow.budget_place(r.scope) AS place, r.scope, r.subject, r.measure, r.period
        FROM budget_reservations r
        WHERE (for_organization IS NULL OR r.organization_id = for_organization)
          AND CASE WHEN of_run IS NULL THEN r.expires_at <= clock_timestamp() ELSE r.run_id = of_run AND r.call_id IS NULL END
        ORDER BY 1, 2, 4, 5, 6 LIMIT 1000
    LOOP
        PERFORM FROM budget_use u WHERE u.organization_id = counter.organization_id AND u.scope = counter.scope
            AND u.subject = counter.subject AND u.measure = counter.measure AND u.period = counter.period FOR UPDATE;
        FOR call IN
            SELECT r.reservation_id, r.state FROM budget_reservations r
            WHERE of_run IS NULL AND r.organization_id = counter.organization_id AND r.scope = counter.scope
              AND r.subject = counter.subject AND r.measure = counter.measure AND r.period = counter.period
              AND r.call_id IS NOT NULL AND r.expires_at <= clock_timestamp()
            ORDER BY r.expires_at, r.reservation_id
        LOOP
            IF call.state = 'counted' THEN
                DELETE FROM budget_reservations r WHERE r.organization_id = counter.organization_id
                    AND r.reservation_id = call.reservation_id AND r.scope = counter.scope AND r.measure = counter.measure;
            ELSE
                PERFORM glow.end_held_call(counter.organization_id, call.reservation_id, counter.scope, counter.measure, NULL);
            END IF;
            returned := returned + 1;
        END LOOP;
        WITH gone AS (
            DELETE FROM budget_reservations r WHERE r.organization_id = counter.organization_id AND r.scope = counter.scope
                AND r.subject = counter.subject AND r.measure = counter.measure AND r.period = counter.period
                AND r.call_id IS NULL
                AND CASE WHEN of_run IS NULL THEN r.expires_at <= clock_timestamp() ELSE r.run_id = of_run END
            RETURNING r.amount)
        SELECT count(*) AS parts, coalesce(sum(amount), 0) AS amount INTO back FROM gone;
        UPDATE budget_use u SET reserved = u.reserved - back.amount
            WHERE u.organization_id = counter.organization_id AND u.scope = counter.scope
              AND u.subject = counter.subject AND u.measure = counter.measure AND u.period = counter.period;
        returned := returned + back.parts;
    END LOOP;
    -- Nobody asks any more what was used so long ago.
    IF for_organization IS NULL THEN
        DELETE FROM budget_use u WHERE u.begun_on < glow.budget_day()::date - 40 AND NOT EXISTS (
            SELECT FROM budget_reservations r WHERE r.organization_id = u.organization_id AND r.scope = u.scope
              AND r.subject = u.subject AND r.measure = u.measure AND r.period = u.period);
    END IF;
    RETURN returned;
END $$;

-- The newest statement of glow.uncount_call. New: what the call took is given back where it was counted, which its rows say: not where
-- the moment of its event would have it counted, by a clock of the server's and a setting that may have changed in between.
CREATE OR REPLACE FUNCTION glow.uncount_call(call uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    counter record;
    back record;
BEGIN
    IF NOT EXISTS (
        SELECT FROM activity_events e
        WHERE e.organization_id = glow.organization_id() AND e.call_id = call AND e.xact_id = pg_current_xact_id()
          AND e.recorded_at >= transaction_timestamp() - interval '1 minute' AND e.error_code = 'stated_not_made')
    THEN
        RAISE EXCEPTION 'nobody has said that this call was not made' USING ERRCODE = 'GL001';
    END IF;
    FOR counter IN
        SELECT DISTINCT glow.budget_place(r.scope) AS place, r.scope, r.subject, r.measure, r.period
        FROM budget_reservations r WHERE r.organization_id = glow.organization_id() AND r.call_id = call
        ORDER BY 1, 3, 4, 5
    LOOP
        PERFORM FROM budget_use u WHERE u.organization_id = glow.organization_id() AND u.scope = counter.scope
            AND u.subject = counter.subject AND u.measure = counter.measure AND u.period = counter.period FOR UPDATE;
        WITH gone AS (
            DELETE FROM budget_reservations r WHERE r.organization_id = glow.organization_id() AND r.scope = counter.scope
                AND r.subject = counter.subject AND r.measure = counter.measure AND r.period = counter.period
                AND r.call_id = call
            RETURNING r.amount, r.state)
        SELECT coalesce(sum(amount) FILTER (WHERE state = 'held'), 0) AS held,
               coalesce(sum(amount) FILTER (WHERE state = 'counted'), 0) AS counted INTO back FROM gone;
        UPDATE budget_use u SET reserved = u.reserved - back.held, used = greatest(u.used - back.counted, 0)
            WHERE u.organization_id = glow.organization_id() AND u.scope = counter.scope AND u.subject = counter.subject
              AND u.measure = counter.measure AND u.period = counter.period;
    END LOOP;
END $$;

REVOKE EXECUTE ON FUNCTION glow.call_was_made, glow.end_held_call FROM PUBLIC;
