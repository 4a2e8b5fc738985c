-- A person's data: handed out to whom the record lets, and erased in batches, by functions that alone may do either. What is
-- erased and what is kept of every table, and why, stands in docs/privacy.md.

SET LOCAL lock_timeout = '5s';

ALTER TABLE memberships ADD COLUMN erased_at timestamptz;
COMMENT ON COLUMN memberships.erased_at IS 'Since when its person is a member no more, and is being erased. The row stays: the '
    'firm''s record refers to it.';

CREATE TABLE erasures (
    organization_id uuid NOT NULL,
    erasure_id uuid NOT NULL,
    user_id uuid NOT NULL,
    requested_by uuid NOT NULL,
    call_id uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'asked'
        CHECK (state IN ('asked', 'ending', 'rows', 'own_payloads', 'copies', 'done')),
    -- What the person was called, for as long as copies are looked for.
    known_as text[] NOT NULL DEFAULT '{}',
    -- Of the transaction that nobody may be behind any more before the next state.
    after_xact xid8,
    scanned_to uuid,
    removed jsonb NOT NULL DEFAULT '{}',
    finished_at timestamptz,
    PRIMARY KEY (organization_id, erasure_id),
    UNIQUE (organization_id, user_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships,
    FOREIGN KEY (organization_id, requested_by) REFERENCES memberships
);
COMMENT ON COLUMN erasures.removed IS 'How many rows, by table.';
CALL glow.isolate('erasures');
CREATE POLICY visible ON erasures AS RESTRICTIVE FOR SELECT TO glow_app
    USING ((SELECT glow.role()) = 'SERVICE_ACCOUNT' OR (SELECT glow.deciding_rank(glow.role())) >= 3);
-- What the person was called is the functions' alone.
GRANT SELECT (organization_id, erasure_id, user_id, requested_by, call_id, requested_at, state, removed, finished_at),
    INSERT (organization_id, erasure_id, user_id, requested_by, call_id, requested_at),
    UPDATE (requested_by, call_id, requested_at, state, finished_at) ON erasures TO glow_app;
CALL glow.require_ticket('erasures');

-- Whoever is being erased is a member no more: in a call, in a session, and at sign-in.

CREATE OR REPLACE FUNCTION glow.begin_session(for_organization uuid, for_principal uuid) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    held_role text;
    own_engagements uuid[];
BEGIN
    PERFORM set_config('glow.organization_id', for_organization::text, true),
            set_config('glow.principal_id', for_principal::text, true);
    SELECT m.role INTO held_role FROM memberships m
        WHERE m.organization_id = for_organization AND m.user_id = for_principal AND m.erased_at IS NULL;
    IF held_role = 'CLIENT' THEN
        SELECT array_agg(em.engagement_id) INTO own_engagements FROM engagement_members em
            WHERE em.organization_id = for_organization AND em.user_id = for_principal;
    END IF;
    PERFORM set_config('glow.role', coalesce(held_role, ''), true),
            set_config('glow.engagements', coalesce(own_engagements, '{}')::text, true);
    RETURN held_role;
END $$;

CREATE OR REPLACE FUNCTION glow.resolve_memberships(wanted_user uuid)
    RETURNS TABLE (organization_id uuid, slug text, role text, kind text, email text, display_name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT m.organization_id, o.slug, m.role, u.kind, u.email, u.display_name
        FROM memberships m JOIN organizations o USING (organization_id) JOIN users u USING (user_id)
        WHERE m.user_id = wanted_user AND m.erased_at IS NULL
        ORDER BY o.slug LIMIT 100;
    END;

CREATE OR REPLACE FUNCTION glow.resolve_identity(wanted_issuer text, wanted_subject text)
    RETURNS TABLE (organization_id uuid, slug text, user_id uuid, role text, kind text, email text, display_name text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT i.organization_id, o.slug, i.user_id, m.role, u.kind, u.email, u.display_name
        FROM identities i
            JOIN memberships m ON m.organization_id = i.organization_id AND m.user_id = i.user_id
            JOIN organizations o ON o.organization_id = i.organization_id
            JOIN users u ON u.user_id = i.user_id
        WHERE i.issuer = wanted_issuer AND i.subject = wanted_subject AND m.erased_at IS NULL
        ORDER BY o.slug LIMIT 100;
    END;

-- Whether words name the person. `known_as`: in lower case, none of it short or common.
CREATE FUNCTION glow.names_person(known_as text[], words text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce((SELECT bool_or(strpos(lower(words), k) > 0) FROM unnest(known_as) k), false);
REVOKE EXECUTE ON FUNCTION glow.names_person FROM PUBLIC;

-- The address, and a name of several words, each also as JSON has it: a single common word would be found everywhere.
CREATE FUNCTION glow.known_as(person uuid) RETURNS text[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT coalesce(array_agg(DISTINCT lower(k.word)), '{}')
        FROM users u CROSS JOIN LATERAL (VALUES
            (u.email), (btrim(to_json(u.email)::text, '"')),
            (CASE WHEN u.display_name ~ '\S\s+\S' THEN u.display_name END),
            (CASE WHEN u.display_name ~ '\S\s+\S' THEN btrim(to_json(u.display_name)::text, '"') END)) k (word)
        WHERE u.user_id = person AND k.word IS NOT NULL AND u.email <> 'erased-' || person || '@erased.invalid';
    END;
REVOKE EXECUTE ON FUNCTION glow.known_as FROM PUBLIC;

-- First of all the person is kept out, and asked to stop: of what follows, nothing may come anew. A name stays where another
-- organization has the person as a member: it is that one's too.
CREATE FUNCTION glow.begin_erasing(organization uuid, erasure uuid, person uuid, at_time timestamptz) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    renamed integer;
BEGIN
    UPDATE erasures e SET state = 'ending', known_as = glow.known_as(person), after_xact = pg_current_xact_id(),
            scanned_to = NULL, removed = '{}'
        WHERE e.organization_id = organization AND e.erasure_id = erasure;
    UPDATE memberships m SET erased_at = at_time
        WHERE m.organization_id = organization AND m.user_id = person AND m.erased_at IS NULL;
    UPDATE users u SET email = 'erased-' || person || '@erased.invalid', display_name = 'Erased person'
        WHERE u.user_id = person AND u.email <> 'erased-' || person || '@erased.invalid' AND NOT EXISTS (
            SELECT FROM memberships m WHERE m.user_id = person AND m.erased_at IS NULL);
    GET DIAGNOSTICS renamed = ROW_COUNT;
    -- Nobody stands in for them any more, nor they for anybody; why they were away is theirs.
    UPDATE delegations d SET reason = '', revoked_at = coalesce(d.revoked_at, at_time),
            revoked_by = coalesce(d.revoked_by, e.requested_by)
        FROM erasures e
        WHERE e.organization_id = organization AND e.erasure_id = erasure AND d.organization_id = organization
          AND (d.delegator_id = person OR d.delegate_id = person AND d.revoked_at IS NULL);
    UPDATE runs r SET cancel_requested = true
        WHERE r.organization_id = organization AND r.owner_id = person AND r.status IN ('running', 'waiting');
    RETURN jsonb_build_object('users', renamed);
END $$;

-- Nothing of the person's is under way any more, and nobody else has read what is about to go without having written it.
CREATE FUNCTION glow.has_ended(organization uuid, person uuid, known_as text[], after_xact xid8) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN pg_snapshot_xmin(pg_current_snapshot()) > after_xact
        AND NOT EXISTS (SELECT FROM runs r WHERE r.organization_id = organization AND r.owner_id = person
                        AND r.status IN ('running', 'waiting'))
        AND NOT EXISTS (SELECT FROM call_intents i WHERE i.organization_id = organization AND i.principal_id = person)
        AND NOT EXISTS (SELECT FROM task_runs r LEFT JOIN task_run_progress p USING (organization_id, task_run_id)
                        WHERE r.organization_id = organization AND r.requested_by = person
                          AND coalesce(p.status, 'running') IN ('running', 'waiting'))
        AND NOT EXISTS (SELECT FROM approvals a WHERE a.organization_id = organization
                        AND a.state IN ('pending', 'approved', 'executing')
                        AND (a.requested_by = person OR glow.names_person(known_as, a.arguments)));

-- What is the person's own goes whole; `most` rows at a time, the small before the large that refer to them.
CREATE FUNCTION glow.erase_rows(organization uuid, person uuid, known_as text[], most integer) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    done integer;
    removed jsonb := '{}';
    room integer := most;
BEGIN
    DELETE FROM run_events x USING (
        SELECT v.organization_id, v.run_id, v.sequence FROM runs r JOIN run_events v USING (organization_id, run_id)
        WHERE r.organization_id = organization AND r.owner_id = person LIMIT room) d
        WHERE x.organization_id = d.organization_id AND x.run_id = d.run_id AND x.sequence = d.sequence;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('run_events', done);
    room := room - done;
    DELETE FROM message_words x USING (
        SELECT w.organization_id, w.message_id FROM message_words w
        WHERE w.organization_id = organization AND w.owner_id = person LIMIT room) d
        WHERE x.organization_id = d.organization_id AND x.message_id = d.message_id;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('message_words', done);
    room := room - done;
    DELETE FROM messages x USING (
        SELECT m.organization_id, m.message_id FROM conversations c JOIN messages m USING (organization_id, conversation_id)
        WHERE c.organization_id = organization AND c.owner_id = person LIMIT room) d
        WHERE x.organization_id = d.organization_id AND x.message_id = d.message_id;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('messages', done);
    room := room - done;
    -- With their runs, summaries, threads and feedback, which are few beside what is gone by now.
    DELETE FROM conversations x USING (
        SELECT c.organization_id, c.conversation_id FROM conversations c
        WHERE c.organization_id = organization AND c.owner_id = person LIMIT (room + 9) / 10) d
        WHERE x.organization_id = d.organization_id AND x.conversation_id = d.conversation_id;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('conversations', done);
    room := room - 10 * done;
    IF room <= 0 THEN
        RETURN removed;
    END IF;
    -- The rest is as much as one person sets up by hand.
    DELETE FROM feedback x WHERE x.organization_id = organization AND x.given_by = person;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('feedback', done);
    DELETE FROM preferences x WHERE x.organization_id = organization AND x.user_id = person;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('preferences', done);
    DELETE FROM identities x WHERE x.organization_id = organization AND x.user_id = person;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('identities', done);
    DELETE FROM idempotency_keys x WHERE x.organization_id = organization
        AND (x.principal_id = person OR glow.names_person(known_as, x.answer));
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('idempotency_keys', done);
    DELETE FROM engagement_members x WHERE x.organization_id = organization AND x.user_id = person;
    GET DIAGNOSTICS done = ROW_COUNT;
    removed := removed || jsonb_build_object('engagement_members', done);
    -- What a question carried, whoever asked it about the person. That it was asked, who decided it and why is kept.
    UPDATE approvals x SET arguments = '{}' FROM (
        SELECT a.approval_id FROM approvals a
        WHERE a.organization_id = organization AND a.arguments <> '{}'
          AND (a.requested_by = person OR glow.names_person(known_as, a.arguments)) LIMIT room) d
        WHERE x.organization_id = organization AND x.approval_id = d.approval_id;
    GET DIAGNOSTICS done = ROW_COUNT;
    RETURN removed || jsonb_build_object('approvals', done);
END $$;

-- Whether words hold the id of a call that the person made, or of a question that they asked.
CREATE FUNCTION glow.tells_of_calls_of(organization uuid, person uuid, words text) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM regexp_matches(words, '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}', 'g') AS named (id)
        WHERE EXISTS (SELECT FROM approvals a WHERE a.organization_id = organization
                      AND a.approval_id = named.id[1]::uuid AND a.requested_by = person)
           OR EXISTS (SELECT FROM activity_events e WHERE e.organization_id = organization
                      AND e.call_id = named.id[1]::uuid AND e.principal_id = person));
$$;
REVOKE EXECUTE ON FUNCTION glow.tells_of_calls_of FROM PUBLIC;

-- What calls carried and gave, with the salts: without these nobody can try what a digest is of. A page of the organization's
-- payloads after `scanned_to`; gives how many went, and where the page ended (null: there is no further one). First the
-- person's own; when no more can be made of these, what others' calls have repeated of them.
CREATE FUNCTION glow.erase_payloads(organization uuid, person uuid, known_as text[], scanned_to uuid, copies boolean,
        most integer, OUT removed integer, OUT ended_at uuid)
    LANGUAGE sql AS $$
    WITH page AS MATERIALIZED (
        SELECT p.event_id FROM activity_payloads p
        WHERE p.organization_id = organization AND p.event_id > coalesce(scanned_to, '00000000-0000-0000-0000-000000000000')
        ORDER BY p.event_id LIMIT most
    ), gone AS (
        DELETE FROM activity_payloads x USING page p, activity_events e
        WHERE x.organization_id = organization AND x.event_id = p.event_id
          AND e.organization_id = organization AND e.event_id = p.event_id
          AND CASE WHEN NOT copies THEN e.principal_id = person
              ELSE glow.names_person(known_as, concat(x.arguments, x.result))
                   -- A decision of a call, and a look at one, have it again in their results.
                   OR e.tool IN ('approval_decide', 'call_get')
                      AND glow.tells_of_calls_of(organization, person, concat(x.arguments, x.result)) END
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM gone)::integer,
           (SELECT max(p.event_id::text)::uuid FROM page p HAVING count(*) = most);
$$;

-- What was recorded for the person after all was done: a call that was refused, or was under way when it began.
CREATE FUNCTION glow.late_payloads(organization uuid, person uuid, since timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE AS $$
    SELECT p.event_id
    FROM memberships m
        JOIN activity_events o ON o.organization_id = m.organization_id AND o.principal_id = m.user_id
        JOIN activity_events e ON e.organization_id = o.organization_id AND e.call_id = o.call_id
        JOIN activity_payloads p ON p.organization_id = e.organization_id AND p.event_id = e.event_id
    WHERE m.organization_id = organization AND m.user_id = person AND m.erased_at IS NOT NULL
      AND o.opens AND o.occurred_at > since - interval '1 hour';
$$;

-- One batch of an erasure, in the transaction of the call that carries it out: without its ticket nothing is done. `waits`:
-- something is under way that has to end first; `gone`: rows by table.
CREATE FUNCTION glow.erase_step(erasure uuid, most integer, at_time timestamptz, OUT state text, OUT waits boolean,
        OUT gone jsonb)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    organization uuid := glow.organization_id();
    here erasures;
    went integer;
    scanned uuid;
BEGIN
    IF NOT coalesce(glow.has_ticket(organization, 'erasures'), false) THEN
        RAISE EXCEPTION 'no ticket for an erasure' USING ERRCODE = 'GL001',
            HINT = 'Changes go through the gate, by a tool whose manifest declares this table.';
    END IF;
    SELECT * INTO STRICT here FROM erasures e
        WHERE e.organization_id = organization AND e.erasure_id = erasure FOR UPDATE;
    state := here.state;
    waits := false;
    gone := '{}';
    scanned := here.scanned_to;
    CASE here.state
    WHEN 'asked' THEN
        gone := glow.begin_erasing(organization, erasure, here.user_id, at_time);
        state := 'ending';
        waits := true;
    WHEN 'ending' THEN
        waits := NOT glow.has_ended(organization, here.user_id, here.known_as, here.after_xact);
        state := CASE WHEN waits THEN 'ending' ELSE 'rows' END;
    WHEN 'rows' THEN
        gone := glow.erase_rows(organization, here.user_id, here.known_as, most);
        IF NOT EXISTS (SELECT FROM jsonb_each_text(gone) g WHERE g.value <> '0') THEN
            state := 'own_payloads';
        END IF;
    WHEN 'own_payloads' THEN
        SELECT p.removed, p.ended_at INTO went, scanned
            FROM glow.erase_payloads(organization, here.user_id, here.known_as, scanned, false, most) p;
        gone := jsonb_build_object('activity_payloads', went);
        state := CASE WHEN scanned IS NULL THEN 'copies' ELSE 'own_payloads' END;
        UPDATE erasures e SET after_xact = pg_current_xact_id()
            WHERE e.organization_id = organization AND e.erasure_id = erasure;
    WHEN 'copies' THEN
        -- Whoever could still see the person's own when these went has written down what was seen.
        waits := pg_snapshot_xmin(pg_current_snapshot()) <= here.after_xact;
        IF NOT waits THEN
            SELECT p.removed, p.ended_at INTO went, scanned
                FROM glow.erase_payloads(organization, here.user_id, here.known_as, scanned, true, most) p;
            gone := jsonb_build_object('activity_payloads', went);
            state := CASE WHEN scanned IS NULL THEN 'done' ELSE 'copies' END;
        END IF;
    WHEN 'done' THEN
        DELETE FROM activity_payloads x WHERE x.organization_id = organization AND x.event_id IN (
            SELECT l.event_id FROM glow.late_payloads(organization, here.user_id, here.requested_at) l (event_id) LIMIT most);
        GET DIAGNOSTICS went = ROW_COUNT;
        gone := jsonb_build_object('activity_payloads', went);
    END CASE;
    UPDATE erasures e SET state = erase_step.state, scanned_to = scanned,
            known_as = CASE WHEN erase_step.state = 'done' THEN '{}' ELSE e.known_as END,
            finished_at = CASE WHEN erase_step.state = 'done' THEN coalesce(e.finished_at, at_time) END,
            removed = coalesce((SELECT jsonb_object_agg(t.key, t.total) FROM (
                SELECT r.key, sum(r.value::bigint) AS total
                FROM (SELECT * FROM jsonb_each_text(e.removed) UNION ALL SELECT * FROM jsonb_each_text(gone)) r
                WHERE r.value <> '0' GROUP BY r.key) t), '{}')
        WHERE e.organization_id = organization AND e.erasure_id = erasure;
END $$;

-- What is still under way of the person's, to be brought to its end by whoever carries the erasure out.
CREATE FUNCTION glow.going_of_erased(erasure uuid, most integer) RETURNS TABLE (kind text, subject_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        (SELECT 'run', r.run_id
         FROM erasures e JOIN runs r ON r.organization_id = e.organization_id AND r.owner_id = e.user_id
         WHERE e.organization_id = glow.organization_id() AND e.erasure_id = erasure AND e.state = 'ending'
           AND r.status IN ('running', 'waiting') LIMIT most)
        UNION ALL
        (SELECT 'task_run', r.task_run_id
         FROM erasures e
            JOIN task_runs r ON r.organization_id = e.organization_id AND r.requested_by = e.user_id
            LEFT JOIN task_run_progress p ON p.organization_id = r.organization_id AND p.task_run_id = r.task_run_id
         WHERE e.organization_id = glow.organization_id() AND e.erasure_id = erasure AND e.state = 'ending'
           AND coalesce(p.status, 'running') IN ('running', 'waiting') LIMIT most)
        UNION ALL
        (SELECT 'call_settle', i.call_id
         FROM erasures e JOIN call_intents i ON i.organization_id = e.organization_id AND i.principal_id = e.user_id
         WHERE e.organization_id = glow.organization_id() AND e.erasure_id = erasure AND e.state = 'ending' LIMIT most);
    END;

-- Questions that the person asked, or that name them: nobody need answer any more. The table's ticket holds here too.
CREATE FUNCTION glow.cancel_approvals_of_erased(erasure uuid, why text, at_time timestamptz, most integer)
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

-- Erasures that are not at their end, and those for whose person something was recorded since: ids and times.
CREATE FUNCTION glow.erasures_due() RETURNS TABLE (organization_id uuid, erasure_id uuid, since timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT e.organization_id, e.erasure_id, e.requested_at FROM erasures e
        WHERE e.state <> 'done'
           OR EXISTS (SELECT FROM glow.late_payloads(e.organization_id, e.user_id, e.requested_at));
    END;

REVOKE EXECUTE ON FUNCTION glow.begin_erasing, glow.has_ended, glow.erase_rows, glow.erase_payloads, glow.late_payloads,
    glow.erase_step, glow.going_of_erased, glow.cancel_approvals_of_erased, glow.erasures_due FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.erase_step, glow.going_of_erased, glow.cancel_approvals_of_erased TO glow_app;
GRANT EXECUTE ON FUNCTION glow.erasures_due TO glow_service;

-- Whose data a call has been allowed to hand out, by the record itself: that of this principal, of today, and done. Whoever
-- may no more is given nothing more.
CREATE FUNCTION glow.person_to_export(call uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT (p.result::jsonb ->> 'user_id')::uuid
        FROM activity_events e JOIN activity_payloads p USING (organization_id, event_id)
        WHERE e.organization_id = glow.organization_id() AND e.call_id = call AND e.opens AND e.outcome = 'done'
          AND e.principal_id = glow.principal_id() AND e.occurred_at > now() - interval '1 day'
          AND (e.tool = 'privacy_export' AND glow.deciding_rank(glow.role()) >= 3
               OR e.tool = 'privacy_export_own' AND glow.role() IS NOT NULL
                  AND p.result::jsonb ->> 'user_id' = e.principal_id::text);
    END;

-- A page of one part of what is held of the person: rows as JSON, in the order of their keys, after the key `behind`, at most
-- `most` of them and, but for the first, `bytes` of text. Statements are fixed; values are parameters.
CREATE FUNCTION glow.person_rows(call uuid, part text, behind text, most integer, bytes bigint)
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
REVOKE EXECUTE ON FUNCTION glow.person_to_export, glow.person_rows FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.person_to_export, glow.person_rows TO glow_app;
