-- Policies of an organization's own, which only forbid or demand approval. Append-only: the newest change of a policy says
-- whether it is in force, and the newest of all tells the digest of what is, which comes with the facts of each call.

SET LOCAL lock_timeout = '5s';

CREATE TABLE organization_policies (
    organization_id uuid NOT NULL REFERENCES organizations,
    change_id uuid NOT NULL,
    policy_id text NOT NULL CHECK (policy_id ~ '^[a-z][a-z0-9_]{0,63}$'),
    text text CHECK (length(text) BETWEEN 1 AND 4000),
    reason text NOT NULL,
    changed_by uuid NOT NULL,
    changed_at timestamptz NOT NULL,
    digest bytea CHECK (length(digest) = 32),
    PRIMARY KEY (organization_id, change_id),
    FOREIGN KEY (organization_id, changed_by) REFERENCES memberships
);
COMMENT ON COLUMN organization_policies.text IS 'NULL: the policy is in force no more.';
COMMENT ON COLUMN organization_policies.digest IS 'Of all that is in force from this change on; NULL: nothing is.';
CREATE INDEX organization_policies_newest ON organization_policies (organization_id, changed_at DESC, change_id DESC);
CREATE INDEX organization_policies_of_id ON organization_policies
    (organization_id, policy_id, changed_at DESC, change_id DESC);

-- No member is kept from reading them: they bind everybody, a CLIENT too, and a call's facts are read as its own caller.
CALL glow.isolate('organization_policies');
GRANT SELECT, INSERT ON organization_policies TO glow_app;
CALL glow.require_ticket('organization_policies');

-- Policies of an organization are changed one after another, so that none is made of what another has just replaced.
CREATE FUNCTION glow.lock_policies() RETURNS void LANGUAGE sql VOLATILE
    BEGIN ATOMIC
        SELECT pg_advisory_xact_lock(hashtextextended('glow.policies:' || glow.organization_id(), 0));
    END;
REVOKE EXECUTE ON FUNCTION glow.lock_policies FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.lock_policies TO glow_app;

-- The newest statement of glow.begin_call. New: `policies`, the digest of the organization's own, where it has any.
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

-- A page of one part of what is held of the person. New: `organization_policies`, those that the person put in force or
-- took back.
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
