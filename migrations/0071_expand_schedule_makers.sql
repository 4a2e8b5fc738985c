-- Behind what a schedule's run asks stand whoever made the schedule and whoever changed it last: where four eyes are needed they
-- are none of the second pair, as little as whoever starts a run by hand.

SET LOCAL lock_timeout = '5s';

-- Whose hand was last at a schedule, and at the words of a task: the database's own word.
ALTER TABLE schedules ADD COLUMN changed_by uuid, ADD COLUMN changed_at timestamptz;
COMMENT ON COLUMN schedules.changed_by IS 'NULL: nobody since it was made, or since this is kept.';
ALTER TABLE tasks ADD COLUMN worded_by uuid, ADD COLUMN worded_at timestamptz;
COMMENT ON COLUMN tasks.worded_by IS 'Who last changed what its runs are told; NULL: nobody since it was made, or since this is kept.';

CREATE FUNCTION glow.sign_schedule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    NEW.changed_by := glow.principal_id();
    NEW.changed_at := now();
    RETURN NEW;
END $$;
CREATE TRIGGER sign BEFORE UPDATE ON schedules FOR EACH ROW EXECUTE FUNCTION glow.sign_schedule();

CREATE FUNCTION glow.sign_task_words() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    same boolean := (NEW.title, NEW.description, NEW.kind, NEW.input) IS NOT DISTINCT FROM
        (OLD.title, OLD.description, OLD.kind, OLD.input);
BEGIN
    NEW.worded_by := CASE WHEN same THEN OLD.worded_by ELSE glow.principal_id() END;
    NEW.worded_at := CASE WHEN same THEN OLD.worded_at ELSE now() END;
    RETURN NEW;
END $$;
CREATE TRIGGER sign_words BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION glow.sign_task_words();

-- As it was when the call was made: a schedule is changed and deleted while what it started still asks.
CREATE TABLE schedule_makers (
    organization_id uuid NOT NULL,
    call_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    PRIMARY KEY (organization_id, call_id, principal_id),
    FOREIGN KEY (organization_id, principal_id) REFERENCES memberships
);
COMMENT ON TABLE schedule_makers IS 'Who stands behind a call that no person asked for. Plumbing: triggers write it, for the server''s login too.';
CALL glow.isolate('schedule_makers');
CREATE POLICY visible ON schedule_makers AS RESTRICTIVE FOR SELECT TO glow_app USING ((SELECT glow.role()) <> 'CLIENT');
GRANT SELECT ON schedule_makers TO glow_app;

-- Who stands behind a call of the hub's beside whoever it is made as: of a task run whoever stands behind the call that began it,
-- and who put other words into an objective since, which its agent may have been given; of an agent's run, those of the task run
-- that it is of.
CREATE FUNCTION glow.stand_behind(call uuid, in_task_run uuid, in_run uuid) RETURNS uuid[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        WITH began AS (
            SELECT r.call_id, CASE WHEN r.kind = 'objective' AND t.worded_at > r.created_at THEN t.worded_by END AS worded_by
            FROM task_runs r JOIN tasks t ON t.organization_id = r.organization_id AND t.task_id = r.task_id
            WHERE r.organization_id = glow.organization_id() AND (r.task_run_id = in_task_run OR in_run IS NOT NULL
                AND r.task_run_id = (
                    SELECT substring(m.client_message_id FROM '^task_run/([0-9a-f-]{36})/')::uuid
                    FROM runs u JOIN messages m ON m.organization_id = u.organization_id
                        AND m.conversation_id = u.conversation_id AND m.run_id = u.run_id
                    WHERE u.organization_id = glow.organization_id() AND u.run_id = in_run
                      AND m.client_message_id ~ '^task_run/[0-9a-f-]{36}/' LIMIT 1)
                AND r.requested_by = (SELECT u.owner_id FROM runs u
                    WHERE u.organization_id = glow.organization_id() AND u.run_id = in_run))
        )
        SELECT coalesce(array_agg(DISTINCT behind.who), '{}')
        FROM (
            SELECT s.principal_id AS who FROM schedule_makers s
            WHERE s.organization_id = glow.organization_id() AND s.call_id IN (SELECT call UNION ALL SELECT b.call_id FROM began b)
            UNION ALL
            SELECT b.worded_by FROM began b
        ) behind WHERE behind.who IS NOT NULL;
    END;

CREATE FUNCTION glow.askers_of(call uuid, in_task_run uuid, in_run uuid, requester uuid) RETURNS uuid[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT requester || glow.stand_behind(call, in_task_run, in_run);
    END;

-- A due time's call is known by what asked for it, which no door takes from outside. Whoever changed the task's words since
-- somebody was last at the schedule has had them seen by nobody. A call made inside of another run has who stands behind that.
CREATE FUNCTION glow.note_schedule_makers() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    opened record;
    schedule uuid;
BEGIN
    SELECT e.request_id, e.task_run_id, e.run_id, e.door, e.principal_kind INTO opened FROM activity_events e
        WHERE e.organization_id = NEW.organization_id AND e.call_id = NEW.call_id AND e.opens;
    IF opened.door = 'worker' AND opened.principal_kind = 'service_account' THEN
        schedule := substring(opened.request_id FROM '^schedule/([0-9a-f-]{36})/')::uuid;
    END IF;
    INSERT INTO schedule_makers (organization_id, call_id, principal_id)
        SELECT NEW.organization_id, NEW.call_id, behind.who
        FROM (
            SELECT unnest(ARRAY[s.created_by, s.changed_by,
                CASE WHEN t.worded_at > coalesce(s.changed_at, s.created_at) THEN t.worded_by END]) AS who
            FROM schedules s JOIN tasks t ON t.organization_id = s.organization_id AND t.task_id = s.task_id
            WHERE s.organization_id = NEW.organization_id AND s.schedule_id = schedule
            UNION
            SELECT unnest(glow.stand_behind(NULL, opened.task_run_id, opened.run_id))
        ) behind WHERE behind.who IS NOT NULL
        ON CONFLICT DO NOTHING;
    IF schedule IS NOT NULL AND NOT EXISTS (
        SELECT FROM schedule_makers m WHERE m.organization_id = NEW.organization_id AND m.call_id = NEW.call_id)
    THEN
        RAISE EXCEPTION 'the schedule of this call is gone' USING ERRCODE = 'GL004';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_schedule_makers AFTER INSERT ON task_runs FOR EACH ROW EXECUTE FUNCTION glow.note_schedule_makers();
CREATE TRIGGER note_schedule_makers AFTER INSERT ON approvals FOR EACH ROW EXECUTE FUNCTION glow.note_schedule_makers();

-- As the functions of these names for one requester (0045), which an older server still calls.
CREATE FUNCTION glow.stands_in_for(needs text, needs_four_eyes boolean, askers uuid[])
    RETURNS TABLE (user_id uuid, role text, own boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT m.user_id, m.role, m.user_id = ANY (askers)
        FROM delegations d JOIN memberships m ON m.organization_id = d.organization_id AND m.user_id = d.delegator_id
        WHERE d.organization_id = glow.organization_id() AND d.delegate_id = glow.principal_id()
          AND d.revoked_at IS NULL AND d.starts_at <= now() AND d.ends_at > now()
          AND glow.deciding_rank(m.role) >= greatest(glow.deciding_rank(needs), 1)
          AND glow.deciding_rank(glow.role()) >= greatest(glow.deciding_rank(needs) - 1, 1)
        ORDER BY needs_four_eyes AND m.user_id = ANY (askers), glow.deciding_rank(m.role) DESC, d.given_at, d.delegation_id
        LIMIT 1;
    END;

CREATE FUNCTION glow.may_decide_for_another(needs text, needs_four_eyes boolean, askers uuid[]) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT glow.principal_id() <> ALL (askers) AND EXISTS (
            SELECT FROM glow.stands_in_for(needs, needs_four_eyes, askers) s WHERE NOT (needs_four_eyes AND s.own));
    END;

REVOKE EXECUTE ON FUNCTION glow.stand_behind, glow.askers_of, glow.stands_in_for(text, boolean, uuid[]),
    glow.may_decide_for_another(text, boolean, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.stand_behind, glow.askers_of, glow.stands_in_for(text, boolean, uuid[]),
    glow.may_decide_for_another(text, boolean, uuid[]) TO glow_app;

DROP POLICY visible ON approvals;
CREATE POLICY visible ON approvals AS RESTRICTIVE FOR SELECT TO glow_app
    USING (requested_by = (SELECT glow.principal_id())
           OR (tool <> 'preference_set' AND tool <> 'preference_forget'
               AND ((SELECT glow.deciding_rank(glow.role())) >= greatest(glow.deciding_rank(needs_role), 1)
                    OR ((SELECT glow.is_deputy())
                        AND glow.may_decide_for_another(needs_role, four_eyes,
                            glow.askers_of(call_id, task_run_id, run_id, requested_by))))));

-- The newest statements of these functions. New: all who asked.
CREATE OR REPLACE FUNCTION glow.hold_approval_to_its_course() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    askers uuid[];
BEGIN
    IF NEW.state <> OLD.state AND NOT glow.approval_may_become(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'an approval that is % does not become %', OLD.state, NEW.state USING ERRCODE = 'GL002';
    END IF;
    IF OLD.state <> 'pending' AND (NEW.decided_by, NEW.decided_for, NEW.decided_at, NEW.comment)
        IS DISTINCT FROM (OLD.decided_by, OLD.decided_for, OLD.decided_at, OLD.comment)
    THEN
        RAISE EXCEPTION 'what was decided of an approval stays as it was said' USING ERRCODE = 'GL002';
    END IF;
    -- Behind the policies that say so: a bug there lets nobody answer their own question.
    IF OLD.state = 'pending' AND NEW.state IN ('approved', 'executing', 'rejected') THEN
        askers := glow.askers_of(OLD.call_id, OLD.task_run_id, OLD.run_id, OLD.requested_by);
    END IF;
    IF OLD.four_eyes AND (NEW.decided_by = ANY (askers) OR NEW.decided_for = ANY (askers))
        OR NEW.decided_for IS NOT NULL AND NEW.decided_by = ANY (askers)
    THEN
        RAISE EXCEPTION 'whoever asked does not decide where four eyes are needed' USING ERRCODE = 'GL003';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION glow.deciders_of(approval uuid) RETURNS TABLE (email text, decides_for text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        WITH question AS (
            SELECT a.requested_by, glow.askers_of(a.call_id, a.task_run_id, a.run_id, a.requested_by) AS askers, a.four_eyes, greatest(glow.deciding_rank(a.needs_role), 1) AS needs,
                   a.tool IN ('preference_set', 'preference_forget') AS askers_own
            FROM approvals a
            WHERE a.organization_id = glow.organization_id() AND a.approval_id = approval AND a.state = 'pending'
        ), deciding AS (
            SELECT m.user_id, m.user_id AS for_whom, glow.deciding_rank(m.role) AS rank
            FROM memberships m, question q
            WHERE m.organization_id = glow.organization_id() AND glow.deciding_rank(m.role) >= q.needs
              AND NOT (q.four_eyes AND m.user_id = ANY (q.askers))
              AND (NOT q.askers_own OR m.user_id = q.requested_by)
            UNION ALL
            SELECT d.delegate_id, d.delegator_id, glow.deciding_rank(t.role)
            FROM question q, delegations d
            JOIN memberships m ON m.organization_id = d.organization_id AND m.user_id = d.delegator_id
            JOIN memberships t ON t.organization_id = d.organization_id AND t.user_id = d.delegate_id
            WHERE d.organization_id = glow.organization_id() AND d.revoked_at IS NULL AND d.starts_at <= now()
              AND d.ends_at > now() AND NOT q.askers_own
              AND glow.deciding_rank(m.role) >= q.needs AND glow.deciding_rank(t.role) < q.needs
              AND glow.deciding_rank(t.role) >= greatest(q.needs - 1, 1)
              AND d.delegate_id <> ALL (q.askers) AND NOT (q.four_eyes AND d.delegator_id = ANY (q.askers))
        ), once AS (
            SELECT DISTINCT ON (user_id) user_id, for_whom, rank FROM deciding ORDER BY user_id, for_whom
        )
        SELECT u.email, CASE WHEN o.for_whom <> o.user_id THEN w.email END
        FROM once o JOIN users u USING (user_id) JOIN users w ON w.user_id = o.for_whom
        WHERE u.kind = 'person'
        ORDER BY o.rank, u.email LIMIT 50;
    END;

CREATE OR REPLACE FUNCTION glow.open_call(call uuid) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object(
            'state', CASE WHEN EXISTS (SELECT FROM call_intents i WHERE i.organization_id = o.organization_id AND i.call_id = call)
                          THEN 'open' WHEN n.error_code = 'outcome_never_known' THEN 'never_known' ELSE 'ended' END,
            'tool', o.tool, 'engagement_id', o.engagement_id,
            'own', glow.principal_id() = ANY (glow.askers_of(o.call_id, o.task_run_id, o.run_id, o.principal_id)),
            'needs_role', coalesce(a.needs_role, CASE o.effect WHEN 'irreversible' THEN 'PARTNER' ELSE 'MANAGER' END),
            'four_eyes', coalesce(a.four_eyes, o.effect = 'irreversible', false))
        FROM activity_events o
        LEFT JOIN approvals a ON a.organization_id = o.organization_id AND a.call_id = o.call_id
        LEFT JOIN LATERAL (
            SELECT e.error_code FROM activity_events e
            WHERE e.organization_id = o.organization_id AND e.call_id = o.call_id
            ORDER BY e.occurred_at DESC, e.opens, e.kind = 'tool.allowed' LIMIT 1) n ON true
        WHERE o.organization_id = glow.organization_id() AND o.call_id = call AND o.opens
          AND (glow.reads_organization() OR o.principal_id = glow.principal_id());
    END;

-- New: what somebody approved who had asked, by whatever of the ways, earns nothing.
-- What the ledger's next events say of the agent's calls, from one place to another. Of payloads only
-- what a call by hand named and what a call of the agent's made. The hub's own service account counts for the firm, and reads
-- no call of anybody's otherwise: hence not under the record's row security.
CREATE OR REPLACE FUNCTION glow.autonomy_evidence(after bigint, upto bigint)
    RETURNS TABLE (leaf_index bigint, kind text, call_id uuid, tool text, effect text, mode text, occurred_at timestamptz,
        principal_id uuid, asked boolean, decided_by uuid, stands_in boolean, arguments text, result text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT l.leaf_index, e.kind, e.call_id, e.tool, e.effect, e.mode, e.occurred_at, e.principal_id,
            e.approval_id IS NOT NULL, d.principal_id,
            coalesce(d.stands_in, false),
            CASE WHEN e.mode = 'person' THEN (
                SELECT p.arguments FROM activity_events t
                JOIN activity_payloads p ON p.organization_id = t.organization_id AND p.event_id = t.event_id
                WHERE t.organization_id = e.organization_id AND t.call_id = e.call_id AND t.kind = 'tool.allowed') END,
            CASE WHEN e.mode = 'agent' AND e.kind = 'tool.completed'
                    AND e.tool IN ('task_create', 'task_run', 'document_upload') THEN (
                SELECT p.result FROM activity_payloads p
                WHERE p.organization_id = e.organization_id AND p.event_id = e.event_id) END
        FROM ledger_leaves l
        JOIN activity_events e ON e.organization_id = l.organization_id AND e.event_id = l.event_id
        -- Who decided: the decision and the call's ticket, or its rejection, are of one transaction. A number that another
        -- cluster has come to again, in a restored database, is told apart by the hour.
        LEFT JOIN LATERAL (
            SELECT t.xact_id, t.recorded_at FROM activity_events t
            WHERE e.approval_id IS NOT NULL AND t.organization_id = e.organization_id AND t.call_id = e.call_id
              AND t.kind = 'tool.allowed'
        ) t ON true
        LEFT JOIN LATERAL (
            SELECT a.principal_id, (a.facts::jsonb ->> 'approval_deputy_own') = 'true'
                OR (a.facts::jsonb ->> 'approval_own') = 'true' AS stands_in
            FROM activity_events a
            WHERE e.approval_id IS NOT NULL AND a.organization_id = e.organization_id AND a.tool = 'approval_decide'
              AND a.kind = 'tool.allowed' AND a.xact_id = coalesce(t.xact_id, e.xact_id)
              AND abs(extract(epoch FROM a.recorded_at - coalesce(t.recorded_at, e.recorded_at))) <= 3600
            ORDER BY a.event_id DESC LIMIT 1
        ) d ON true
        WHERE l.organization_id = glow.organization_id() AND l.leaf_index >= after AND l.leaf_index < upto
          AND glow.counts_for_autonomy(e)
          AND (glow.role() = 'SERVICE_ACCOUNT' OR glow.reads_organization())
        ORDER BY l.leaf_index;
    END;

-- New: `own` and `deputy_own` of a question speak of all who asked.
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
                    'engagement_id', a.engagement_id, 'own', for_principal = ANY (asking.askers), 'tool', a.tool,
                    'deputy_role', s.role, 'deputy_own', s.own)
                FROM approvals a
                CROSS JOIN LATERAL glow.askers_of(a.call_id, a.task_run_id, a.run_id, a.requested_by) asking (askers)
                LEFT JOIN LATERAL glow.stands_in_for(a.needs_role, a.four_eyes, asking.askers) s ON true
                WHERE a.organization_id = for_organization AND a.approval_id = subject.id::uuid)
            WHEN 'delegate' THEN (
                SELECT jsonb_build_object('role', m.role)
                FROM memberships m JOIN users u USING (user_id)
                WHERE m.organization_id = for_organization AND u.kind = 'person' AND lower(u.email) = lower(subject.id))
            WHEN 'delegation' THEN (
                SELECT jsonb_build_object('concerned', for_principal IN (d.delegator_id, d.delegate_id))
                FROM delegations d WHERE d.organization_id = for_organization AND d.delegation_id = subject.id::uuid)
            WHEN 'open_call' THEN
                glow.open_call(subject.id::uuid)
            END;
        facts := facts || jsonb_build_object(subject.key, found_subject);
    END LOOP;
    IF control <> '' THEN
        facts := facts || jsonb_build_object('control', glow.release_state(control, (subjects ->> 'engagement')::uuid));
    END IF;
    RETURN facts;
END $$;
