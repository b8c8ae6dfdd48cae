-- The whole schema of the quiz service, and the seed that lets it serve quizzes. Safe to run twice.
-- The service runs it by itself on first start; `psql -f schema.sql` and docker-entrypoint-initdb.d do as well.

BEGIN;

-- ---------------------------------------------------------------- which migrations this file already contains

CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------- catalogue

CREATE TABLE IF NOT EXISTS levels (
    level smallint PRIMARY KEY CHECK (level BETWEEN 1 AND 4),
    name  text NOT NULL UNIQUE
);

CREATE TABLE IF NOT EXISTS topics (
    topic    text PRIMARY KEY,
    label    text NOT NULL,
    position smallint NOT NULL UNIQUE
);

INSERT INTO levels (level, name) VALUES (1, 'Beginner'), (2, 'Intermediate'), (3, 'Advanced'), (4, 'Expert')
ON CONFLICT DO NOTHING;

INSERT INTO topics (topic, label, position) VALUES
    ('data_modeling', 'Data modeling', 1),
    ('sql_performance', 'SQL performance', 2),
    ('distributed_systems', 'Distributed systems', 3),
    ('streaming', 'Streaming', 4),
    ('data_warehouse_lakehouse', 'Warehouse & lakehouse', 5),
    ('etl_vs_elt', 'ETL and ELT', 6),
    ('orchestration', 'Orchestration', 7),
    ('data_quality', 'Data quality', 8),
    ('observability', 'Observability', 9),
    ('batch_processing', 'Batch processing', 10),
    ('file_formats_storage', 'Formats & storage', 11),
    ('governance_security', 'Governance & security', 12)
ON CONFLICT DO NOTHING;

-- ---------------------------------------------------------------- questions

CREATE TABLE IF NOT EXISTS questions (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key             text NOT NULL UNIQUE,              -- the id in the bank; learners' history hangs on it
    content_hash    text NOT NULL,                     -- loading the same content again changes nothing
    topic           text NOT NULL REFERENCES topics,
    level           smallint NOT NULL REFERENCES levels,
    source          text NOT NULL DEFAULT 'static' CHECK (source IN ('static', 'computed', 'llm')),
    state           text NOT NULL DEFAULT 'active' CHECK (state IN
                        ('active',                     -- is asked; -> retired, quarantined
                         'retired',                    -- gone from the bank; -> active when it comes back
                         'quarantined')),              -- in doubt; -> active when an operator restores it
    prompt          text NOT NULL,
    code            text,
    language        text NOT NULL DEFAULT '',
    options         jsonb NOT NULL CHECK (jsonb_array_length(options) = 4),  -- [{"text": ..., "why": ...}]
    correct_index   smallint NOT NULL CHECK (correct_index BETWEEN 0 AND 3),
    explanation     text NOT NULL,
    reference_title text NOT NULL,
    reference_url   text NOT NULL,
    tags            text[] NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- pick_questions
CREATE INDEX IF NOT EXISTS questions_by_level_topic ON questions (level, topic) WHERE state = 'active';

-- ---------------------------------------------------------------- learners

CREATE TABLE IF NOT EXISTS learners (
    id              bigint PRIMARY KEY,                -- the Telegram user id: the only personal datum
    bot_id          bigint NOT NULL,
    level           smallint NOT NULL REFERENCES levels,
    points          smallint NOT NULL DEFAULT 0,       -- progress within the level
    streak_days     integer NOT NULL DEFAULT 0 CHECK (streak_days >= 0),
    best_streak     integer NOT NULL DEFAULT 0,
    last_answer_day date,                              -- the learner's own calendar
    daily_at        time NOT NULL,
    timezone        text NOT NULL,
    topics          text[] NOT NULL DEFAULT '{}',      -- empty: all
    daily_enabled   boolean NOT NULL DEFAULT true,     -- /stop and /resume
    blocked_at      timestamptz,                       -- Telegram said 403; cleared by /start or an unblock
    next_daily_at   timestamptz NOT NULL,              -- when the next daily quiz is due
    version         integer NOT NULL DEFAULT 0,        -- grows with each grade
    created_at      timestamptz NOT NULL DEFAULT now()
);

-- find_due_learners
CREATE INDEX IF NOT EXISTS learners_due ON learners (next_daily_at) WHERE daily_enabled AND blocked_at IS NULL;

-- The first moment after `after` at which the clock in `zone` shows `at`. A time that daylight saving skips is taken
-- as much later, one that it repeats once, which is what AT TIME ZONE does.
CREATE OR REPLACE FUNCTION next_local_time(zone text, at time, after timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT min(moment)
    FROM (SELECT (((after AT TIME ZONE zone)::date + days) + at) AT TIME ZONE zone AS moment
          FROM generate_series(0, 2) AS days) AS candidates
    WHERE moment > after
$$;

-- ---------------------------------------------------------------- quizzes and answers

CREATE TABLE IF NOT EXISTS quizzes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    learner_id   bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    question_id  bigint NOT NULL REFERENCES questions,
    kind         text NOT NULL CHECK (kind IN ('daily', 'on_demand')),
    local_day    date NOT NULL,
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN
                     ('pending',                       -- made; -> sending
                      'sending',                       -- Telegram is being asked; -> sent, failed, pending when refused for now
                      'sent',                          -- in the learner's chat; -> answered, expired
                      'answered',                      -- the first tap counted; -> graded
                      'graded',                        -- level and streak follow from it; feedback_at says if it was told
                      'expired',                       -- nobody answered in time
                      'failed')),                      -- could not be sent, failure says why; -> answered if a copy arrived
    option_order smallint[] NOT NULL CHECK (array_length(option_order, 1) = 4),
    message_id   bigint,
    attempts     smallint NOT NULL DEFAULT 0,          -- how often sending began
    chosen       smallint CHECK (chosen BETWEEN 0 AND 3),
    failure      text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    touched_at   timestamptz NOT NULL DEFAULT now(),   -- when the state last changed
    sent_at      timestamptz,
    answered_at  timestamptz,
    graded_at    timestamptz,
    feedback_at  timestamptz,
    expires_at   timestamptz NOT NULL
);

-- create_quizzes: one daily quiz a local day, however often the distribution runs
CREATE UNIQUE INDEX IF NOT EXISTS quizzes_one_daily ON quizzes (learner_id, local_day) WHERE kind = 'daily';

-- create_quizzes: at most one open quiz on demand
CREATE UNIQUE INDEX IF NOT EXISTS quizzes_one_open ON quizzes (learner_id)
    WHERE kind = 'on_demand' AND state IN ('pending', 'sending', 'sent');

-- pick_questions, find_open_quizzes, forget_learner
CREATE INDEX IF NOT EXISTS quizzes_of_learner ON quizzes (learner_id, question_id);

-- find_stalled_quizzes, expire_quizzes
CREATE INDEX IF NOT EXISTS quizzes_unfinished ON quizzes (state, touched_at)
    WHERE state IN ('pending', 'sending', 'sent', 'answered');

-- find_untold_grades
CREATE INDEX IF NOT EXISTS quizzes_untold ON quizzes (graded_at) WHERE state = 'graded' AND feedback_at IS NULL;

CREATE TABLE IF NOT EXISTS answers (
    quiz_id       bigint PRIMARY KEY REFERENCES quizzes ON DELETE CASCADE,  -- the first answer counts
    learner_id    bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    question_id   bigint NOT NULL REFERENCES questions,
    topic         text NOT NULL REFERENCES topics,
    correct       boolean NOT NULL,
    chosen        smallint NOT NULL,
    local_day     date NOT NULL,
    level_before  smallint NOT NULL,
    level_after   smallint NOT NULL,
    points_before smallint NOT NULL,
    points_after  smallint NOT NULL,
    streak_before integer NOT NULL,
    streak_after  integer NOT NULL,
    answered_at   timestamptz NOT NULL
);

-- read_statistics, export_learner
CREATE INDEX IF NOT EXISTS answers_of_learner ON answers (learner_id, answered_at);

-- ---------------------------------------------------------------- updates from Telegram

CREATE TABLE IF NOT EXISTS updates (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bot_id        bigint NOT NULL,
    update_id     bigint NOT NULL,
    learner_id    bigint,                              -- null once the learner has erased everything
    kind          text NOT NULL CHECK (kind IN ('command', 'text', 'tap', 'blocked', 'unblocked')),
    content       text NOT NULL DEFAULT '',            -- a command's name or a button's data, never what was written
    message_id    bigint,
    state         text NOT NULL DEFAULT 'new' CHECK (state IN
                      ('new',                          -- -> claimed
                       'claimed',                      -- a worker has it until claimed_until; -> done, failed, or claimed again
                       'done',
                       'failed')),                     -- given up after several attempts; error says why
    attempts      smallint NOT NULL DEFAULT 0,
    claimed_until timestamptz,
    error         text,
    received_at   timestamptz NOT NULL DEFAULT now(),
    done_at       timestamptz,
    UNIQUE (bot_id, update_id)                         -- store_update: a redelivery changes nothing
);

-- claim_updates: the oldest unfinished update of each learner
CREATE INDEX IF NOT EXISTS updates_waiting ON updates (learner_id, update_id) WHERE state IN ('new', 'claimed');

-- purge_updates
CREATE INDEX IF NOT EXISTS updates_finished ON updates (done_at) WHERE state IN ('done', 'failed');

-- forget_learner
CREATE INDEX IF NOT EXISTS updates_of_learner ON updates (learner_id) WHERE learner_id IS NOT NULL;

-- ---------------------------------------------------------------- who is alive

CREATE TABLE IF NOT EXISTS heartbeats (
    name    text PRIMARY KEY,                          -- role and process, such as worker:4711
    role    text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------- starter bank
-- One question of each topic and level, made from question_bank/ by `make seed`; the service loads the whole bank.

-- seed end

COMMIT;
