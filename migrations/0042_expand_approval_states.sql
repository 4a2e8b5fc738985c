-- What state follows which, of a question to a person, is the database's to say: whoever writes it, no answer is given twice,
-- nothing ended goes on, and who decided, when and with what words stays as it was said.

SET LOCAL lock_timeout = '5s';

-- `executing` after `pending` is what a server of the version before writes: it decides and begins at once.
-- `failed` after `approved`: policy, control or manifest have changed since, and the call is not made.
CREATE FUNCTION glow.approval_may_become(was text, is_now text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE was
        WHEN 'pending' THEN is_now IN ('approved', 'rejected', 'expired', 'cancelled', 'executing')
        WHEN 'approved' THEN is_now IN ('executing', 'failed')
        WHEN 'executing' THEN is_now IN ('executed', 'failed')
        ELSE false END;

CREATE FUNCTION glow.hold_approval_to_its_course() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.state <> OLD.state AND NOT glow.approval_may_become(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'an approval that is % does not become %', OLD.state, NEW.state USING ERRCODE = 'GL002';
    END IF;
    IF OLD.state <> 'pending'
       AND (NEW.decided_by, NEW.decided_at, NEW.comment) IS DISTINCT FROM (OLD.decided_by, OLD.decided_at, OLD.comment)
    THEN
        RAISE EXCEPTION 'what was decided of an approval stays as it was said' USING ERRCODE = 'GL002';
    END IF;
    -- Behind the policy that says so: a bug there lets nobody answer their own question.
    IF OLD.state = 'pending' AND NEW.state IN ('approved', 'executing', 'rejected') AND OLD.four_eyes
       AND NEW.decided_by = OLD.requested_by
    THEN
        RAISE EXCEPTION 'whoever asked does not decide where four eyes are needed' USING ERRCODE = 'GL003';
    END IF;
    RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION glow.approval_may_become FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.approval_may_become TO glow_app;

CREATE TRIGGER course BEFORE UPDATE ON approvals
    FOR EACH ROW EXECUTE FUNCTION glow.hold_approval_to_its_course();
