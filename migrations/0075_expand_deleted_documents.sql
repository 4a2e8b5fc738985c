-- Every deleted document has a time after which nothing of it is left, and policy knows facts of one that is to come back.

SET LOCAL lock_timeout = '5s';

-- What was deleted before 0062 was to be restored for good, so whoever wants it back has thirty days from now. The owner's own
-- policy lets this statement see the rows of every organization.
UPDATE knowledge_documents SET purge_at = now() + interval '30 days' WHERE deleted_at IS NOT NULL AND purge_at IS NULL;
ALTER TABLE knowledge_documents ADD CONSTRAINT knowledge_documents_purged
    CHECK (deleted_at IS NULL OR purge_at IS NOT NULL) NOT VALID;
COMMENT ON COLUMN knowledge_documents.purge_at IS 'Until when a deleted document can be restored.';

-- The newest statement of glow.begin_call. New: `deleted_document`, one that is seen by nobody and may come back.
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
            WHEN 'deleted_document' THEN (
                SELECT jsonb_build_object('engagement_id', d.engagement_id, 'audience', d.audience, 'trust', d.trust,
                    'own', d.uploaded_by = for_principal)
                FROM knowledge_documents d
                WHERE d.organization_id = for_organization AND d.document_id = subject.id::uuid AND d.deleted_at IS NOT NULL)
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
