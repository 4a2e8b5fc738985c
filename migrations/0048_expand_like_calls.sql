-- The last call of a tool that somebody made: what a call that waits is compared with. Of calls that write; a read's only event
-- opens it, and stays out.

SET LOCAL lock_timeout = '5s';

-- While it is built calls wait, as they do for the other indexes of the record.
CREATE INDEX activity_events_made ON activity_events (organization_id, tool, principal_id, occurred_at DESC)
    WHERE kind = 'tool.completed' AND NOT opens;
