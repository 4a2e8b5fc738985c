-- What stands for the oldest turns of a long conversation in requests to a model. The turns themselves stay; plumbing like
-- them: what a model wrote of what was said, and no act on the firm's data.

SET LOCAL lock_timeout = '5s';

CREATE TABLE conversation_summaries (
    organization_id uuid NOT NULL,
    summary_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    -- The last turn that it covers: it holds for every path that leads over it.
    last_run_id uuid NOT NULL,
    turns integer NOT NULL CHECK (turns > 0),
    trust text NOT NULL CHECK (trust IN ('internal', 'client', 'external')),
    -- Words, cited passages and open calls, as JSON text.
    content text NOT NULL,
    model text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, summary_id),
    UNIQUE (organization_id, conversation_id, last_run_id),
    FOREIGN KEY (organization_id, conversation_id) REFERENCES conversations ON DELETE CASCADE,
    FOREIGN KEY (organization_id, last_run_id) REFERENCES runs ON DELETE CASCADE
);
CREATE INDEX conversation_summaries_run ON conversation_summaries (organization_id, last_run_id);

CALL glow.isolate('conversation_summaries');
CREATE POLICY visible ON conversation_summaries AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM conversations c WHERE c.organization_id = conversation_summaries.organization_id
                   AND c.conversation_id = conversation_summaries.conversation_id));
GRANT SELECT, INSERT ON conversation_summaries TO glow_app;
