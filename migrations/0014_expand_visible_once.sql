-- Who may see a passage is asked of the role and its engagements once a query, where it was asked of each row: a search
-- reads tens of thousands. The rule is that of glow.may_see.

DROP POLICY visible ON knowledge_chunks;
CREATE POLICY visible ON knowledge_chunks AS RESTRICTIVE TO glow_app
    USING (CASE (SELECT glow.role())
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY ((SELECT glow.engagements())::uuid[]), false)
        ELSE (SELECT glow.role()) IS NOT NULL END)
    WITH CHECK (glow.may_see(audience, engagement_id));

DROP POLICY visible ON knowledge_postings;
CREATE POLICY visible ON knowledge_postings AS RESTRICTIVE TO glow_app
    USING (CASE (SELECT glow.role())
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY ((SELECT glow.engagements())::uuid[]), false)
        ELSE (SELECT glow.role()) IS NOT NULL END)
    WITH CHECK (glow.may_see(audience, engagement_id));

DROP POLICY visible ON knowledge_embeddings;
CREATE POLICY visible ON knowledge_embeddings AS RESTRICTIVE TO glow_app
    USING (CASE (SELECT glow.role())
        WHEN 'CLIENT' THEN coalesce(audience = 'client' AND engagement_id = ANY ((SELECT glow.engagements())::uuid[]), false)
        ELSE (SELECT glow.role()) IS NOT NULL END)
    WITH CHECK (glow.may_see(audience, engagement_id));
