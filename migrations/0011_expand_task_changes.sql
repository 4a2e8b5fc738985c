-- Tasks can be changed without losing anybody's change, and a run that was cancelled makes no further step.

-- Grows by one with each change: whoever wants to change only what was read says which version that was.
ALTER TABLE tasks ADD COLUMN version integer NOT NULL DEFAULT 1;

-- That a run is to stop is a call's word, unlike the progress beside it: append-only, one row a run.
CREATE TABLE task_run_cancellations (
    organization_id uuid NOT NULL,
    task_run_id uuid NOT NULL,
    call_id uuid NOT NULL,
    cancelled_by uuid NOT NULL,
    cancelled_at timestamptz NOT NULL,
    reason text NOT NULL DEFAULT '',
    PRIMARY KEY (organization_id, task_run_id),
    FOREIGN KEY (organization_id, task_run_id) REFERENCES task_runs,
    FOREIGN KEY (organization_id, cancelled_by) REFERENCES memberships
);
CALL glow.isolate('task_run_cancellations');
CREATE POLICY visible ON task_run_cancellations AS RESTRICTIVE FOR SELECT TO glow_app
    USING (EXISTS (SELECT FROM task_runs r WHERE r.organization_id = task_run_cancellations.organization_id
                   AND r.task_run_id = task_run_cancellations.task_run_id));
GRANT SELECT, INSERT ON task_run_cancellations TO glow_app;
CALL glow.require_ticket('task_run_cancellations');

-- A fact for policy, and it must hold also for a requester who sees the run no longer: hence not under its row security.
CREATE FUNCTION glow.task_run_cancelled(run uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM task_run_cancellations c
            WHERE c.organization_id = glow.organization_id() AND c.task_run_id = run);
    END;

-- Held shared by a step's call from asking for an approval to its commit, and exclusively by a cancellation: so the one
-- finds every question that the other left, or the other finds that there is nothing to ask any more.
CREATE FUNCTION glow.lock_task_run(run uuid, exclusively boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    key bigint := hashtextextended('glow.task_run:' || glow.organization_id() || ':' || run, 0);
BEGIN
    IF exclusively THEN
        PERFORM pg_advisory_xact_lock(key);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(key);
    END IF;
END $$;

-- Whoever may cancel a run cancels the questions of its steps, also those that only a higher role may answer and see.
-- The tickets of the table hold here as everywhere: they look at the login.
CREATE FUNCTION glow.cancel_approvals_of_run(run uuid, by_whom uuid, why text, at_time timestamptz)
    RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET state = 'cancelled', decided_by = by_whom, decided_at = at_time, comment = why
        WHERE a.organization_id = glow.organization_id() AND a.task_run_id = run AND a.state = 'pending'
          AND a.expires_at > at_time
        RETURNING a.*;
    END;
CREATE INDEX approvals_task_run ON approvals (organization_id, task_run_id) WHERE task_run_id IS NOT NULL;

-- The newest statement of glow.begin_call. New: `step_of`, the task run that a call is a step of.
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
    FOR subject IN SELECT key, value #>> '{}' AS id FROM jsonb_each(subjects) LOOP
        found_subject := CASE subject.key
            WHEN 'task' THEN (
                SELECT jsonb_build_object('kind', t.kind, 'engagement_id', t.engagement_id, 'status', t.status,
                    'own', coalesce(t.created_by = for_principal OR t.assignee_id = for_principal, false))
                FROM tasks t WHERE t.organization_id = for_organization AND t.task_id = subject.id::uuid)
            WHEN 'task_run' THEN (
                SELECT jsonb_build_object('kind', r.kind, 'own', r.requested_by = for_principal)
                FROM task_runs r WHERE r.organization_id = for_organization AND r.task_run_id = subject.id::uuid)
            WHEN 'document' THEN (
                SELECT jsonb_build_object('engagement_id', d.engagement_id, 'audience', d.audience, 'trust', d.trust,
                    'own', d.uploaded_by = for_principal)
                FROM knowledge_documents d
                WHERE d.organization_id = for_organization AND d.document_id = subject.id::uuid AND d.deleted_at IS NULL)
            WHEN 'engagement' THEN (
                SELECT jsonb_build_object('member', EXISTS (
                    SELECT FROM engagement_members em WHERE em.organization_id = for_organization
                      AND em.engagement_id = e.engagement_id AND em.user_id = for_principal))
                FROM engagements e WHERE e.organization_id = for_organization AND e.engagement_id = subject.id::uuid)
            WHEN 'assignee' THEN (
                SELECT jsonb_build_object('self', u.user_id = for_principal)
                FROM users u WHERE lower(u.email) = lower(subject.id))
            WHEN 'step_of' THEN
                jsonb_build_object('cancelled', glow.task_run_cancelled(subject.id::uuid))
            WHEN 'approval' THEN (
                SELECT jsonb_build_object('state', a.state, 'needs_role', a.needs_role, 'four_eyes', a.four_eyes,
                    'own', a.requested_by = for_principal, 'tool', a.tool)
                FROM approvals a WHERE a.organization_id = for_organization AND a.approval_id = subject.id::uuid)
            END;
        facts := facts || jsonb_build_object(subject.key, found_subject);
    END LOOP;
    IF control <> '' THEN
        facts := facts || jsonb_build_object('control', glow.release_state(control, (subjects ->> 'engagement')::uuid));
    END IF;
    RETURN facts;
END $$;

REVOKE EXECUTE ON FUNCTION glow.task_run_cancelled, glow.lock_task_run, glow.cancel_approvals_of_run FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.task_run_cancelled, glow.lock_task_run, glow.cancel_approvals_of_run TO glow_app;
