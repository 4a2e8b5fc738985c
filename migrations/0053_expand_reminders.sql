-- In Slack a question's thread is reminded once that nobody has answered.

SET LOCAL lock_timeout = '5s';

ALTER TABLE slack_approvals ADD COLUMN reminded_at timestamptz;
GRANT SELECT (reminded_at), UPDATE (reminded_at) ON slack_approvals TO glow_service;
