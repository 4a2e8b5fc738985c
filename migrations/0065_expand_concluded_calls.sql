-- A call that acts outside, and of which nobody can find out how it ended, is closed by a person who says so: by a call of its
-- own (`call_conclude`), which these functions look for.

SET LOCAL lock_timeout = '5s';

-- What policy must know of a call that is to be closed: who asked, and who may say how it ended: whoever could have decided its
-- question; of one that was never asked about, a MANAGER, and of an irreversible one a PARTNER who is not whoever asked.
-- `state`: open; never_known, where nobody could be asked any more; ended. NULL: no such call that this principal may see.
CREATE FUNCTION glow.open_call(call uuid) RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object(
            'state', CASE WHEN EXISTS (SELECT FROM call_intents i WHERE i.organization_id = o.organization_id AND i.call_id = call)
                          THEN 'open' WHEN n.error_code = 'outcome_never_known' THEN 'never_known' ELSE 'ended' END,
            'tool', o.tool, 'engagement_id', o.engagement_id, 'own', o.principal_id = glow.principal_id(),
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

-- The calls that are under way outside or were left there, newest first, for whoever reads the organization's record; else one's
-- own. An intent itself is seen by whoever made it, and by the hub.
CREATE FUNCTION glow.open_calls(before timestamptz, behind uuid, most integer)
    RETURNS TABLE (call_id uuid, tool text, begun_at timestamptz, asked_by text, needs_role text, four_eyes boolean,
        approval_id uuid, conversation_id uuid, run_id uuid, task_run_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT i.call_id, i.tool, i.begun_at, u.email, f.facts ->> 'needs_role', (f.facts ->> 'four_eyes')::boolean,
               i.approval_id, i.conversation_id, i.run_id, i.task_run_id
        FROM call_intents i JOIN users u ON u.user_id = i.principal_id
        CROSS JOIN LATERAL (SELECT glow.open_call(i.call_id) AS facts) f
        WHERE i.organization_id = glow.organization_id() AND f.facts IS NOT NULL
          AND (before IS NULL OR (i.begun_at, i.call_id) < (before, behind))
        ORDER BY i.begun_at DESC, i.call_id DESC LIMIT most;
    END;

-- Closes a call, once: gives who made it and where, as its intent has it, or its first event. Nobody else says more of it until
-- this transaction is over, and nothing comes of it without the event of `call_conclude` that it stands in.
CREATE FUNCTION glow.close_call(call uuid)
    RETURNS TABLE (organization_id uuid, call_id uuid, principal_id uuid, principal_kind text, mode text, door text,
        scheduled boolean, tool text, arguments text, approval_id uuid, conversation_id uuid, run_id uuid, task_run_id uuid,
        engagement_id uuid, agent_ceiling smallint, begun_at timestamptz, manifest_digest bytea)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (
        SELECT FROM activity_events e
        WHERE e.organization_id = glow.organization_id() AND e.xact_id = pg_current_xact_id()
          AND e.recorded_at >= transaction_timestamp() - interval '1 minute'
          AND e.kind = 'tool.allowed' AND e.tool = 'call_conclude' AND e.mode = 'person')
    THEN
        RAISE EXCEPTION 'a call is closed by hand in a call of call_conclude' USING ERRCODE = 'GL001';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('glow.intent:' || call, 0));
    RETURN QUERY
        DELETE FROM call_intents i WHERE i.organization_id = glow.organization_id() AND i.call_id = call
        RETURNING i.organization_id, i.call_id, i.principal_id, i.principal_kind, i.mode, i.door, i.scheduled, i.tool,
            i.arguments, i.approval_id, i.conversation_id, i.run_id, i.task_run_id, i.engagement_id, i.agent_ceiling,
            i.begun_at, i.manifest_digest;
    IF FOUND THEN
        RETURN;
    END IF;
    -- One that was given up had been begun an hour before that: nobody is at it.
    RETURN QUERY
        SELECT o.organization_id, o.call_id, o.principal_id, o.principal_kind, o.mode, o.door, false, o.tool, '{}'::text,
            n.approval_id, o.conversation_id, o.run_id, o.task_run_id, o.engagement_id, 3::smallint,
            n.occurred_at - interval '1 hour',
            o.manifest_digest
        FROM activity_events o
        JOIN LATERAL (
            SELECT e.error_code, e.approval_id, e.occurred_at FROM activity_events e
            WHERE e.organization_id = o.organization_id AND e.call_id = o.call_id
            ORDER BY e.occurred_at DESC, e.opens, e.kind = 'tool.allowed' LIMIT 1) n ON true
        WHERE o.organization_id = glow.organization_id() AND o.call_id = call AND o.opens
          AND n.error_code = 'outcome_never_known';
END $$;

-- A call that counted in budgets, and was not made: what it took is given back on the day on which it was counted, of each budget
-- that was set then. Locked in the order of all budgets; once, beside the event that says so.
CREATE FUNCTION glow.uncount_call(call uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    made record;
    counter record;
    held bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM activity_events e
        WHERE e.organization_id = glow.organization_id() AND e.call_id = call AND e.xact_id = pg_current_xact_id()
          AND e.recorded_at >= transaction_timestamp() - interval '1 minute' AND e.error_code = 'stated_not_made')
    THEN
        RAISE EXCEPTION 'nobody has said that this call was not made' USING ERRCODE = 'GL001';
    END IF;
    SELECT e.organization_id, e.principal_id, e.run_id, e.occurred_at, 'calls:' || e.effect AS measure,
           to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day
        INTO made FROM activity_events e
        WHERE e.organization_id = glow.organization_id() AND e.call_id = call AND e.kind = 'tool.allowed';
    FOR counter IN
        SELECT u.scope, u.subject, u.period
        FROM (VALUES ('organization', made.organization_id, made.day), ('member', made.principal_id, made.day),
                     ('run', made.run_id, 'run')) AS counted (scope, subject, period)
        JOIN budget_use u ON u.organization_id = made.organization_id AND u.scope = counted.scope
            AND u.subject = counted.subject AND u.measure = made.measure AND u.period = counted.period
        WHERE (SELECT s.most IS NOT NULL FROM budget_settings s
               WHERE s.organization_id = made.organization_id AND s.scope = counted.scope AND s.measure = made.measure
                 AND (s.member_id IS NULL OR s.member_id = made.principal_id) AND s.changed_at <= made.occurred_at
               ORDER BY s.changed_at DESC, s.setting_id DESC LIMIT 1)
        ORDER BY glow.budget_place(u.scope)
    LOOP
        PERFORM FROM budget_use u WHERE u.organization_id = made.organization_id AND u.scope = counter.scope
            AND u.subject = counter.subject AND u.measure = made.measure AND u.period = counter.period FOR UPDATE;
        DELETE FROM budget_reservations r WHERE r.organization_id = made.organization_id AND r.scope = counter.scope
            AND r.subject = counter.subject AND r.measure = made.measure AND r.period = counter.period AND r.call_id = call
            RETURNING r.amount INTO held;
        UPDATE budget_use u SET reserved = u.reserved - coalesce(held, 0),
                used = greatest(u.used - CASE WHEN held IS NULL THEN 1 ELSE 0 END, 0)
            WHERE u.organization_id = made.organization_id AND u.scope = counter.scope AND u.subject = counter.subject
              AND u.measure = made.measure AND u.period = counter.period;
    END LOOP;
END $$;

REVOKE EXECUTE ON FUNCTION glow.open_call, glow.open_calls, glow.close_call, glow.uncount_call FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.open_call, glow.open_calls, glow.close_call, glow.uncount_call TO glow_app;

-- The newest statement of glow.begin_call. New: `open_call`, a call that a person is to say the end of.
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
