-- The words of messages, for their owner's search. Row level security switches off an index over them, since @@ is not
-- leakproof: a search reads its owner's rows alone, by the index below, and each holds words already parsed.

SET LOCAL lock_timeout = '5s';

CREATE TABLE message_words (
    organization_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    words tsvector NOT NULL,
    PRIMARY KEY (organization_id, message_id),
    FOREIGN KEY (organization_id, message_id) REFERENCES messages ON DELETE CASCADE
);
CREATE INDEX message_words_owner ON message_words (organization_id, owner_id, conversation_id);

CALL glow.isolate('message_words');
CREATE POLICY visible ON message_words AS RESTRICTIVE TO glow_app USING (owner_id = (SELECT glow.principal_id()))
    WITH CHECK (owner_id = (SELECT glow.principal_id()));
GRANT SELECT, INSERT ON message_words TO glow_app;

-- Without U+0000, which the text of a column cannot hold; and a message that is answered again is found once.
CREATE FUNCTION glow.words_of_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF position('\u0000' IN NEW.content) = 0 THEN
        INSERT INTO message_words (organization_id, owner_id, conversation_id, message_id, words)
        SELECT NEW.organization_id, r.owner_id, NEW.conversation_id, NEW.message_id,
            to_tsvector('simple', NEW.content::json ->> 'text')
        FROM runs r
        WHERE r.organization_id = NEW.organization_id AND r.run_id = NEW.run_id
            AND (NEW.role = 'assistant' OR r.origin_run_id IS NULL) AND NEW.content::json ->> 'text' <> '';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER words AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION glow.words_of_message();

INSERT INTO message_words (organization_id, owner_id, conversation_id, message_id, words)
SELECT m.organization_id, r.owner_id, m.conversation_id, m.message_id, to_tsvector('simple', m.content::json ->> 'text')
FROM messages m JOIN runs r USING (organization_id, run_id)
WHERE position('\u0000' IN m.content) = 0 AND (m.role = 'assistant' OR r.origin_run_id IS NULL)
    AND m.content::json ->> 'text' <> '';
