-- The turns of a conversation form a tree: a message may be written anew and an answer given again, beside the earlier
-- one, which stays. The active run is the end of the path that the next message follows.

SET LOCAL lock_timeout = '5s';

ALTER TABLE runs
    ADD COLUMN parent_run_id uuid,
    ADD COLUMN origin_run_id uuid,
    ADD CONSTRAINT runs_within_conversation UNIQUE (organization_id, conversation_id, run_id),
    ADD CONSTRAINT runs_parent FOREIGN KEY (organization_id, conversation_id, parent_run_id)
        REFERENCES runs (organization_id, conversation_id, run_id),
    ADD CONSTRAINT runs_origin FOREIGN KEY (organization_id, conversation_id, origin_run_id)
        REFERENCES runs (organization_id, conversation_id, run_id);
COMMENT ON COLUMN runs.parent_run_id IS 'The run that this one follows; null for the first of a conversation.';
COMMENT ON COLUMN runs.origin_run_id IS 'The run whose message this one answers again; null where the message is its own.';
CREATE INDEX runs_parented ON runs (organization_id, conversation_id, parent_run_id);

ALTER TABLE conversations
    ADD COLUMN active_run_id uuid,
    ADD COLUMN branched boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT conversations_active FOREIGN KEY (organization_id, conversation_id, active_run_id)
        REFERENCES runs (organization_id, conversation_id, run_id);

-- Until now each run followed the one before it: the owner's own policy lets these rows be written.
UPDATE runs SET parent_run_id = before.run_id
FROM (SELECT organization_id, run_id AS this, lag(run_id) OVER (
          PARTITION BY organization_id, conversation_id ORDER BY ordinal) AS run_id
      FROM messages WHERE role = 'user') before
WHERE runs.organization_id = before.organization_id AND runs.run_id = before.this AND before.run_id IS NOT NULL;

UPDATE conversations SET active_run_id = last.run_id
FROM (SELECT DISTINCT ON (organization_id, conversation_id) organization_id, conversation_id, run_id
      FROM messages WHERE role = 'user' ORDER BY organization_id, conversation_id, ordinal DESC) last
WHERE conversations.organization_id = last.organization_id
  AND conversations.conversation_id = last.conversation_id;
