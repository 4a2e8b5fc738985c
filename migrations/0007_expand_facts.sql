-- One round trip sets a transaction's context and brings back what policy needs. SECURITY INVOKER: it reads as the
-- application's role, under the very context it sets.

CREATE FUNCTION glow.begin_session(for_organization uuid, for_principal uuid) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    held_role text;
    own_engagements uuid[];
BEGIN
    PERFORM set_config('glow.organization_id', for_organization::text, true),
            set_config('glow.principal_id', for_principal::text, true);
    SELECT m.role INTO held_role FROM memberships m
        WHERE m.organization_id = for_organization AND m.user_id = for_principal;
    IF held_role = 'CLIENT' THEN
        SELECT array_agg(em.engagement_id) INTO own_engagements FROM engagement_members em
            WHERE em.organization_id = for_organization AND em.user_id = for_principal;
    END IF;
    PERFORM set_config('glow.role', coalesce(held_role, ''), true),
            set_config('glow.engagements', coalesce(own_engagements, '{}')::text, true);
    RETURN held_role;
END $$;

-- The computed state of a release control for an engagement: the newest sign-off of each needed kind and subject
-- counts, one rejection is enough to ask for changes. Version is that of the subject signed: a newer version's row
-- takes the older one's place.
CREATE FUNCTION glow.release_state(control text, for_engagement uuid) RETURNS jsonb
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        WITH needed AS (
            SELECT unnest(c.needs) AS kind FROM release_controls c
            WHERE c.organization_id = glow.organization_id() AND c.name = control
        ), newest AS (
            SELECT DISTINCT ON (s.kind) s.kind, s.decision FROM sign_offs s
            WHERE s.organization_id = glow.organization_id() AND s.engagement_id = for_engagement
              AND s.kind IN (SELECT kind FROM needed)
            ORDER BY s.kind, s.signed_at DESC, s.sign_off_id DESC
        )
        SELECT jsonb_build_object(
            'state', CASE
                WHEN NOT EXISTS (SELECT FROM needed) THEN 'not_applicable'
                WHEN EXISTS (SELECT FROM newest WHERE decision = 'reject') THEN 'changes_required'
                WHEN EXISTS (SELECT FROM needed n WHERE NOT EXISTS (SELECT FROM newest w WHERE w.kind = n.kind)) THEN 'pending'
                ELSE 'satisfied' END,
            'missing', coalesce((SELECT jsonb_agg(n.kind ORDER BY n.kind) FROM needed n
                WHERE NOT EXISTS (SELECT FROM newest w WHERE w.kind = n.kind AND w.decision = 'accept')), '[]'));
    END;

-- subjects: what the manifest says the arguments speak of: {"task", "task_run", "document", "engagement", "assignee"
-- (an e-mail), "approval"}. A subject that this principal cannot see comes back as null: the same for none and for another
-- organization's.
CREATE FUNCTION glow.begin_call(for_organization uuid, for_principal uuid, tool text, subjects jsonb, control text)
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

REVOKE EXECUTE ON FUNCTION glow.begin_session, glow.begin_call, glow.release_state FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.begin_session, glow.begin_call, glow.release_state TO glow_app;
