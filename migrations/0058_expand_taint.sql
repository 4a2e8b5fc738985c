-- Taint: whose words a call's result told, and for whom they were meant; kept with the call, and followed by what is made of it.

SET LOCAL lock_timeout = '5s';

CREATE FUNCTION glow.trust_rank(trust text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE trust WHEN 'internal' THEN 0 WHEN 'client' THEN 1 ELSE 2 END;

CREATE FUNCTION glow.less_trusted(one text, other text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN glow.trust_rank(one) >= glow.trust_rank(other) THEN one ELSE other END;

-- Beside the event, as its payload is: the event's columns are final. No foreign key to it: its check would lock, and so
-- rewrite, every event's row. Nobody changes or removes a row, and an erasure leaves it: it holds nobody's words.
CREATE TABLE activity_taints (
    organization_id uuid NOT NULL,
    event_id uuid NOT NULL,
    call_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    door text NOT NULL,
    mode text NOT NULL,
    conversation_id uuid,
    task_run_id uuid,
    trust text NOT NULL CHECK (trust IN ('internal', 'client', 'external')),
    firm boolean NOT NULL,
    engagements uuid[] NOT NULL DEFAULT '{}',
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organization_id, event_id)
);
COMMENT ON TABLE activity_taints IS 'Plumbing: what the result of a call told. No row: nothing but the firm''s own, for anybody.';
COMMENT ON COLUMN activity_taints.trust IS 'Of the least trusted thing in it.';
COMMENT ON COLUMN activity_taints.firm IS 'It told something that no client sees.';
COMMENT ON COLUMN activity_taints.engagements IS 'Whose clients see something of it.';
CREATE INDEX activity_taints_conversation ON activity_taints (organization_id, conversation_id)
    WHERE conversation_id IS NOT NULL;
CREATE INDEX activity_taints_task_run ON activity_taints (organization_id, task_run_id) WHERE task_run_id IS NOT NULL;
CREATE INDEX activity_taints_call ON activity_taints (organization_id, call_id);
-- Of callers that no conversation is known of, each kind of thing is probed for by itself: a busy one leaves many rows.
CREATE INDEX activity_taints_elsewhere ON activity_taints
    (organization_id, principal_id, door, firm, trust, recorded_at DESC)
    WHERE mode = 'agent' AND conversation_id IS NULL AND task_run_id IS NULL;

CALL glow.isolate('activity_taints');
CREATE POLICY recorder ON activity_taints FOR INSERT TO glow_recorder WITH CHECK (true);
CREATE POLICY visible ON activity_taints AS RESTRICTIVE FOR SELECT TO glow_app
    USING ((SELECT glow.reads_organization()) OR principal_id = (SELECT glow.principal_id()));
GRANT SELECT ON activity_taints TO glow_app;
GRANT INSERT (organization_id, event_id, call_id, principal_id, door, mode, conversation_id, task_run_id, trust, firm,
    engagements) ON activity_taints TO glow_app, glow_recorder;

-- Whose words they hold. A task that a client sees and that was changed may hold the client's.
ALTER TABLE tasks ADD COLUMN trust text NOT NULL DEFAULT 'internal'
    CHECK (trust IN ('internal', 'client', 'external'));
UPDATE tasks SET trust = 'client' WHERE audience = 'client' AND version > 1;
ALTER TABLE task_runs ADD COLUMN trust text NOT NULL DEFAULT 'internal'
    CHECK (trust IN ('internal', 'client', 'external'));
ALTER TABLE task_reminders ADD COLUMN trust text NOT NULL DEFAULT 'internal'
    CHECK (trust IN ('internal', 'client', 'external'));
ALTER TABLE runs ADD COLUMN trust text NOT NULL DEFAULT 'internal'
    CHECK (trust IN ('internal', 'client', 'external'));
COMMENT ON COLUMN tasks.trust IS 'Of the least trusted thing that its words were made of.';
COMMENT ON COLUMN task_runs.trust IS 'Of the input that it was started with.';
COMMENT ON COLUMN runs.trust IS 'Of the message that it answers: a person''s own words, or a task''s.';

-- What has entered the turn of a principal's call: {"trust", "firm", "engagements"}. Of a conversation everything since it
-- began, of a task run what it was started with and told. Where neither is known, of the last day what the principal's
-- agents were told at this door. Not under row security: what is told by it is no content, and must not hang on who asks.
CREATE FUNCTION glow.turn_taint(turn jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    here uuid := glow.organization_id();
    whose uuid := glow.principal_id();
    conversation uuid := (turn ->> 'conversation_id')::uuid;
    run uuid := (turn ->> 'task_run_id')::uuid;
    lately timestamptz := clock_timestamp() - interval '1 day';
    worst integer := 0;
    of_firm boolean := false;
    clients uuid[] := '{}';
BEGIN
    IF conversation IS NOT NULL THEN
        SELECT max(glow.trust_rank(t.trust)), bool_or(t.firm) INTO worst, of_firm FROM activity_taints t
            WHERE t.organization_id = here AND t.conversation_id = conversation;
        worst := greatest(worst, (SELECT max(glow.trust_rank(r.trust)) FROM runs r
            WHERE r.organization_id = here AND r.conversation_id = conversation));
        SELECT array_agg(DISTINCT e) INTO clients FROM activity_taints t, unnest(t.engagements) e
            WHERE t.organization_id = here AND t.conversation_id = conversation;
    ELSIF run IS NOT NULL THEN
        SELECT max(glow.trust_rank(t.trust)), bool_or(t.firm) INTO worst, of_firm FROM activity_taints t
            WHERE t.organization_id = here AND t.task_run_id = run;
        worst := greatest(worst, (SELECT glow.trust_rank(glow.less_trusted(r.trust, t.trust))
            FROM task_runs r JOIN tasks t USING (organization_id, task_id)
            WHERE r.organization_id = here AND r.task_run_id = run));
    ELSE
        SELECT max(glow.trust_rank(probed.trust)), bool_or(probed.firm) INTO worst, of_firm
            FROM (VALUES (true), (false)) f (firm), (VALUES ('internal'), ('client'), ('external')) w (trust),
                LATERAL (SELECT t.firm, t.trust FROM activity_taints t
                    WHERE t.organization_id = here AND t.principal_id = whose AND t.door = turn ->> 'door'
                      AND t.mode = 'agent' AND t.conversation_id IS NULL AND t.task_run_id IS NULL
                      AND t.firm = f.firm AND t.trust = w.trust AND t.recorded_at > lately
                    LIMIT 1) probed;
        -- What is no client's to see is no one client's either: then nobody asks whose the rest was.
        IF of_firm IS FALSE THEN
            SELECT array_agg(DISTINCT e) INTO clients FROM activity_taints t, unnest(t.engagements) e
                WHERE t.organization_id = here AND t.principal_id = whose AND t.door = turn ->> 'door'
                  AND t.mode = 'agent' AND t.conversation_id IS NULL AND t.task_run_id IS NULL
                  AND NOT t.firm AND t.recorded_at > lately;
        END IF;
    END IF;
    RETURN jsonb_build_object(
        'trust', CASE coalesce(worst, 0) WHEN 0 THEN 'internal' WHEN 1 THEN 'client' ELSE 'external' END,
        'firm', coalesce(of_firm, false), 'engagements', to_jsonb(coalesce(clients, '{}')));
END $$;

-- What whoever reads of another call is told: its result, and its arguments, which were made of what its turn was told.
CREATE FUNCTION glow.call_taint(of_call uuid) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object(
            'trust', coalesce(glow.less_trusted(t.trust, glow.less_trusted(
                coalesce(turn.taint ->> 'trust', 'internal'), coalesce(e.facts::jsonb ->> 'taint', 'internal'))), 'internal'),
            'firm', coalesce(t.firm OR (turn.taint ->> 'firm')::boolean, false),
            'engagements', coalesce(to_jsonb(t.engagements), '[]') || coalesce(turn.taint -> 'engagements', '[]'))
        FROM (SELECT coalesce((array_agg(w.trust ORDER BY glow.trust_rank(w.trust) DESC))[1], 'internal') AS trust, coalesce(bool_or(w.firm), false) AS firm,
                coalesce(max(w.engagements), '{}') AS engagements
              FROM activity_taints w WHERE w.organization_id = glow.organization_id() AND w.call_id = of_call) t
        LEFT JOIN activity_events e ON e.organization_id = glow.organization_id() AND e.call_id = of_call AND e.opens
        LEFT JOIN LATERAL (
            SELECT glow.turn_taint(jsonb_build_object('conversation_id', e.conversation_id, 'task_run_id', e.task_run_id)) AS taint
            WHERE coalesce(e.conversation_id, e.task_run_id) IS NOT NULL) turn ON true;
    END;

-- Of an objective's answer, what its agent's conversation was told.
CREATE FUNCTION glow.task_run_trust(run uuid) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT glow.less_trusted(
            glow.turn_taint(jsonb_build_object('task_run_id', run)) ->> 'trust',
            coalesce((SELECT glow.turn_taint(jsonb_build_object('conversation_id', a.conversation_id)) ->> 'trust'
                FROM task_run_answers a
                WHERE a.organization_id = glow.organization_id() AND a.task_run_id = run), 'internal'));
    END;
REVOKE EXECUTE ON FUNCTION glow.trust_rank, glow.less_trusted, glow.turn_taint, glow.call_taint, glow.task_run_trust
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.trust_rank, glow.less_trusted, glow.turn_taint, glow.call_taint, glow.task_run_trust
    TO glow_app;

-- The newest statement of glow.begin_call. New: `turn`, what has entered the turn that the call belongs to; of a task its
-- audience, and of an assignee whether it is a client.
-- subjects: what the manifest says the arguments speak of: {"task", "task_run", "document", "engagement", "assignee"
-- (an e-mail), "approval"}. A subject that this principal cannot see comes back as null: the same for none and for another
-- organization's.
CREATE OR REPLACE FUNCTION glow.begin_call(for_organization uuid, for_principal uuid, tool text, subjects jsonb, control text)
    RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    held_role text := glow.begin_session(for_organization, for_principal);
    facts jsonb;
    subject record;
    found_subject jsonb;
BEGIN
    SELECT jsonb_build_object('role', held_role, 'floor', m.autonomy_floor, 'ceiling', m.autonomy_ceiling)
        INTO facts FROM memberships m
        WHERE m.organization_id = for_organization AND m.user_id = for_principal;
    IF facts IS NULL THEN
        RETURN jsonb_build_object('role', NULL);
    END IF;
    facts := facts || coalesce((
        SELECT jsonb_build_object('organization_level', s.level, 'autopilot_disabled', s.autopilot_disabled)
        FROM autonomy_settings s
        WHERE s.organization_id = for_organization AND s.scope = 'organization' AND s.subject = ''
        ORDER BY s.changed_at DESC, s.setting_id DESC LIMIT 1), '{}');
    facts := facts || coalesce((
        SELECT jsonb_build_object('tool_ceiling', s.level)
        FROM autonomy_settings s
        WHERE s.organization_id = for_organization AND s.scope = 'tool' AND s.subject = begin_call.tool
        ORDER BY s.changed_at DESC, s.setting_id DESC LIMIT 1), '{}');
    facts := facts || coalesce((
        SELECT jsonb_build_object('policies', encode(p.digest, 'hex'))
        FROM organization_policies p
        WHERE p.organization_id = for_organization
        ORDER BY p.changed_at DESC, p.change_id DESC LIMIT 1), '{}');
    -- Where no budget was ever set, nothing more is asked.
    IF EXISTS (SELECT FROM budget_settings s WHERE s.organization_id = for_organization) THEN
        facts := facts || coalesce((
            SELECT jsonb_build_object('budgets', jsonb_agg(jsonb_build_object('scope', b.scope, 'measure', b.measure,
                'left', greatest(b.most - coalesce(u.used + u.reserved, 0), 0))))
            FROM glow.budgets_of(for_organization, for_principal) b
            LEFT JOIN budget_use u ON u.organization_id = for_organization AND u.scope = b.scope AND u.measure = b.measure
                AND u.subject = CASE b.scope WHEN 'organization' THEN for_organization ELSE for_principal END
                AND u.period = glow.budget_day()
            HAVING count(*) > 0), '{}');
    END IF;
    FOR subject IN SELECT key, value #>> '{}' AS id FROM jsonb_each(subjects) LOOP
        found_subject := CASE subject.key
            WHEN 'task' THEN (
                SELECT jsonb_build_object('kind', t.kind, 'engagement_id', t.engagement_id, 'status', t.status,
                    'audience', t.audience, 'own', coalesce(t.created_by = for_principal OR t.assignee_id = for_principal, false))
                FROM tasks t WHERE t.organization_id = for_organization AND t.task_id = subject.id::uuid)
            WHEN 'task_run' THEN (
                SELECT jsonb_build_object('kind', r.kind, 'engagement_id', t.engagement_id,
                    'own', r.requested_by = for_principal)
                FROM task_runs r LEFT JOIN tasks t USING (organization_id, task_id)
                WHERE r.organization_id = for_organization AND r.task_run_id = subject.id::uuid)
            WHEN 'document' THEN (
                SELECT jsonb_build_object('engagement_id', d.engagement_id, 'audience', d.audience, 'trust', d.trust,
                    'own', d.uploaded_by = for_principal)
                FROM knowledge_documents d
                WHERE d.organization_id = for_organization AND d.document_id = subject.id::uuid AND d.deleted_at IS NULL)
            WHEN 'engagement' THEN (
                SELECT jsonb_build_object('engagement_id', e.engagement_id, 'member', EXISTS (
                    SELECT FROM engagement_members em WHERE em.organization_id = for_organization
                      AND em.engagement_id = e.engagement_id AND em.user_id = for_principal))
                FROM engagements e WHERE e.organization_id = for_organization AND e.engagement_id = subject.id::uuid)
            WHEN 'assignee' THEN (
                SELECT jsonb_build_object('self', u.user_id = for_principal, 'client', EXISTS (
                    SELECT FROM memberships m WHERE m.organization_id = for_organization AND m.user_id = u.user_id
                      AND m.role = 'CLIENT'))
                FROM users u WHERE lower(u.email) = lower(subject.id))
            WHEN 'statement' THEN
                glow.statement_facts((subject.id::jsonb ->> 'run_id')::uuid, subject.id::jsonb ->> 'words')
            WHEN 'turn' THEN
                glow.turn_taint(subject.id::jsonb)
            WHEN 'step_of' THEN
                jsonb_build_object('cancelled', glow.task_run_cancelled(subject.id::uuid))
            WHEN 'approval' THEN (
                SELECT jsonb_build_object('state', a.state, 'needs_role', a.needs_role, 'four_eyes', a.four_eyes,
                    'engagement_id', a.engagement_id, 'own', a.requested_by = for_principal, 'tool', a.tool,
                    'deputy_role', s.role, 'deputy_own', s.own)
                FROM approvals a
                LEFT JOIN LATERAL glow.stands_in_for(a.needs_role, a.four_eyes, a.requested_by) s ON true
                WHERE a.organization_id = for_organization AND a.approval_id = subject.id::uuid)
            WHEN 'delegate' THEN (
                SELECT jsonb_build_object('role', m.role)
                FROM memberships m JOIN users u USING (user_id)
                WHERE m.organization_id = for_organization AND u.kind = 'person' AND lower(u.email) = lower(subject.id))
            WHEN 'delegation' THEN (
                SELECT jsonb_build_object('concerned', for_principal IN (d.delegator_id, d.delegate_id))
                FROM delegations d WHERE d.organization_id = for_organization AND d.delegation_id = subject.id::uuid)
            END;
        facts := facts || jsonb_build_object(subject.key, found_subject);
    END LOOP;
    IF control <> '' THEN
        facts := facts || jsonb_build_object('control', glow.release_state(control, (subjects ->> 'engagement')::uuid));
    END IF;
    RETURN facts;
END $$;
