-- Background workers say here that they live: a process that takes no jobs itself can tell whether any other does.
-- Beside the queue, and like it of no organization: a row is a process.

SET LOCAL lock_timeout = '5s';

CREATE TABLE queue.workers (
    worker_id uuid PRIMARY KEY,
    begun_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE queue.workers IS 'One row a worker. One that ends well takes its own away; what a killed one left goes '
    'after a day.';

GRANT SELECT, INSERT, DELETE, UPDATE (heartbeat_at) ON queue.workers TO glow_service;
