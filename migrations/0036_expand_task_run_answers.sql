-- What an agent's run came to that did a task: where it can be read, and its answer.

SET LOCAL lock_timeout = '5s';

CREATE TABLE task_run_answers (
    organization_id uuid NOT NULL,
    task_run_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    run_id uuid NOT NULL,
    attempt smallint NOT NULL,
    text text,
    citations text NOT NULL DEFAULT '[]',
    PRIMARY KEY (organization_id, task_run_id),
    FOREIGN KEY (organization_id, task_run_id) REFERENCES task_runs
);
COMMENT ON TABLE task_run_answers IS 'No text: the agent has not answered yet. Plumbing: the worker writes it without a ticket.';

CALL glow.isolate('task_run_answers');

-- The agent answers from what its requester may read, which a client who sees the task may not.
CREATE POLICY visible ON task_run_answers AS RESTRICTIVE FOR SELECT TO glow_app
    USING (glow.role() <> 'CLIENT' AND EXISTS (
        SELECT FROM task_runs r WHERE r.organization_id = task_run_answers.organization_id
           AND r.task_run_id = task_run_answers.task_run_id));

GRANT SELECT, INSERT, UPDATE ON task_run_answers TO glow_app;
