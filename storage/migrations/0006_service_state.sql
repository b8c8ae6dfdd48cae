-- The service's state for operators: a row for each distribution, and the version of each process.

ALTER TABLE heartbeats ADD COLUMN version text;

CREATE TABLE distributions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state       text NOT NULL DEFAULT 'running'
                CHECK (state IN ('running', 'completed', 'failed', 'cancelled', 'crashed')),
    reason      text,
    due         integer NOT NULL,
    sent        integer NOT NULL DEFAULT 0,
    skipped     integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    unreachable integer NOT NULL DEFAULT 0,
    refused     integer NOT NULL DEFAULT 0,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    touched_at  timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz
);

CREATE INDEX distributions_begun ON distributions (begun_at);
CREATE INDEX learners_due_of_bot ON learners (bot_id, next_daily_at) WHERE daily_enabled AND blocked_at IS NULL;
CREATE INDEX quizzes_failed ON quizzes (touched_at) WHERE state = 'failed';
