-- What a person asked to have remembered of how the agent speaks to them: theirs alone, in one organization, and erasable.

SET LOCAL lock_timeout = '5s';

CREATE TABLE preferences (
    organization_id uuid NOT NULL,
    preference_id uuid NOT NULL,
    user_id uuid NOT NULL,
    words text NOT NULL CHECK (length(words) BETWEEN 1 AND 300),
    -- Where it was said; no key to it: the conversation may be deleted, which is no change of this.
    conversation_id uuid,
    -- The call whose payload holds the words too, until they are changed or forgotten.
    call_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, preference_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships
);
CREATE INDEX preferences_listed ON preferences (organization_id, user_id, created_at, preference_id);

CALL glow.isolate('preferences');
CREATE POLICY visible ON preferences AS RESTRICTIVE TO glow_app
    USING (user_id = (SELECT glow.principal_id())) WITH CHECK (user_id = (SELECT glow.principal_id()));
GRANT SELECT, INSERT, DELETE ON preferences TO glow_app;
GRANT UPDATE (words, conversation_id, call_id, updated_at) ON preferences TO glow_app;
CALL glow.require_ticket('preferences');

-- Of one person two calls at once must not both find room for the last one.
CREATE FUNCTION glow.lock_preferences() RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('glow.preferences:' || glow.organization_id() || ':' || glow.principal_id(), 0));
$$;

-- Takes the words of a person's own earlier call out of the record's payloads; its events stand, with their digests.
-- Only inside a call that changes what is remembered.
CREATE FUNCTION glow.erase_preference_words(of_call uuid) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE activity_payloads p SET arguments = NULL, result = NULL
        FROM activity_events e
        WHERE e.organization_id = glow.organization_id() AND e.call_id = of_call
          AND e.principal_id = glow.principal_id() AND e.tool = 'preference_set'
          AND p.organization_id = e.organization_id AND p.event_id = e.event_id
          AND glow.has_ticket(glow.organization_id(), 'preferences');
    END;
REVOKE EXECUTE ON FUNCTION glow.lock_preferences, glow.erase_preference_words FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.lock_preferences, glow.erase_preference_words TO glow_app;

-- A question about what one is to be called is nobody else's to see or to answer.
DROP POLICY visible ON approvals;
CREATE POLICY visible ON approvals AS RESTRICTIVE FOR SELECT TO glow_app
    USING (requested_by = (SELECT glow.principal_id())
           OR (tool <> 'preference_set' AND tool <> 'preference_forget'
               AND (SELECT glow.deciding_rank(glow.role())) >= greatest(glow.deciding_rank(needs_role), 1)));

-- Words without case, marks and spaces, a space around each: what is left when two texts are compared for the same words.
CREATE FUNCTION glow.bare_words(words text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ' ' || btrim(regexp_replace(lower(words), '[^[:alnum:]]+', ' ', 'g')) || ' ';
$$;

-- Of words that are to be remembered: whether they stand in the message that the run answers, and whether the run has
-- been told anything before by a call, which may come from somebody else. A message that SQL cannot read holds nothing.
CREATE FUNCTION glow.statement_facts(of_run uuid, words text) RETURNS jsonb
    LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'own', btrim(glow.bare_words(words)) <> '' AND EXISTS (
            SELECT FROM messages m
            WHERE m.organization_id = glow.organization_id() AND m.run_id = of_run AND m.role = 'user'
              AND CASE WHEN position('\u0000' IN m.content) > 0 THEN false
                       ELSE position(glow.bare_words(words) IN glow.bare_words(m.content::jsonb ->> 'text')) > 0 END),
        'told', EXISTS (
            SELECT FROM activity_events e JOIN runs r ON r.organization_id = e.organization_id AND r.run_id = of_run
            WHERE e.organization_id = glow.organization_id() AND e.conversation_id = r.conversation_id
              AND e.run_id = of_run AND e.outcome = 'done'
              AND e.tool NOT IN ('preference_set', 'preference_forget', 'agent_handover')));
$$;
REVOKE EXECUTE ON FUNCTION glow.bare_words, glow.statement_facts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.bare_words, glow.statement_facts TO glow_app;

-- The newest statement of glow.begin_call. New: `statement`, words that are to be remembered as said in a run's message.
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
                    'engagement_id', a.engagement_id, 'own', a.requested_by = for_principal, 'tool', a.tool)
                FROM approvals a WHERE a.organization_id = for_organization AND a.approval_id = subject.id::uuid)
            END;
        facts := facts || jsonb_build_object(subject.key, found_subject);
    END LOOP;
    IF control <> '' THEN
        facts := facts || jsonb_build_object('control', glow.release_state(control, (subjects ->> 'engagement')::uuid));
    END IF;
    RETURN facts;
END $$;
