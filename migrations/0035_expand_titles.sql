-- Who gave a conversation its title: a rule, the first line of its first message; a model; or a person, whose own stays.

SET LOCAL lock_timeout = '5s';

ALTER TABLE conversations ADD COLUMN titled_by text NOT NULL DEFAULT 'rule'
    CHECK (titled_by IN ('rule', 'model', 'person'));
