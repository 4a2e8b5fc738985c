-- Documents of this organization that a worker reads. The queue knows it already; kept beside it, it would have to be
-- tidied up after every worker that was killed. Ids only, to be looked up under row level security. A job whose worker
-- was silent for longer than the queue's heartbeat may be (HEARTBEAT_TIMEOUT) is nobody's any more.
CREATE FUNCTION glow.documents_parsing() RETURNS SETOF uuid
    LANGUAGE sql STABLE ROWS 4 SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT (convert_from(q.payload, 'UTF8')::jsonb ->> 'subject_id')::uuid
        FROM queue.pgqueuer q
        WHERE q.status = 'picked' AND q.heartbeat > now() - interval '20 seconds' AND q.entrypoint = 'document_index'
          AND convert_from(q.payload, 'UTF8')::jsonb ->> 'organization_id' = glow.organization_id()::text;
    END;
REVOKE EXECUTE ON FUNCTION glow.documents_parsing FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.documents_parsing TO glow_app;
