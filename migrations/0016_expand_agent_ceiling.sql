-- A conversation that agents handed over to one another keeps the lowest of their ceilings until a person chooses one.

SET LOCAL lock_timeout = '5s';

ALTER TABLE conversations ADD COLUMN agent_ceiling smallint NOT NULL DEFAULT 3
    CHECK (agent_ceiling BETWEEN 0 AND 3);
