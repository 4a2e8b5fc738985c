-- How far a task run has come is numbered, so that whoever follows it says what was seen last; and a run has a deadline.

SET LOCAL lock_timeout = '5s';

ALTER TABLE task_run_progress
    ADD COLUMN version integer NOT NULL DEFAULT 0,
    ADD COLUMN deadline timestamptz;
COMMENT ON COLUMN task_run_progress.version IS 'Grows with each change: what a follower saw last.';
COMMENT ON COLUMN task_run_progress.deadline IS 'By when it must have come to its end; while it waits for people, the time left is deadline - updated_at.';

CREATE FUNCTION glow.count_task_run_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER counted BEFORE UPDATE ON task_run_progress
    FOR EACH ROW EXECUTE FUNCTION glow.count_task_run_change();
