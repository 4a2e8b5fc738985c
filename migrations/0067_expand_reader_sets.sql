-- Documents of which a source says who may read them: a document's audience can be a set of readers, `readers:N`, which holds
-- inside search as audience always has. Only the firm's own people read by one; a client never does.

SET LOCAL lock_timeout = '5s';

-- A set is known by the addresses in it, of which nothing but digests is kept: most are nobody's of the firm.
CREATE TABLE knowledge_reader_sets (
    organization_id uuid NOT NULL REFERENCES organizations,
    reader_set bigint GENERATED ALWAYS AS IDENTITY,
    digest bytea NOT NULL,
    PRIMARY KEY (organization_id, reader_set),
    UNIQUE (organization_id, digest)
);
COMMENT ON COLUMN knowledge_reader_sets.digest IS 'SHA-256 of its readers'' digests in order: the same readers are one set.';

CREATE TABLE knowledge_readers (
    organization_id uuid NOT NULL,
    reader_set bigint NOT NULL,
    email_sha256 bytea NOT NULL,
    PRIMARY KEY (organization_id, reader_set, email_sha256),
    FOREIGN KEY (organization_id, reader_set) REFERENCES knowledge_reader_sets
);
COMMENT ON COLUMN knowledge_readers.email_sha256 IS 'Of the lower-cased address, or of @ and a domain, which stands for everybody there. Whose it is, is asked at each transaction: a member that comes or goes reads or does not.';
CREATE INDEX knowledge_readers_email ON knowledge_readers (organization_id, email_sha256);

CALL glow.isolate('knowledge_reader_sets');
CALL glow.isolate('knowledge_readers');

-- The tools that prepare documents for all their readers, and are none of them: offered to the worker alone, they hand
-- nothing of a document to anybody. No argument of a call reaches this.
CREATE FUNCTION glow.entering(tool text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM set_config('glow.of_tool', CASE WHEN tool IN ('document_index', 'document_embed', 'document_analyse',
        'document_purge', 'source_sync', 'source_remove') THEN tool ELSE '' END, true);
    RETURN tool;
END $$;

CREATE FUNCTION glow.of_tool() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('glow.of_tool', true), '') <> '';

-- The sets that the session's principal is in. A CLIENT is in none, whatever its address.
CREATE FUNCTION glow.reader_audiences() RETURNS text[]
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT coalesce(array_agg('readers:' || r.reader_set), '{}')
        FROM users u
        JOIN memberships m ON m.user_id = u.user_id AND m.organization_id = glow.organization_id() AND m.role <> 'CLIENT'
        JOIN knowledge_readers r ON r.organization_id = m.organization_id
            AND r.email_sha256 IN (sha256(convert_to(lower(u.email), 'UTF8')),
                sha256(convert_to('@' || split_part(lower(u.email), '@', -1), 'UTF8')))
        WHERE u.user_id = glow.principal_id() AND u.kind = 'person' AND glow.role() <> 'CLIENT';
    END;

-- Asked once a query, so that rows need not be looked at one by one where no set was ever made.
CREATE FUNCTION glow.sees_all_readers() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    BEGIN ATOMIC
        SELECT glow.of_tool()
            OR NOT EXISTS (SELECT FROM knowledge_reader_sets s WHERE s.organization_id = glow.organization_id());
    END;
REVOKE EXECUTE ON FUNCTION glow.entering, glow.of_tool, glow.reader_audiences, glow.sees_all_readers FROM PUBLIC;
GRANT EXECUTE ON FUNCTION glow.entering, glow.of_tool, glow.reader_audiences, glow.sees_all_readers TO glow_app;

-- Who is in a set is nobody's to read but the tool's that keeps it.
CREATE POLICY visible ON knowledge_reader_sets AS RESTRICTIVE TO glow_app USING ((SELECT glow.of_tool()));
CREATE POLICY visible ON knowledge_readers AS RESTRICTIVE TO glow_app USING ((SELECT glow.of_tool()));
GRANT SELECT, INSERT ON knowledge_reader_sets, knowledge_readers TO glow_app;
CALL glow.require_ticket('knowledge_reader_sets');
CALL glow.require_ticket('knowledge_readers');

CREATE OR REPLACE FUNCTION glow.may_see(audience text, engagement_id uuid) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE glow.role()
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY (glow.engagements()), false)
        ELSE glow.role() IS NOT NULL AND (audience IN ('firm', 'client') OR glow.of_tool()
            OR coalesce(audience = ANY (glow.reader_audiences()), false)) END;

-- The rule of glow.may_see, with what depends on the session asked once a query.
DROP POLICY visible ON knowledge_documents;
CREATE POLICY visible ON knowledge_documents AS RESTRICTIVE TO glow_app
    USING (CASE (SELECT glow.role())
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY ((SELECT glow.engagements())::uuid[]), false)
        ELSE (SELECT glow.role()) IS NOT NULL AND ((SELECT glow.sees_all_readers()) OR audience IN ('firm', 'client')
            OR audience = ANY ((SELECT glow.reader_audiences())::text[])) END)
    WITH CHECK (glow.may_see(audience, engagement_id));

DROP POLICY visible ON knowledge_chunks;
CREATE POLICY visible ON knowledge_chunks AS RESTRICTIVE TO glow_app
    USING (CASE (SELECT glow.role())
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY ((SELECT glow.engagements())::uuid[]), false)
        ELSE (SELECT glow.role()) IS NOT NULL AND ((SELECT glow.sees_all_readers()) OR audience IN ('firm', 'client')
            OR audience = ANY ((SELECT glow.reader_audiences())::text[])) END)
    WITH CHECK (glow.may_see(audience, engagement_id));

DROP POLICY visible ON knowledge_postings;
CREATE POLICY visible ON knowledge_postings AS RESTRICTIVE TO glow_app
    USING (CASE (SELECT glow.role())
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY ((SELECT glow.engagements())::uuid[]), false)
        ELSE (SELECT glow.role()) IS NOT NULL AND ((SELECT glow.sees_all_readers()) OR audience IN ('firm', 'client')
            OR audience = ANY ((SELECT glow.reader_audiences())::text[])) END)
    WITH CHECK (glow.may_see(audience, engagement_id));

DROP POLICY visible ON knowledge_embeddings;
CREATE POLICY visible ON knowledge_embeddings AS RESTRICTIVE TO glow_app
    USING (CASE (SELECT glow.role())
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY ((SELECT glow.engagements())::uuid[]), false)
        ELSE (SELECT glow.role()) IS NOT NULL AND ((SELECT glow.sees_all_readers()) OR audience IN ('firm', 'client')
            OR audience = ANY ((SELECT glow.reader_audiences())::text[])) END)
    WITH CHECK (glow.may_see(audience, engagement_id));

ALTER TABLE knowledge_documents
    DROP CONSTRAINT knowledge_documents_audience_check,
    ADD CONSTRAINT knowledge_documents_audience_check
        CHECK (audience IN ('firm', 'client') OR audience ~ '^readers:[1-9][0-9]*$') NOT VALID,
    DROP CONSTRAINT knowledge_documents_check,
    ADD CONSTRAINT knowledge_documents_check CHECK (audience <> 'client' OR engagement_id IS NOT NULL) NOT VALID;
CREATE INDEX knowledge_documents_source ON knowledge_documents (organization_id, source_id) WHERE source_id IS NOT NULL;
