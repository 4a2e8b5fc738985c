-- What somebody who owes something was told of it, where they see it: on their task. Append-only, by calls.

CREATE TABLE task_reminders (
    organization_id uuid NOT NULL,
    reminder_id uuid NOT NULL,
    task_id uuid NOT NULL,
    text text NOT NULL,
    call_id uuid NOT NULL,
    reminded_by uuid NOT NULL,
    reminded_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, reminder_id),
    FOREIGN KEY (organization_id, task_id) REFERENCES tasks,
    FOREIGN KEY (organization_id, reminded_by) REFERENCES memberships
);
CREATE INDEX task_reminders_task ON task_reminders (organization_id, task_id, reminded_at DESC, reminder_id DESC);

CALL glow.isolate('task_reminders');
-- Whoever sees the task.
CREATE POLICY visible ON task_reminders AS RESTRICTIVE TO glow_app
    USING (EXISTS (SELECT FROM tasks t WHERE t.organization_id = task_reminders.organization_id
                   AND t.task_id = task_reminders.task_id));
GRANT SELECT, INSERT ON task_reminders TO glow_app;
CALL glow.require_ticket('task_reminders');
