-- A row for each backup, so that its age can be seen.

CREATE TABLE backups (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'verified', 'failed')),
    reason      text,
    file        text NOT NULL,
    size_bytes  bigint,
    differences integer,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz
);
