-- Who examines an installation reads the organizations' own policies: rules of a firm's, with nobody's name or reason.

SET LOCAL lock_timeout = '5s';

CREATE POLICY service ON organization_policies FOR SELECT TO glow_service USING (true);
GRANT SELECT (organization_id, change_id, policy_id, text, changed_at) ON organization_policies TO glow_service;
