-- What is told of another call: also that a CLIENT wrote its arguments, and what an agent without a conversation had been
-- told when it made the call, which the facts of a call that only reads do not say.

SET LOCAL lock_timeout = '5s';

-- What a principal's agents of which no conversation is known were told at a door within a day before. As the last branch of
-- glow.turn_taint, at a moment that is over.
CREATE FUNCTION glow.elsewhere_taint(whose uuid, at_door text, until timestamptz) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    here uuid := glow.organization_id();
    lately timestamptz := until - interval '1 day';
    worst integer;
    of_firm boolean;
    clients uuid[] := '{}';
BEGIN
    SELECT max(glow.trust_rank(probed.trust)), bool_or(probed.firm) INTO worst, of_firm
        FROM (VALUES (true), (false)) f (firm), (VALUES ('internal'), ('client'), ('external')) w (trust),
            LATERAL (SELECT t.firm, t.trust FROM activity_taints t
                WHERE t.organization_id = here AND t.principal_id = whose AND t.door = at_door
                  AND t.mode = 'agent' AND t.conversation_id IS NULL AND t.task_run_id IS NULL
                  AND t.firm = f.firm AND t.trust = w.trust AND t.recorded_at > lately AND t.recorded_at <= until
                LIMIT 1) probed;
    IF of_firm IS FALSE THEN
        SELECT array_agg(DISTINCT e) INTO clients FROM activity_taints t, unnest(t.engagements) e
            WHERE t.organization_id = here AND t.principal_id = whose AND t.door = at_door
              AND t.mode = 'agent' AND t.conversation_id IS NULL AND t.task_run_id IS NULL
              AND NOT t.firm AND t.recorded_at > lately AND t.recorded_at <= until;
    END IF;
    RETURN jsonb_build_object(
        'trust', CASE coalesce(worst, 0) WHEN 0 THEN 'internal' WHEN 1 THEN 'client' ELSE 'external' END,
        'firm', coalesce(of_firm, false), 'engagements', to_jsonb(coalesce(clients, '{}')));
END $$;
REVOKE EXECUTE ON FUNCTION glow.elsewhere_taint FROM PUBLIC;

-- The newest statement of glow.call_taint. New: who wrote the arguments, and the turn of an agent without a conversation.
CREATE OR REPLACE FUNCTION glow.call_taint(of_call uuid) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object(
            'trust', glow.less_trusted(glow.less_trusted(t.trust, coalesce(written.trust, 'internal')), glow.less_trusted(
                coalesce(turn.taint ->> 'trust', 'internal'), coalesce(e.facts::jsonb ->> 'taint', 'internal'))),
            'firm', coalesce(t.firm OR (turn.taint ->> 'firm')::boolean, t.firm),
            'engagements', coalesce(to_jsonb(t.engagements), '[]') || coalesce(turn.taint -> 'engagements', '[]'))
        FROM (SELECT coalesce((array_agg(w.trust ORDER BY glow.trust_rank(w.trust) DESC))[1], 'internal') AS trust, coalesce(bool_or(w.firm), false) AS firm,
                coalesce(max(w.engagements), '{}') AS engagements
              FROM activity_taints w WHERE w.organization_id = glow.organization_id() AND w.call_id = of_call) t
        LEFT JOIN activity_events e ON e.organization_id = glow.organization_id() AND e.call_id = of_call AND e.opens
        -- A call that was refused before its facts were known has no role: then the member's, and nobody's is as a CLIENT's.
        LEFT JOIN LATERAL (
            SELECT 'client' AS trust WHERE coalesce(e.role, (SELECT m.role FROM memberships m
                WHERE m.organization_id = e.organization_id AND m.user_id = e.principal_id), 'CLIENT') = 'CLIENT') written
            ON e.event_id IS NOT NULL
        LEFT JOIN LATERAL (
            SELECT CASE WHEN coalesce(e.conversation_id, e.task_run_id) IS NULL
                THEN glow.elsewhere_taint(e.principal_id, e.door, e.recorded_at)
                ELSE glow.turn_taint(jsonb_build_object('conversation_id', e.conversation_id, 'task_run_id', e.task_run_id))
                END AS taint
            WHERE coalesce(e.conversation_id, e.task_run_id) IS NOT NULL OR (e.mode = 'agent' AND e.door <> 'worker')) turn ON true;
    END;
