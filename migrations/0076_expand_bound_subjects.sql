-- What a call that waits names is bound as well as what it says: a digest of each subject, as it stood when a person was asked.
-- Beside it: the runs of the agent that do one task are charged as one run, and it can be asked whether budgets have room.

SET LOCAL lock_timeout = '5s';

ALTER TABLE approvals ADD COLUMN subjects jsonb;
COMMENT ON COLUMN approvals.subjects IS 'What the call names, as it stood when it was asked about: {"salt", "subjects": [{"subject", '
    '"argument", "digest"}]}, both as hex. NULL: asked before this was kept, or its arguments are erased.';

-- What returns whole rows is stated anew, since the table has one column more now; nothing else of it has changed.
CREATE OR REPLACE FUNCTION glow.expire_approval(approval uuid, at_time timestamptz) RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET state = 'expired', decided_at = at_time
        WHERE a.organization_id = glow.organization_id() AND a.approval_id = approval AND a.state = 'pending'
          AND a.expires_at <= at_time
        RETURNING a.*;
    END;

CREATE OR REPLACE FUNCTION glow.cancel_approvals_of_conversation(run uuid, why text, at_time timestamptz)
    RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a
        SET state = CASE WHEN a.expires_at <= at_time THEN 'expired' ELSE 'cancelled' END,
            decided_by = CASE WHEN a.expires_at > at_time AND glow.run_over(run, NULL) IS DISTINCT FROM 'failed'
                              THEN a.requested_by END,
            comment = CASE WHEN a.expires_at > at_time THEN why END,
            decided_at = at_time
        WHERE a.organization_id = glow.organization_id() AND a.run_id = run AND a.state = 'pending'
        RETURNING a.*;
    END;

CREATE OR REPLACE FUNCTION glow.cancel_approvals_of_run(run uuid, by_whom uuid, why text, at_time timestamptz)
    RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET state = 'cancelled', decided_by = by_whom, decided_at = at_time, comment = why
        WHERE a.organization_id = glow.organization_id() AND a.task_run_id = run AND a.state = 'pending'
          AND a.expires_at > at_time
        RETURNING a.*;
    END;

CREATE OR REPLACE FUNCTION glow.finish_approval_of(call uuid) RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET state = CASE WHEN e.kind = 'tool.completed' THEN 'executed' ELSE 'failed' END
        FROM activity_events e
        WHERE a.organization_id = glow.organization_id() AND a.call_id = call AND a.state = 'executing'
          AND e.organization_id = a.organization_id AND e.call_id = a.call_id
          AND e.kind IN ('tool.completed', 'tool.failed')
        RETURNING a.*;
    END;

CREATE OR REPLACE FUNCTION glow.remind_of_approval(approval uuid, at_time timestamptz) RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET reminded_at = at_time
        WHERE a.organization_id = glow.organization_id() AND a.approval_id = approval AND a.state = 'pending'
          AND a.expires_at > at_time AND a.reminded_at IS NULL
        RETURNING a.*;
    END;

CREATE OR REPLACE FUNCTION glow.cancel_approvals_of_erased(erasure uuid, why text, at_time timestamptz, most integer)
    RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET state = 'cancelled', decided_at = at_time, comment = why
        WHERE a.organization_id = glow.organization_id() AND a.approval_id IN (
            SELECT p.approval_id
            FROM erasures e JOIN approvals p ON p.organization_id = e.organization_id
            WHERE e.organization_id = glow.organization_id() AND e.erasure_id = erasure AND e.state = 'ending'
              AND p.state = 'pending' AND (p.requested_by = e.user_id OR glow.names_person(e.known_as, p.arguments))
            ORDER BY p.approval_id LIMIT most FOR UPDATE OF p)
        RETURNING a.*;
    END;

-- Where the arguments go, what could be guessed from a digest of what they name goes too.
CREATE FUNCTION glow.forget_subjects() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.arguments <> OLD.arguments THEN
        NEW.subjects := NULL;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER subjects_with_arguments BEFORE UPDATE OF arguments ON approvals
    FOR EACH ROW EXECUTE FUNCTION glow.forget_subjects();

-- A subject in words, as far as the reader may see it: pairs of a name and a value, in the order in which they are read. NULL: no
-- such thing. What row security lets the reader see is all it looks at; glow.subject_digests reads it as the owner, so that a
-- digest does not hang on who computes it.
CREATE FUNCTION glow.subject_words(subject text, id text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    here uuid := glow.organization_id();
    named uuid := CASE WHEN id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN id::uuid END;
BEGIN
    RETURN CASE subject
        WHEN 'task' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('title', t.title), jsonb_build_array('description', t.description),
                jsonb_build_array('kind', t.kind), jsonb_build_array('input', nullif(t.input, '{}')),
                jsonb_build_array('status', t.status), jsonb_build_array('seen by', t.audience),
                jsonb_build_array('engagement', coalesce(e.name, t.engagement_id::text)),
                jsonb_build_array('given to', coalesce(u.email, t.assignee_id::text)),
                jsonb_build_array('due on', to_char(t.due_on, 'YYYY-MM-DD')), jsonb_build_array('version', t.version))
            FROM tasks t LEFT JOIN engagements e USING (organization_id, engagement_id) LEFT JOIN users u ON u.user_id = t.assignee_id
            WHERE t.organization_id = here AND t.task_id = named)
        -- What whoever sees the task sees besides: what its runs were given and said, and its reminders.
        WHEN 'task_runs' THEN (
            SELECT jsonb_build_array(jsonb_build_array('runs', (
                    SELECT count(*) FROM task_runs r WHERE r.organization_id = here AND r.task_id = named)))
                || coalesce((
                    SELECT jsonb_agg(jsonb_build_array('run', concat_ws(' ', r.kind, r.input, p.failure,
                            CASE WHEN p.finished_at IS NOT NULL THEN p.message END)) ORDER BY r.created_at DESC, r.task_run_id DESC)
                    FROM task_runs r LEFT JOIN task_run_progress p USING (organization_id, task_run_id)
                    WHERE r.organization_id = here AND r.task_id = named), '[]')
                || coalesce((
                    SELECT jsonb_agg(jsonb_build_array('reminder', m.text) ORDER BY m.reminded_at DESC, m.reminder_id DESC)
                    FROM task_reminders m WHERE m.organization_id = here AND m.task_id = named), '[]')
            WHERE EXISTS (SELECT FROM tasks t WHERE t.organization_id = here AND t.task_id = named))
        WHEN 'task_run' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('task', t.title), jsonb_build_array('kind', r.kind),
                jsonb_build_array('input', nullif(r.input, '{}')),
                jsonb_build_array('asked for by', coalesce(u.email, r.requested_by::text)))
            FROM task_runs r LEFT JOIN tasks t USING (organization_id, task_id) LEFT JOIN users u ON u.user_id = r.requested_by
            WHERE r.organization_id = here AND r.task_run_id = named)
        WHEN 'document' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('title', d.title), jsonb_build_array('kept at', d.uri),
                jsonb_build_array('seen by', CASE WHEN d.audience LIKE 'readers:%'
                    THEN 'chosen readers, set ' || substr(d.audience, 9) ELSE d.audience END),
                jsonb_build_array('engagement', coalesce(e.name, d.engagement_id::text)), jsonb_build_array('trust', d.trust),
                jsonb_build_array('version', d.version), jsonb_build_array('content', encode(d.content_sha256, 'hex')),
                jsonb_build_array('replaced', CASE WHEN d.replaced_by IS NOT NULL THEN 'by a later version' END),
                jsonb_build_array('deleted', CASE WHEN d.deleted_at IS NOT NULL THEN 'yes' END))
            FROM knowledge_documents d LEFT JOIN engagements e USING (organization_id, engagement_id)
            WHERE d.organization_id = here AND d.document_id = named)
        WHEN 'engagement' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('name', e.name), jsonb_build_array('client', e.client_name),
                jsonb_build_array('seen by the clients', (
                    SELECT string_agg(u.email, ', ' ORDER BY u.email COLLATE "C")
                    FROM engagement_members em JOIN memberships m USING (organization_id, user_id)
                    JOIN users u ON u.user_id = em.user_id
                    WHERE em.organization_id = here AND em.engagement_id = named AND m.role = 'CLIENT')))
            FROM engagements e WHERE e.organization_id = here AND e.engagement_id = named)
        WHEN 'sign_offs' THEN (
            SELECT jsonb_agg(jsonb_build_array(s.kind, concat_ws(' ', s.decision || ':', s.subject, 'version', s.version))
                ORDER BY s.kind COLLATE "C", s.subject COLLATE "C")
            FROM (SELECT DISTINCT ON (o.kind, o.subject) o.kind, o.subject, o.decision, o.version FROM sign_offs o
                  WHERE o.organization_id = here AND o.engagement_id = named
                  ORDER BY o.kind, o.subject, o.signed_at DESC) s)
        WHEN 'person' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('name', u.display_name), jsonb_build_array('address', u.email),
                jsonb_build_array('role', m.role))
            FROM users u JOIN memberships m USING (user_id)
            WHERE m.organization_id = here AND lower(u.email) = lower(id))
        WHEN 'delegation' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('stands in', coalesce(b.email, d.delegate_id::text)),
                jsonb_build_array('for', coalesce(a.email, d.delegator_id::text)),
                jsonb_build_array('from', to_char(d.starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')),
                jsonb_build_array('until', to_char(d.ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')),
                jsonb_build_array('revoked', CASE WHEN d.revoked_at IS NOT NULL THEN 'yes' END))
            FROM delegations d LEFT JOIN users a ON a.user_id = d.delegator_id LEFT JOIN users b ON b.user_id = d.delegate_id
            WHERE d.organization_id = here AND d.delegation_id = named)
        WHEN 'schedule' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('runs', t.title), jsonb_build_array('task version', t.version),
                jsonb_build_array('due', s.cron), jsonb_build_array('on the clock of', s.time_zone),
                jsonb_build_array('input', nullif(s.input, '{}')),
                jsonb_build_array('paused', CASE WHEN s.paused THEN 'yes' END))
            FROM schedules s LEFT JOIN tasks t USING (organization_id, task_id)
            WHERE s.organization_id = here AND s.schedule_id = named)
        WHEN 'source' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('name', s.name), jsonb_build_array('kind', s.kind), jsonb_build_array('settings', s.settings),
                jsonb_build_array('seen by', s.audience),
                jsonb_build_array('engagement', coalesce(e.name, s.engagement_id::text)), jsonb_build_array('trust', s.trust))
            FROM knowledge_sources s LEFT JOIN engagements e USING (organization_id, engagement_id)
            WHERE s.organization_id = here AND s.source_id = named)
        WHEN 'preference' THEN (
            SELECT jsonb_build_array(jsonb_build_array('words', p.words))
            FROM preferences p WHERE p.organization_id = here AND p.preference_id = named)
        WHEN 'autonomy_proposal' THEN (
            SELECT jsonb_build_array(
                jsonb_build_array('tool', p.tool), jsonb_build_array('from', 'L' || p.from_level),
                jsonb_build_array('to', 'L' || p.to_level), jsonb_build_array('state', p.state))
            FROM autonomy_proposals p WHERE p.organization_id = here AND p.proposal_id = named)
        -- No row: what its files say is known by its digest.
        WHEN 'workflow' THEN jsonb_build_array(jsonb_build_array('digest', id))
        END;
END $$;

-- The same, no longer than somebody reads: {"words": [[name, value], ...], "more": how many of them are left out}.
CREATE FUNCTION glow.subject_shown(subject text, id text, most integer, longest integer) RETURNS jsonb
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT jsonb_build_object(
            'words', jsonb_agg(jsonb_build_array(w.value ->> 0, left(w.value ->> 1, longest)) ORDER BY w.place)
                FILTER (WHERE w.place <= most),
            'more', count(*) FILTER (WHERE w.place > most),
            'cut', bool_or(w.place <= most AND length(w.value ->> 1) > longest))
        FROM (SELECT e.value, row_number() OVER (ORDER BY e.place) AS place
              FROM jsonb_array_elements(glow.subject_words(subject, id)) WITH ORDINALITY e (value, place)
              WHERE e.value -> 1 <> 'null') w
        HAVING count(*) > 0;
    END;

-- A digest of each of the subjects named ([{"subject", "id"}]), in their order, as hex; null where there is no such thing. It tells
-- whether something changed, and nothing of it. `hold`: what they stand in is locked until the transaction ends, in one order,
-- before they are read, so that none of them changes between the look and the work.
CREATE FUNCTION glow.subject_digests(named jsonb, salt bytea, hold boolean) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    here uuid := glow.organization_id();
    each record;
    key uuid;
BEGIN
    IF hold THEN
        FOR each IN
            SELECT DISTINCT n.subject, n.id FROM jsonb_to_recordset(named) AS n (subject text, id text) ORDER BY 1, 2
        LOOP
            key := CASE WHEN each.id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN each.id::uuid END;
            CASE each.subject
                -- A run and a reminder are begun under a key to their task.
                WHEN 'task', 'task_runs' THEN
                    PERFORM FROM tasks t WHERE t.organization_id = here AND t.task_id = key FOR UPDATE;
                WHEN 'document' THEN
                    PERFORM FROM knowledge_documents d WHERE d.organization_id = here AND d.document_id = key FOR UPDATE;
                WHEN 'engagement' THEN
                    PERFORM FROM engagements e WHERE e.organization_id = here AND e.engagement_id = key FOR SHARE;
                WHEN 'sign_offs' THEN
                    PERFORM glow.lock_releases(key);
                WHEN 'person' THEN
                    PERFORM FROM memberships m WHERE m.organization_id = here
                        AND m.user_id IN (SELECT u.user_id FROM users u WHERE lower(u.email) = lower(each.id)) FOR SHARE;
                WHEN 'delegation' THEN
                    PERFORM FROM delegations d WHERE d.organization_id = here AND d.delegation_id = key FOR UPDATE;
                WHEN 'schedule' THEN
                    PERFORM FROM schedules s WHERE s.organization_id = here AND s.schedule_id = key FOR UPDATE;
                    PERFORM FROM tasks t WHERE t.organization_id = here AND t.task_id = (
                        SELECT s.task_id FROM schedules s WHERE s.organization_id = here AND s.schedule_id = key) FOR SHARE;
                WHEN 'source' THEN
                    PERFORM FROM knowledge_sources s WHERE s.organization_id = here AND s.source_id = key FOR UPDATE;
                WHEN 'preference' THEN
                    PERFORM FROM preferences p WHERE p.organization_id = here AND p.preference_id = key FOR UPDATE;
                WHEN 'autonomy_proposal' THEN
                    PERFORM FROM autonomy_proposals p WHERE p.organization_id = here AND p.proposal_id = key FOR UPDATE;
                ELSE
                    NULL; -- What a run was begun with never changes.
            END CASE;
        END LOOP;
    END IF;
    RETURN (
        SELECT jsonb_agg(encode(sha256(salt || convert_to(glow.subject_words(n.value ->> 'subject', n.value ->> 'id')::text, 'UTF8')),
            'hex') ORDER BY n.place)
        FROM jsonb_array_elements(named) WITH ORDINALITY n (value, place));
END $$;
REVOKE EXECUTE ON FUNCTION glow.forget_subjects, glow.subject_words, glow.subject_shown, glow.subject_digests FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.subject_words, glow.subject_shown, glow.subject_digests TO glow_app;

ALTER TABLE runs
    ADD COLUMN task_run_id uuid,
    ADD CONSTRAINT runs_task_run FOREIGN KEY (organization_id, task_run_id) REFERENCES task_runs NOT VALID;
ALTER TABLE runs VALIDATE CONSTRAINT runs_task_run;
COMMENT ON COLUMN runs.task_run_id IS 'Of a run of the agent that does a task, which may take several of them: the run of the task.';

-- The run in whose budget something counts: of a task that the agent does, the task's.
CREATE FUNCTION glow.charged_run(for_organization uuid, run uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT coalesce((SELECT r.task_run_id FROM runs r WHERE r.organization_id = for_organization AND r.run_id = run), run);
    END;

-- The first budget that has no room for what is wanted, in the form of `refused` of glow.reserve_budget; NULL: there is room. It
-- holds nothing. What is held for this call already, by a process that was killed at it, is passed on and needs no room.
CREATE FUNCTION glow.lacking_budget(for_organization uuid, for_principal uuid, for_run uuid, wanted jsonb, of_call uuid)
    RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT jsonb_build_object('scope', f.scope, 'measure', f.measure, 'most', f.most, 'wanted', f.wanted, 'left', f.room)
        FROM (SELECT b.scope, b.subject, b.measure, b.most, (wanted ->> b.measure)::bigint AS wanted,
                     greatest(b.most - coalesce(u.used + u.reserved, 0), 0) AS room
              FROM (SELECT g.scope, g.measure, g.most, CASE g.scope WHEN 'run' THEN 'run' ELSE glow.budget_day() END AS period,
                           CASE g.scope WHEN 'organization' THEN for_organization WHEN 'member' THEN for_principal
                                        ELSE for_run END AS subject
                    FROM glow.budgets_of(for_organization, for_principal) g) b
              LEFT JOIN budget_use u ON u.organization_id = for_organization AND u.scope = b.scope AND u.measure = b.measure
                  AND u.subject = b.subject AND u.period = b.period
              WHERE wanted ? b.measure AND (b.scope <> 'run' OR for_run IS NOT NULL)) f
        WHERE f.wanted > f.room AND NOT EXISTS (
            SELECT FROM budget_reservations r WHERE r.organization_id = for_organization AND r.call_id = of_call
              AND r.scope = f.scope AND r.subject = f.subject AND r.measure = f.measure AND r.state = 'held')
        ORDER BY glow.budget_place(f.scope), f.measure LIMIT 1;
    END;
REVOKE EXECUTE ON FUNCTION glow.charged_run, glow.lacking_budget FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.charged_run, glow.lacking_budget TO glow_app;
GRANT EXECUTE ON FUNCTION glow.charged_run TO glow_service;
