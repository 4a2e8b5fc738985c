-- While somebody is away, a member whom they have named decides questions in their stead; and whoever may decide is reminded
-- of a question before its time is over.

SET LOCAL lock_timeout = '5s';

CREATE TABLE delegations (
    organization_id uuid NOT NULL REFERENCES organizations,
    delegation_id uuid NOT NULL,
    delegator_id uuid NOT NULL,
    delegate_id uuid NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    reason text NOT NULL,
    given_at timestamptz NOT NULL,
    revoked_by uuid,
    revoked_at timestamptz,
    PRIMARY KEY (organization_id, delegation_id),
    FOREIGN KEY (organization_id, delegator_id) REFERENCES memberships,
    FOREIGN KEY (organization_id, delegate_id) REFERENCES memberships,
    FOREIGN KEY (organization_id, revoked_by) REFERENCES memberships,
    CHECK (delegator_id <> delegate_id),
    CHECK (ends_at > starts_at),
    CHECK ((revoked_by IS NULL) = (revoked_at IS NULL))
);
CREATE INDEX delegations_listed ON delegations (organization_id, given_at DESC, delegation_id DESC);
CREATE INDEX delegations_delegate ON delegations (organization_id, delegate_id, ends_at) WHERE revoked_at IS NULL;
CREATE INDEX delegations_delegator ON delegations (organization_id, delegator_id, ends_at) WHERE revoked_at IS NULL;
CALL glow.isolate('delegations');
CREATE POLICY visible ON delegations AS RESTRICTIVE FOR SELECT TO glow_app
    USING ((SELECT glow.reads_organization()) OR delegator_id = (SELECT glow.principal_id())
           OR delegate_id = (SELECT glow.principal_id()));
GRANT SELECT, INSERT ON delegations TO glow_app;
GRANT UPDATE (revoked_by, revoked_at) ON delegations TO glow_app;
CALL glow.require_ticket('delegations');

ALTER TABLE approvals
    ADD COLUMN decided_for uuid,
    ADD COLUMN reminded_at timestamptz,
    ADD CONSTRAINT approvals_decided_for FOREIGN KEY (organization_id, decided_for) REFERENCES memberships NOT VALID;
ALTER TABLE approvals VALIDATE CONSTRAINT approvals_decided_for;
COMMENT ON COLUMN approvals.decided_for IS 'In whose stead, where the decider had no right of their own to decide.';
GRANT UPDATE (decided_for) ON approvals TO glow_app;
GRANT SELECT (created_at, reminded_at) ON approvals TO glow_service;

-- In whose stead the principal may decide a question, if in anybody's: one who has named them for now, who may decide it by a
-- role of their own as it is today, and who has not asked it where four eyes are needed, if there is such a one. Nobody hands on
-- what another has handed to them. A deputy stands at most one step below the role that the question names.
CREATE FUNCTION glow.stands_in_for(needs text, needs_four_eyes boolean, requester uuid)
    RETURNS TABLE (user_id uuid, role text, own boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT m.user_id, m.role, m.user_id = requester
        FROM delegations d JOIN memberships m ON m.organization_id = d.organization_id AND m.user_id = d.delegator_id
        WHERE d.organization_id = glow.organization_id() AND d.delegate_id = glow.principal_id()
          AND d.revoked_at IS NULL AND d.starts_at <= now() AND d.ends_at > now()
          AND glow.deciding_rank(m.role) >= greatest(glow.deciding_rank(needs), 1)
          AND glow.deciding_rank(glow.role()) >= greatest(glow.deciding_rank(needs) - 1, 1)
        ORDER BY needs_four_eyes AND m.user_id = requester, glow.deciding_rank(m.role) DESC, d.given_at, d.delegation_id
        LIMIT 1;
    END;

-- Whether the principal stands in for anybody now: most do for nobody, and are asked once a statement, not once a row.
CREATE FUNCTION glow.is_deputy() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM delegations d
            WHERE d.organization_id = glow.organization_id() AND d.delegate_id = glow.principal_id()
              AND d.revoked_at IS NULL AND d.starts_at <= now() AND d.ends_at > now());
    END;

-- Whether the principal may decide a question that somebody else asked by standing in for another.
CREATE FUNCTION glow.may_decide_for_another(needs text, needs_four_eyes boolean, requester uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT requester IS DISTINCT FROM glow.principal_id() AND EXISTS (
            SELECT FROM glow.stands_in_for(needs, needs_four_eyes, requester) s WHERE NOT (needs_four_eyes AND s.own));
    END;
REVOKE EXECUTE ON FUNCTION glow.stands_in_for, glow.is_deputy, glow.may_decide_for_another FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.stands_in_for, glow.is_deputy, glow.may_decide_for_another TO glow_app;

-- Those one asked for, or may decide, be it in another's stead. A question about what one is to be called is nobody else's.
DROP POLICY visible ON approvals;
CREATE POLICY visible ON approvals AS RESTRICTIVE FOR SELECT TO glow_app
    USING (requested_by = (SELECT glow.principal_id())
           OR (tool <> 'preference_set' AND tool <> 'preference_forget'
               AND ((SELECT glow.deciding_rank(glow.role())) >= greatest(glow.deciding_rank(needs_role), 1)
                    OR ((SELECT glow.is_deputy())
                        AND glow.may_decide_for_another(needs_role, four_eyes, requested_by)))));

-- New: nor may a deputy's decision be the asker's own, and in whose stead it was stays too.
CREATE OR REPLACE FUNCTION glow.hold_approval_to_its_course() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
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
    IF OLD.state = 'pending' AND NEW.state IN ('approved', 'executing', 'rejected') AND (
        OLD.four_eyes AND OLD.requested_by IN (NEW.decided_by, NEW.decided_for)
        OR NEW.decided_for IS NOT NULL AND OLD.requested_by = NEW.decided_by)
    THEN
        RAISE EXCEPTION 'whoever asked does not decide where four eyes are needed' USING ERRCODE = 'GL003';
    END IF;
    RETURN NEW;
END $$;

-- What returns whole rows is stated anew, since the table has more columns now. Of the two that end what nobody decided nothing
-- else has changed.
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

-- Who may decide a question that waits, nearest its role first: by their own role, or in the stead of one who has it. What is said
-- of a member here is an address and a role; the service account asks, so that it can remind them.
CREATE FUNCTION glow.deciders_of(approval uuid) RETURNS TABLE (email text, decides_for text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        WITH question AS (
            SELECT a.requested_by, a.four_eyes, greatest(glow.deciding_rank(a.needs_role), 1) AS needs,
                   a.tool IN ('preference_set', 'preference_forget') AS askers_own
            FROM approvals a
            WHERE a.organization_id = glow.organization_id() AND a.approval_id = approval AND a.state = 'pending'
        ), deciding AS (
            SELECT m.user_id, m.user_id AS for_whom, glow.deciding_rank(m.role) AS rank
            FROM memberships m, question q
            WHERE m.organization_id = glow.organization_id() AND glow.deciding_rank(m.role) >= q.needs
              AND NOT (q.four_eyes AND m.user_id = q.requested_by)
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
              AND d.delegate_id <> q.requested_by AND NOT (q.four_eyes AND d.delegator_id = q.requested_by)
        ), once AS (
            SELECT DISTINCT ON (user_id) user_id, for_whom, rank FROM deciding ORDER BY user_id, for_whom
        )
        SELECT u.email, CASE WHEN o.for_whom <> o.user_id THEN w.email END
        FROM once o JOIN users u USING (user_id) JOIN users w ON w.user_id = o.for_whom
        WHERE u.kind = 'person'
        ORDER BY o.rank, u.email LIMIT 50;
    END;

-- A question is reminded of once, also one that only a higher role may see; by a call of the worker's door.
CREATE FUNCTION glow.remind_of_approval(approval uuid, at_time timestamptz) RETURNS SETOF approvals
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        UPDATE approvals a SET reminded_at = at_time
        WHERE a.organization_id = glow.organization_id() AND a.approval_id = approval AND a.state = 'pending'
          AND a.expires_at > at_time AND a.reminded_at IS NULL
        RETURNING a.*;
    END;
REVOKE EXECUTE ON FUNCTION glow.deciders_of, glow.remind_of_approval FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.deciders_of, glow.remind_of_approval TO glow_app;

-- The newest statement of glow.begin_call. New: of an approval, whose stead the principal may
-- decide it in; `delegate` (an e-mail), who is to stand in, and `delegation`.
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
