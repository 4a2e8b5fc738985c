-- A conversation goes, with its runs, without all messages of the organization being read for each of these: whoever deletes
-- one, and an erasure, which deletes many. Built while messages wait, as any index of a migration is.

SET LOCAL lock_timeout = '5s';

CREATE INDEX messages_run ON messages (organization_id, run_id);

-- The newest statement of glow.erase_rows. New: frames are found by their owner's conversations.
-- What is the person's own goes whole; `most` rows at a time, the small before the large that refer to them.
CREATE OR REPLACE FUNCTION glow.erase_rows(organization uuid, person uuid, known_as text[], most integer) RETURNS jsonb
    LANGUAGE plpgsql AS $$
DECLARE
    done integer;
    removed jsonb := '{}';
    room integer := most;
BEGIN
    DELETE FROM run_events x USING (
        SELECT v.organization_id, v.run_id, v.sequence
        FROM conversations c JOIN runs r USING (organization_id, conversation_id) JOIN run_events v USING (organization_id, run_id)
        WHERE c.organization_id = organization AND c.owner_id = person LIMIT room) d
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
