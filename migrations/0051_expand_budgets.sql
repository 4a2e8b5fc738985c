-- Budgets: what an organization, a member and a run may spend, of money and tokens at models and of calls by their effect.
-- What is in force is set by calls, with who, when and why; how much is used and held is counted beside it, by functions alone.

SET LOCAL lock_timeout = '5s';

CREATE TABLE budget_settings (
    organization_id uuid NOT NULL REFERENCES organizations,
    setting_id uuid NOT NULL,
    scope text NOT NULL CHECK (scope IN ('organization', 'member', 'run')),
    member_id uuid,
    measure text NOT NULL CHECK (measure IN
        ('money', 'tokens', 'calls:read', 'calls:prepare', 'calls:commit', 'calls:irreversible')),
    most bigint CHECK (most BETWEEN 0 AND 1000000000000000),
    changed_by uuid NOT NULL,
    changed_at timestamptz NOT NULL,
    reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 2000),
    PRIMARY KEY (organization_id, setting_id),
    FOREIGN KEY (organization_id, member_id) REFERENCES memberships,
    CHECK ((scope = 'member') = (member_id IS NOT NULL))
);
COMMENT ON COLUMN budget_settings.most IS 'Millionths of a US dollar, tokens, or calls: a day, of scope run in each run. NULL: no '
    'budget any more. The newest of a scope, member and measure is in force.';
CREATE INDEX budget_settings_newest ON budget_settings (organization_id, scope, measure, changed_at DESC, setting_id DESC);
CREATE INDEX budget_settings_listed ON budget_settings (organization_id, changed_at DESC, setting_id DESC);
CALL glow.isolate('budget_settings');
CREATE POLICY visible ON budget_settings AS RESTRICTIVE FOR SELECT TO glow_app
    USING (member_id IS NULL OR member_id = (SELECT glow.principal_id()) OR (SELECT glow.reads_organization()));
GRANT SELECT, INSERT ON budget_settings TO glow_app;
CALL glow.require_ticket('budget_settings');

CREATE TABLE budget_use (
    organization_id uuid NOT NULL REFERENCES organizations,
    scope text NOT NULL,
    subject uuid NOT NULL,
    measure text NOT NULL,
    period text NOT NULL,
    begun_on date NOT NULL,
    used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    PRIMARY KEY (organization_id, scope, subject, measure, period)
) WITH (fillfactor = 50);
COMMENT ON TABLE budget_use IS 'Plumbing: what is used and held of budgets; written by glow.reserve_budget and its like alone.';
COMMENT ON COLUMN budget_use.subject IS 'The organization, the member or the run.';
COMMENT ON COLUMN budget_use.period IS 'The day in UTC, as YYYY-MM-DD; of a run the word run.';
CREATE INDEX budget_use_begun ON budget_use (begun_on);

CREATE TABLE budget_reservations (
    organization_id uuid NOT NULL,
    reservation_id uuid NOT NULL,
    scope text NOT NULL,
    subject uuid NOT NULL,
    measure text NOT NULL,
    period text NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    -- Of a call: the record says of it whether it was made.
    call_id uuid,
    run_id uuid,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, reservation_id, scope, measure),
    FOREIGN KEY (organization_id, scope, subject, measure, period) REFERENCES budget_use
);
COMMENT ON TABLE budget_reservations IS 'Plumbing: what is held of a budget until it is known what was used of it.';
CREATE INDEX budget_reservations_expired ON budget_reservations (expires_at);
CREATE INDEX budget_reservations_of ON budget_reservations (organization_id, scope, subject, measure, period);

CALL glow.isolate('budget_use');
CALL glow.isolate('budget_reservations');
CREATE POLICY visible ON budget_use AS RESTRICTIVE FOR SELECT TO glow_app
    USING (scope <> 'member' OR subject = (SELECT glow.principal_id()) OR (SELECT glow.reads_organization()));
CREATE POLICY visible ON budget_reservations AS RESTRICTIVE FOR SELECT TO glow_app
    USING (scope <> 'member' OR subject = (SELECT glow.principal_id()) OR (SELECT glow.reads_organization()));
GRANT SELECT ON budget_use, budget_reservations TO glow_app;

-- The order in which rows of budgets are locked, everywhere: nobody waits for somebody who waits for them.
CREATE FUNCTION glow.budget_place(scope text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE scope WHEN 'organization' THEN 0 WHEN 'member' THEN 1 ELSE 2 END;
    END;

-- What is in force for a principal; of scope run for each run. SECURITY INVOKER: as the caller may see it.
CREATE FUNCTION glow.budgets_of(for_organization uuid, for_principal uuid)
    RETURNS TABLE (scope text, measure text, most bigint) LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT newest.scope, newest.measure, newest.most
        FROM (SELECT DISTINCT ON (s.scope, s.measure) s.scope, s.measure, s.most FROM budget_settings s
              WHERE s.organization_id = for_organization AND (s.member_id IS NULL OR s.member_id = for_principal)
              ORDER BY s.scope, s.measure, s.changed_at DESC, s.setting_id DESC) newest
        WHERE newest.most IS NOT NULL;
    END;

CREATE FUNCTION glow.budget_day() RETURNS text LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT to_char(statement_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD');
    END;

-- Holds of each budget in force what is wanted of its measure ({"tokens": 100}), of all or of none; a statement of its own, so
-- that its locks are gone when it answers. NULL: no such budget is set. {"parts": [...]}: held. {"refused": {...}}: the first
-- that has too little left, after which nothing is held. An amount of null: nobody can say how much, so nothing is left for it.
CREATE FUNCTION glow.reserve_budget(for_organization uuid, for_principal uuid, for_run uuid, wanted jsonb,
        of_reservation uuid, of_call uuid, held_for interval)
    RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    today text := glow.budget_day();
    parts jsonb := '[]';
    refused jsonb;
    budget record;
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
        IF budget.amount <= budget.most THEN
            INSERT INTO budget_use AS u (organization_id, scope, subject, measure, period, begun_on, reserved)
            VALUES (for_organization, budget.scope, budget.subject, budget.measure, budget.period, today::date, budget.amount)
            ON CONFLICT (organization_id, scope, subject, measure, period) DO UPDATE
                SET reserved = u.reserved + excluded.reserved
                WHERE u.used + u.reserved + excluded.reserved <= budget.most;
        END IF;
        IF budget.amount IS NULL OR budget.amount > budget.most OR NOT FOUND THEN
            SELECT jsonb_build_object('scope', budget.scope, 'measure', budget.measure, 'most', budget.most,
                    'wanted', budget.amount, 'left', greatest(budget.most - coalesce(max(u.used + u.reserved), 0), 0))
                INTO refused FROM budget_use u
                WHERE u.organization_id = for_organization AND u.scope = budget.scope AND u.subject = budget.subject
                  AND u.measure = budget.measure AND u.period = budget.period;
            RAISE EXCEPTION 'nothing is left of a budget' USING ERRCODE = 'GL020';
        END IF;
        INSERT INTO budget_reservations (organization_id, reservation_id, scope, subject, measure, period, amount, call_id,
            run_id, expires_at)
        VALUES (for_organization, of_reservation, budget.scope, budget.subject, budget.measure, budget.period,
            budget.amount, of_call, for_run, clock_timestamp() + held_for);
        parts := parts || jsonb_build_object('scope', budget.scope, 'subject', budget.subject, 'measure', budget.measure,
            'period', budget.period);
    END LOOP;
    RETURN CASE WHEN parts <> '[]' THEN jsonb_build_object('parts', parts) END;
EXCEPTION WHEN SQLSTATE 'GL020' THEN
    RETURN jsonb_build_object('refused', refused);
END $$;

-- Puts what was really used ({"tokens": 80}; what is not named was not used) in the place of what was held. A call that was
-- taken for lost meanwhile was counted then, by the record.
CREATE FUNCTION glow.settle_budget(for_organization uuid, of_reservation uuid, parts jsonb, really jsonb)
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
        DELETE FROM budget_reservations r WHERE r.organization_id = for_organization
            AND r.reservation_id = of_reservation AND r.scope = part.scope AND r.measure = part.measure
            RETURNING r.amount INTO held;
        CONTINUE WHEN NOT FOUND AND part.measure LIKE 'calls:%';
        UPDATE budget_use u SET reserved = u.reserved - coalesce(held.amount, 0),
                used = u.used + coalesce((really ->> part.measure)::bigint, 0)
            WHERE u.organization_id = for_organization AND u.scope = part.scope
              AND u.subject = part.subject AND u.measure = part.measure AND u.period = part.period;
    END LOOP;
END $$;

-- Takes back what was held for too long: whoever held it is gone. A call that the record has as made counts as used; of a
-- model's answer that nobody is left to hear, nothing does. NULL: of all organizations. `of_run`: what was held for the
-- models of that run, however long it might have been, since another process carries it by now.
CREATE FUNCTION glow.return_budgets(for_organization uuid, of_run uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    counter record;
    back record;
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
        WITH gone AS (
            DELETE FROM budget_reservations r WHERE r.organization_id = counter.organization_id AND r.scope = counter.scope
                AND r.subject = counter.subject AND r.measure = counter.measure AND r.period = counter.period
                AND CASE WHEN of_run IS NULL THEN r.expires_at <= clock_timestamp()
                         ELSE r.run_id = of_run AND r.call_id IS NULL END
            RETURNING r.amount, EXISTS (
                SELECT FROM activity_events e WHERE e.organization_id = counter.organization_id AND e.call_id = r.call_id
                  AND e.kind IN ('tool.allowed', 'tool.completed', 'tool.failed', 'tool.cancelled')) AS made)
        SELECT count(*) AS parts, coalesce(sum(amount), 0) AS amount, coalesce(sum(amount) FILTER (WHERE made), 0) AS made
            INTO back FROM gone;
        UPDATE budget_use u SET reserved = u.reserved - back.amount, used = u.used + back.made
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

REVOKE EXECUTE ON FUNCTION glow.budget_place, glow.budgets_of, glow.budget_day, glow.reserve_budget, glow.settle_budget,
    glow.return_budgets FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.budget_place, glow.budgets_of, glow.budget_day, glow.reserve_budget, glow.settle_budget
    TO glow_app;
GRANT EXECUTE ON FUNCTION glow.return_budgets TO glow_app, glow_service;

-- The newest statement of glow.begin_call. New: `budgets`, those in force and what is left of each, where one is set.
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
    facts := facts || coalesce((
        SELECT jsonb_build_object('budgets', jsonb_agg(jsonb_build_object('scope', b.scope, 'measure', b.measure,
            'left', greatest(b.most - coalesce(u.used + u.reserved, 0), 0))))
        FROM glow.budgets_of(for_organization, for_principal) b
        LEFT JOIN budget_use u ON u.organization_id = for_organization AND u.scope = b.scope AND u.measure = b.measure
            AND u.subject = CASE b.scope WHEN 'organization' THEN for_organization ELSE for_principal END
            AND u.period = glow.budget_day()
        HAVING count(*) > 0), '{}');
    FOR subject IN SELECT key, value #>> '{}' AS id FROM jsonb_each(subjects) LOOP
        found_subject := CASE subject.key
            WHEN 'task' THEN (
                SELECT jsonb_build_object('kind', t.kind, 'engagement_id', t.engagement_id, 'status', t.status,
                    'own', coalesce(t.created_by = for_principal OR t.assignee_id = for_principal, false))
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
                SELECT jsonb_build_object('self', u.user_id = for_principal)
                FROM users u WHERE lower(u.email) = lower(subject.id))
            WHEN 'statement' THEN
                glow.statement_facts((subject.id::jsonb ->> 'run_id')::uuid, subject.id::jsonb ->> 'words')
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

-- The newest statement of glow.person_rows. New: `budget_settings`. A page of one part of what is held of the person: rows as
-- JSON, in the order of their keys, after the key `behind`, at most `most` of them and, but for the first, `bytes` of text.
CREATE OR REPLACE FUNCTION glow.person_rows(call uuid, part text, behind text, most integer, bytes bigint)
    RETURNS TABLE (key text, body text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    person uuid := glow.person_to_export(call);
    few CONSTANT text := 'SELECT s.id::text AS key, row_to_json(s)::text AS body FROM (%s) s '
        'WHERE $3 IS NULL OR s.id::text COLLATE "C" > $3 ORDER BY s.id::text COLLATE "C" LIMIT $4';
    source text := CASE part
        WHEN 'person' THEN format(few, $q$
            SELECT u.user_id AS id, u.email, u.display_name, m.role, m.autonomy_floor, m.autonomy_ceiling,
                m.created_at AS member_since, m.erased_at
            FROM memberships m JOIN users u USING (user_id) WHERE m.organization_id = $1 AND m.user_id = $2$q$)
        WHEN 'engagements' THEN format(few, $q$
            SELECT e.engagement_id AS id, e.name, e.client_name, e.kind
            FROM engagement_members m JOIN engagements e USING (organization_id, engagement_id)
            WHERE m.organization_id = $1 AND m.user_id = $2$q$)
        WHEN 'identities' THEN format(few, $q$
            SELECT encode(sha256(convert_to(issuer || ' ' || subject, 'UTF8')), 'hex') AS id, issuer, subject, linked_at
            FROM identities WHERE organization_id = $1 AND user_id = $2$q$)
        WHEN 'preferences' THEN format(few, $q$
            SELECT preference_id AS id, words, conversation_id, created_at, updated_at
            FROM preferences WHERE organization_id = $1 AND user_id = $2$q$)
        WHEN 'autonomy_settings' THEN format(few, $q$
            SELECT setting_id AS id, scope, level, floor, ceiling, autopilot_disabled, reason, changed_at,
                subject = $2::text AS about_this_person, changed_by = $2 AS by_this_person
            FROM autonomy_settings WHERE organization_id = $1 AND (changed_by = $2 OR scope = 'member' AND subject = $2::text)$q$)
        WHEN 'organization_policies' THEN format(few, $q$
            SELECT change_id AS id, policy_id, text, reason, changed_at
            FROM organization_policies WHERE organization_id = $1 AND changed_by = $2$q$)
        WHEN 'budget_settings' THEN format(few, $q$
            SELECT setting_id AS id, scope, measure, most, reason, changed_at,
                member_id IS NOT DISTINCT FROM $2 AS about_this_person, changed_by = $2 AS by_this_person
            FROM budget_settings WHERE organization_id = $1 AND (changed_by = $2 OR member_id = $2)$q$)
        WHEN 'conversations' THEN format(few, $q$
            SELECT conversation_id AS id, title, titled_by, agent, engagement_id, created_at, updated_at
            FROM conversations WHERE organization_id = $1 AND owner_id = $2$q$)
        WHEN 'messages' THEN $q$
            SELECT c.conversation_id || '/' || lpad(m.ordinal::text, 19, '0') AS key, row_to_json(m)::text AS body
            FROM (SELECT conversation_id FROM conversations WHERE organization_id = $1 AND owner_id = $2
                    AND ($3 IS NULL OR conversation_id >= split_part($3, '/', 1)::uuid)
                  ORDER BY conversation_id LIMIT $4) c
            CROSS JOIN LATERAL (
                SELECT message_id AS id, conversation_id, run_id, ordinal, role, content, created_at FROM messages
                WHERE organization_id = $1 AND conversation_id = c.conversation_id
                  AND ($3 IS NULL OR conversation_id > split_part($3, '/', 1)::uuid
                       OR ordinal > split_part($3, '/', 2)::bigint)
                ORDER BY ordinal LIMIT $4) m
            ORDER BY c.conversation_id, m.ordinal LIMIT $4$q$
        WHEN 'runs' THEN format(few, $q$
            SELECT run_id AS id, conversation_id, agent, model, door, status, usage, created_at, finished_at
            FROM runs WHERE organization_id = $1 AND owner_id = $2$q$)
        WHEN 'conversation_summaries' THEN format(few, $q$
            SELECT s.summary_id AS id, s.conversation_id, s.content, s.model, s.created_at
            FROM conversations c JOIN conversation_summaries s USING (organization_id, conversation_id)
            WHERE c.organization_id = $1 AND c.owner_id = $2$q$)
        WHEN 'feedback' THEN format(few, $q$
            SELECT run_id AS id, rating, comment, given_at, agent, model
            FROM feedback WHERE organization_id = $1 AND given_by = $2$q$)
        WHEN 'tasks' THEN format(few, $q$
            SELECT task_id AS id, title, description, kind, status, engagement_id, due_on, input, created_at, updated_at,
                created_by = $2 AS made_by_this_person, assignee_id IS NOT DISTINCT FROM $2 AS given_to_this_person
            FROM tasks WHERE organization_id = $1 AND (created_by = $2 OR assignee_id = $2)$q$)
        WHEN 'task_runs' THEN format(few, $q$
            SELECT r.task_run_id AS id, r.task_id, r.kind, r.input, r.created_at, p.status, p.message, a.text AS answer
            FROM task_runs r LEFT JOIN task_run_progress p USING (organization_id, task_run_id)
                LEFT JOIN task_run_answers a USING (organization_id, task_run_id)
            WHERE r.organization_id = $1 AND r.requested_by = $2$q$)
        WHEN 'task_reminders' THEN format(few, $q$
            SELECT r.reminder_id AS id, r.task_id, r.text, r.reminded_at, r.reminded_by = $2 AS by_this_person
            FROM task_reminders r JOIN tasks t USING (organization_id, task_id)
            WHERE r.organization_id = $1 AND (r.reminded_by = $2 OR t.assignee_id = $2)$q$)
        WHEN 'task_run_cancellations' THEN format(few, $q$
            SELECT task_run_id AS id, reason, cancelled_at
            FROM task_run_cancellations WHERE organization_id = $1 AND cancelled_by = $2$q$)
        WHEN 'schedules' THEN format(few, $q$
            SELECT schedule_id AS id, task_id, cron, time_zone, input, paused, created_at
            FROM schedules WHERE organization_id = $1 AND created_by = $2$q$)
        WHEN 'approvals_asked' THEN format(few, $q$
            SELECT approval_id AS id, call_id, tool, arguments, reasons, needs_role, four_eyes, state, created_at,
                expires_at, decided_at, comment
            FROM approvals WHERE organization_id = $1 AND requested_by = $2$q$)
        -- What another asked is that one's.
        WHEN 'approvals_decided' THEN format(few, $q$
            SELECT approval_id AS id, call_id, tool, state, decided_at, comment
            FROM approvals WHERE organization_id = $1 AND decided_by = $2$q$)
        WHEN 'delegations' THEN format(few, $q$
            SELECT delegation_id AS id, starts_at, ends_at, given_at, revoked_at,
                CASE WHEN delegator_id = $2 THEN reason END AS reason,
                delegator_id = $2 AS by_this_person, delegate_id = $2 AS to_this_person
            FROM delegations WHERE organization_id = $1 AND (delegator_id = $2 OR delegate_id = $2)$q$)
        WHEN 'sign_offs' THEN format(few, $q$
            SELECT sign_off_id AS id, engagement_id, kind, decision, subject, version, comment, signed_role, signed_at
            FROM sign_offs WHERE organization_id = $1 AND signed_by = $2$q$)
        WHEN 'releases' THEN format(few, $q$
            SELECT release_id AS id, control, engagement_id, state, evidence, released_at,
                released_by = $2 AS released_by_this_person, approved_by IS NOT DISTINCT FROM $2 AS approved_by_this_person
            FROM releases WHERE organization_id = $1 AND (released_by = $2 OR approved_by = $2)$q$)
        WHEN 'documents' THEN format(few, $q$
            SELECT document_id AS id, title, uri, media_type, audience, engagement_id, size_bytes, created_at, deleted_at
            FROM knowledge_documents WHERE organization_id = $1 AND uploaded_by = $2$q$)
        WHEN 'activity' THEN $q$
            SELECT to_char(c.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '/' || c.event_id AS key,
                row_to_json(c)::text AS body
            FROM (SELECT o.event_id, o.occurred_at, o.call_id, o.tool, o.door, o.mode, o.role, o.decision, o.reasons,
                    o.engagement_id, o.conversation_id, o.run_id, o.request_id, p.arguments, l.kind AS ended, l.result
                FROM activity_events o
                    LEFT JOIN activity_payloads p ON p.organization_id = $1 AND p.event_id = o.event_id
                    CROSS JOIN LATERAL (
                        SELECT e.kind, q.result
                        FROM activity_events e
                            LEFT JOIN activity_payloads q ON q.organization_id = $1 AND q.event_id = e.event_id
                        WHERE e.organization_id = $1 AND e.call_id = o.call_id
                        ORDER BY e.kind = 'tool.allowed', e.kind = 'tool.waiting', e.occurred_at DESC LIMIT 1) l
                WHERE o.organization_id = $1 AND o.principal_id = $2 AND o.opens
                  AND ($3 IS NULL OR (o.occurred_at, o.event_id) >
                        (split_part($3, '/', 1)::timestamp AT TIME ZONE 'UTC', split_part($3, '/', 2)::uuid))
                ORDER BY o.occurred_at, o.event_id LIMIT $4) c
            ORDER BY c.occurred_at, c.event_id$q$
        END;
BEGIN
    IF person IS NULL OR source IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT w.key, w.body FROM (SELECT r.*, sum(octet_length(r.body)) OVER (ORDER BY r.key COLLATE "C" '
        'ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM (%s) r) w '
        'WHERE coalesce(w.before, 0) < $5 ORDER BY w.key COLLATE "C"', source)
        USING glow.organization_id(), person, behind, most, bytes;
END $$;
