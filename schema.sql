-- The whole schema of the quiz service, and the seed that lets it serve quizzes. Safe to run twice.
-- The service runs it by itself on first start; `psql -f schema.sql` and docker-entrypoint-initdb.d do as well.

BEGIN;

-- ---------------------------------------------------------------- which migrations this file already contains

CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

INSERT INTO schema_migrations (name) VALUES ('0001_proved_questions'), ('0002_adaptation'),
    ('0003_level_difficulties'), ('0004_several_bots'), ('0005_unknown_zones'),
    ('0006_service_state'), ('0007_question_forms'), ('0008_trace_context'), ('0009_backups'),
    ('0010_pauses_and_announcements'), ('0011_level_rules'), ('0012_stale_messages') ON CONFLICT DO NOTHING;

-- ---------------------------------------------------------------- catalogue

CREATE TABLE IF NOT EXISTS levels (
    level    smallint PRIMARY KEY CHECK (level BETWEEN 1 AND 4),
    name     text NOT NULL UNIQUE,
    learners integer NOT NULL DEFAULT 0                -- who were ever asked anything while they stood on it
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
    source          text NOT NULL DEFAULT 'static' CHECK (source IN
                        ('static',                     -- the bank's files
                         'imported',                   -- an operator's file
                         'computed',                   -- a template and a seed
                         'llm')),                      -- a language model, after verification
    state           text NOT NULL DEFAULT 'active' CHECK (state IN
                        ('active',                     -- is asked; -> retired, quarantined
                         'retired',                    -- gone from the bank; -> active when it comes back
                         'quarantined')),              -- in doubt; -> active when an operator restores it
    state_reason    text,                              -- why it is quarantined
    form            text NOT NULL DEFAULT 'practical' CHECK (form IN
                        ('practical', 'definition', 'choose', 'next_step', 'code_review', 'order', 'cost', 'read')),
    prompt          text NOT NULL,
    code            text,
    language        text NOT NULL DEFAULT '',
    options         jsonb NOT NULL CHECK (jsonb_array_length(options) = 4),  -- [{"text", "why", "value" of the check}]
    correct_index   smallint NOT NULL CHECK (correct_index BETWEEN 0 AND 3),
    explanation     text NOT NULL,
    reference_title text NOT NULL,
    reference_url   text NOT NULL,
    tags            text[] NOT NULL DEFAULT '{}',
    check_spec      jsonb,                             -- what to execute to find the answer: {"engine", "setup", "run"}
    template        text,                              -- of a computed question
    seed            integer,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    item            text NOT NULL GENERATED ALWAYS AS (coalesce(template, key)) STORED  -- what is rated and reviewed
);

-- pick_questions
CREATE INDEX IF NOT EXISTS questions_by_level_topic ON questions (level, topic) WHERE state = 'active';

-- count_template_uses
CREATE INDEX IF NOT EXISTS questions_of_template ON questions (template) WHERE template IS NOT NULL;

-- How hard an item has proved to be; one without a row is as hard as its author said.
CREATE TABLE IF NOT EXISTS item_ratings (
    item       text PRIMARY KEY,
    difficulty double precision NOT NULL,              -- logits
    variance   double precision NOT NULL,              -- logits²
    answers    integer NOT NULL DEFAULT 0              -- first answers that moved it
);

-- How many learners of a level were shown a question.
CREATE TABLE IF NOT EXISTS question_exposure (
    question_id bigint NOT NULL REFERENCES questions ON DELETE CASCADE,
    level       smallint NOT NULL REFERENCES levels,   -- the learner's, not the question's
    learners    integer NOT NULL DEFAULT 0,
    PRIMARY KEY (question_id, level)                   -- create_quizzes, list_candidates
);

-- ---------------------------------------------------------------- learners

CREATE TABLE IF NOT EXISTS learners (
    id              bigint PRIMARY KEY,                -- the Telegram user id: the only personal datum
    bot_id          bigint NOT NULL,                   -- where they pressed START, and where their quizzes come
    level           smallint NOT NULL REFERENCES levels,
    points          smallint NOT NULL DEFAULT 0,       -- of releases before level_progress, and read by them alone
    run             integer NOT NULL DEFAULT 0,        -- right answers in a row; wrong ones as a negative number
    placement_left  smallint NOT NULL DEFAULT 0,       -- answers until the rating sets the level
    ability         double precision NOT NULL DEFAULT 0,  -- logits
    ability_variance double precision NOT NULL DEFAULT 1, -- logits²
    levels_asked    integer NOT NULL DEFAULT 0,        -- a bit for each level on which they were asked anything
    quizzes_since_review smallint NOT NULL DEFAULT 0,
    streak_days     integer NOT NULL DEFAULT 0 CHECK (streak_days >= 0),
    best_streak     integer NOT NULL DEFAULT 0,
    freezes         smallint NOT NULL DEFAULT 0 CHECK (freezes >= 0),  -- missed days that the streak will survive
    last_answer_day date,                              -- the learner's own calendar
    last_answer_at  timestamptz,
    daily_at        time NOT NULL,
    timezone        text NOT NULL,
    topics          text[] NOT NULL DEFAULT '{}',      -- empty: all
    daily_enabled   boolean NOT NULL DEFAULT true,     -- /stop and /resume; no announcements without it either
    blocked_at      timestamptz,                       -- Telegram said that nothing reaches them; cleared by /start or an unblock
    next_daily_at   timestamptz NOT NULL,              -- when the next daily quiz is due
    version         integer NOT NULL DEFAULT 0,        -- grows with each grade
    created_at      timestamptz NOT NULL DEFAULT now(),
    announcements   boolean NOT NULL DEFAULT true,     -- the button under an announcement
    told_of_pause_at timestamptz,                      -- when they last read that quizzes are paused
    level_progress  smallint NOT NULL DEFAULT 0        -- how near the next level is, from 0 to 100
);

-- find_due_learners
CREATE INDEX IF NOT EXISTS learners_due ON learners (next_daily_at) WHERE daily_enabled AND blocked_at IS NULL;

-- list_daily_backlogs
CREATE INDEX IF NOT EXISTS learners_due_of_bot ON learners (bot_id, next_daily_at)
    WHERE daily_enabled AND blocked_at IS NULL;

-- The name of a time zone, or UTC if this server does not know it. Servers read the files of their own system, where old
-- names such as US/Eastern may be missing that another system has.
CREATE OR REPLACE FUNCTION known_zone(zone text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM 'epoch'::timestamptz AT TIME ZONE zone;
    RETURN zone;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN 'UTC';
END
$$;

-- The first moment after `after` at which the clock in `zone` shows `at`. A time that daylight saving skips is taken
-- as much later, one that it repeats once, which is what AT TIME ZONE does.
CREATE OR REPLACE FUNCTION next_local_time(zone text, at time, after timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(moment)
    FROM (SELECT (((after AT TIME ZONE known)::date + days) + at) AT TIME ZONE known AS moment
          FROM known_zone(zone) AS known, generate_series(0, 2) AS days) AS candidates
    WHERE moment > after
$$;

-- ---------------------------------------------------------------- quizzes and answers

CREATE TABLE IF NOT EXISTS quizzes (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    learner_id   bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    question_id  bigint NOT NULL REFERENCES questions,
    kind         text NOT NULL CHECK (kind IN
                     ('daily',                         -- the distribution
                      'on_demand',                     -- /quiz
                      'review')),                      -- /review
    is_review    boolean NOT NULL DEFAULT false,       -- it was missed before; a quiz of any kind may be one
    local_day    date NOT NULL,
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN
                     ('pending',                       -- made; -> sending
                      'sending',                       -- Telegram is being asked; -> sent, failed, pending when refused for now
                      'sent',                          -- in the learner's chat; -> answered, expired
                      'answered',                      -- the first tap counted; -> graded
                      'graded',                        -- level and streak follow from it; feedback_at: sent when
                      'expired',                       -- nobody answered in time; -> answered if a tap in time waited
                      'failed')),                      -- could not be sent, failure says why; -> answered if a copy arrived
    option_order smallint[] NOT NULL CHECK (array_length(option_order, 1) = 4),
    message_id   bigint,
    message_bot_id bigint,                             -- whose number that is; null before several bots were known
    attempts     smallint NOT NULL DEFAULT 0,          -- how often sending began
    chosen       smallint CHECK (chosen BETWEEN 0 AND 4),  -- 4: "I don't know"
    failure      text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    touched_at   timestamptz NOT NULL DEFAULT now(),   -- when the state last changed
    sent_at      timestamptz,
    answered_at  timestamptz,
    graded_at    timestamptz,
    feedback_at  timestamptz,
    expires_at   timestamptz NOT NULL,                 -- until when it can be answered; begins anew when it is sent
    traceparent  text                                  -- the span in which it was sent; null without tracing
);

-- create_quizzes: one daily quiz a local day, however often the distribution runs
CREATE UNIQUE INDEX IF NOT EXISTS quizzes_one_daily ON quizzes (learner_id, local_day) WHERE kind = 'daily';

-- create_quizzes: at most one open quiz on demand
CREATE UNIQUE INDEX IF NOT EXISTS quizzes_one_open ON quizzes (learner_id)
    WHERE kind IN ('on_demand', 'review') AND state IN ('pending', 'sending', 'sent');

-- pick_questions, find_open_quizzes, delete_learner
CREATE INDEX IF NOT EXISTS quizzes_of_learner ON quizzes (learner_id, question_id);

-- count_stock, list_questions
CREATE INDEX IF NOT EXISTS quizzes_of_question ON quizzes (question_id, learner_id);

-- find_stalled_quizzes, expire_quizzes
CREATE INDEX IF NOT EXISTS quizzes_unfinished ON quizzes (state, touched_at)
    WHERE state IN ('pending', 'sending', 'sent', 'answered');

-- find_missing_feedback
CREATE INDEX IF NOT EXISTS quizzes_untold ON quizzes (graded_at) WHERE state = 'graded' AND feedback_at IS NULL;

-- count_failed_today
CREATE INDEX IF NOT EXISTS quizzes_failed ON quizzes (touched_at) WHERE state = 'failed';

-- Messages that still show the buttons of a question, though nobody is to answer it there: each is closed by an edit.
CREATE TABLE IF NOT EXISTS stale_messages (
    learner_id bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    bot_id     bigint NOT NULL,                        -- whose message it is
    message_id bigint NOT NULL,
    reason     text NOT NULL CHECK (reason IN
                   ('moved',                           -- asked for again, and sent anew
                    'answered',                        -- in another copy
                    'topics')),                        -- its topic is none of the learner's any more
    since      timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz NOT NULL DEFAULT now(),  -- until when one process alone tries to close it
    PRIMARY KEY (learner_id, bot_id, message_id)       -- mark_sent, record_taps, claim_stale_messages, delete_learner
);

-- claim_stale_messages
CREATE INDEX IF NOT EXISTS stale_messages_claimed ON stale_messages (claimed_until);

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
    points_before smallint NOT NULL,                   -- how near the next level was; by level_rules 1, from -6 to 6
    points_after  smallint NOT NULL,
    run_before    integer NOT NULL,
    run_after     integer NOT NULL,
    placement_left smallint NOT NULL,
    was_placed    boolean NOT NULL,
    streak_before integer NOT NULL,
    streak_after  integer NOT NULL,
    freezes_before smallint NOT NULL,
    freezes_after smallint NOT NULL,
    rated         boolean NOT NULL,                    -- whether it moved the ratings
    success       double precision,                    -- expected; it and what follows are null before ratings were kept
    ability_before double precision,
    ability_variance_before double precision,
    ability_after double precision,
    ability_variance_after double precision,
    difficulty    double precision,                    -- of the item when it was answered
    difficulty_variance double precision,
    level_difficulties double precision[],             -- of each level's questions then, the lowest first: for a replay
    answered_at   timestamptz NOT NULL,
    level_rules   smallint NOT NULL DEFAULT 1          -- which rules of levels it was graded by; 1: those with points
);

-- list_topic_scores, list_recent_answers, find_missed_tags, export_learner
CREATE INDEX IF NOT EXISTS answers_of_learner ON answers (learner_id, answered_at);

CREATE TABLE IF NOT EXISTS reviews (
    learner_id  bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    item        text NOT NULL,
    question_id bigint NOT NULL REFERENCES questions,  -- as it was missed last
    stability   double precision NOT NULL,             -- days after which nine in ten would still know it
    difficulty  double precision NOT NULL,             -- the scheduler's, from 1 to 10
    reviewed_at timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    PRIMARY KEY (learner_id, item)                     -- get_grading_facts, persist_answer
);

-- find_due_reviews, count_reviews
CREATE INDEX IF NOT EXISTS reviews_due ON reviews (learner_id, due_at);

-- ---------------------------------------------------------------- doubts and costs

CREATE TABLE IF NOT EXISTS question_reports (
    question_id bigint NOT NULL REFERENCES questions ON DELETE CASCADE,
    learner_id  bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    reason      text NOT NULL CHECK (reason IN ('wrong', 'unclear', 'outdated')),
    reported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (question_id, learner_id)              -- report_question: a learner counts once
);

-- delete_learner, export_learner
CREATE INDEX IF NOT EXISTS reports_of_learner ON question_reports (learner_id);

CREATE TABLE IF NOT EXISTS generations (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic             text NOT NULL REFERENCES topics,
    level             smallint NOT NULL REFERENCES levels,
    model             text NOT NULL,
    outcome           text NOT NULL DEFAULT 'begun' CHECK (outcome IN
                          ('begun',                    -- the budget is reserved; stays so if the process is killed
                           'accepted',                 -- verified; the question is active
                           'quarantined',              -- written, and verification failed; reason says which
                           'failed')),                 -- the model gave no question
    reason            text,
    question_id       bigint REFERENCES questions ON DELETE SET NULL,
    calls             smallint NOT NULL DEFAULT 0,
    prompt_tokens     integer NOT NULL DEFAULT 0,
    completion_tokens integer NOT NULL DEFAULT 0,
    cost              numeric(12, 6) NOT NULL,         -- US dollars; the reservation until it ends
    begun_at          timestamptz NOT NULL DEFAULT now(),
    ended_at          timestamptz
);

-- begin_generation, sum_generations
CREATE INDEX IF NOT EXISTS generations_by_time ON generations (begun_at);

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
    traceparent   text,                                -- the span in which it was received; null without tracing
    UNIQUE (bot_id, update_id)                         -- store_update: a redelivery changes nothing
);

-- claim_updates: the oldest unfinished update of each learner
CREATE INDEX IF NOT EXISTS updates_waiting ON updates (learner_id, update_id) WHERE state IN ('new', 'claimed');

-- delete_old_updates
CREATE INDEX IF NOT EXISTS updates_finished ON updates (done_at) WHERE state IN ('done', 'failed');

-- delete_learner
CREATE INDEX IF NOT EXISTS updates_of_learner ON updates (learner_id) WHERE learner_id IS NOT NULL;

-- ---------------------------------------------------------------- who is alive

CREATE TABLE IF NOT EXISTS heartbeats (
    name    text PRIMARY KEY,                          -- role and process, such as worker:4711
    role    text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    version text                                       -- null of a process from before it was noted
);

-- One row for each run of the daily distribution; what its learners get is in quizzes.
CREATE TABLE IF NOT EXISTS distributions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN
                    ('running',                        -- -> any other
                     'completed',
                     'failed',                         -- reason says why
                     'cancelled',                      -- by an operator, or its process was told to stop
                     'crashed')),                      -- silent for a minute; -> any other if it ends after all
    reason      text,
    due         integer NOT NULL,                      -- learners whom it was to serve, each of whom ends as one of:
    sent        integer NOT NULL DEFAULT 0,
    skipped     integer NOT NULL DEFAULT 0,
    failed      integer NOT NULL DEFAULT 0,
    unreachable integer NOT NULL DEFAULT 0,            -- blocked the bot, or is gone
    refused     integer NOT NULL DEFAULT 0,            -- Telegram refuses their bot; their quizzes wait
    begun_at    timestamptz NOT NULL DEFAULT now(),
    touched_at  timestamptz NOT NULL DEFAULT now(),    -- every few seconds while it runs
    ended_at    timestamptz
);

CREATE INDEX IF NOT EXISTS distributions_begun ON distributions (begun_at);

-- One row for each backup that was begun; the dumps themselves are files.
CREATE TABLE IF NOT EXISTS backups (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN
                    ('running',                        -- -> any other
                     'verified',                       -- restored elsewhere: every row was there
                     'failed')),                       -- reason says why
    reason      text,
    file        text NOT NULL,                         -- its name, without the folder
    size_bytes  bigint,
    differences integer,                               -- what a replay of it found; they are in the database as well
    begun_at    timestamptz NOT NULL DEFAULT now(),
    ended_at    timestamptz
);

-- ---------------------------------------------------------------- what operators do

-- The latest pause of each bot, and of all bots together.
CREATE TABLE IF NOT EXISTS pauses (
    bot_id   bigint PRIMARY KEY,                       -- 0: all of them
    reason   text,
    begun_at timestamptz NOT NULL DEFAULT now(),
    ends_at  timestamptz                               -- null: until an operator resumes
);

CREATE OR REPLACE VIEW active_pauses AS SELECT * FROM pauses WHERE ends_at IS NULL OR ends_at > now();

CREATE TABLE IF NOT EXISTS announcements (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text     text NOT NULL,                            -- Telegram's HTML
    begun_at timestamptz NOT NULL DEFAULT now()        -- when it was last started
);

-- add_announcement: the same text is the same announcement
CREATE UNIQUE INDEX IF NOT EXISTS announcements_of_text ON announcements (md5(text));

CREATE TABLE IF NOT EXISTS announced (
    announcement_id bigint NOT NULL REFERENCES announcements ON DELETE CASCADE,
    learner_id      bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    state           text NOT NULL DEFAULT 'sending' CHECK (state IN
                        ('sending',                    -- from before Telegram is asked; one that stays so may have arrived
                         'sent',
                         'failed')),                   -- Telegram refused it for good, failure says why
    failure         text,
    touched_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (announcement_id, learner_id)          -- begin_announcing: at most once a learner
);

-- delete_learner, export_learner
CREATE INDEX IF NOT EXISTS announced_of_learner ON announced (learner_id);

-- ---------------------------------------------------------------- starter bank
-- One question of each topic and level, made from question_bank/ by `make seed`; the service loads the whole bank.

-- seed begin
INSERT INTO questions (key, content_hash, topic, level, source, prompt, code, language, options, correct_index, explanation, reference_title, reference_url, tags, form, check_spec, template, seed, state_reason) VALUES
('batch-bounded-input', '6705bff74e965c0f0138445646b9036c', 'batch_processing', 1, 'static', 'Two programs read the same Kafka topic. One never stops. The other starts each night and exits when it is done.
What makes the second one a batch job?', NULL, '', '[{"text": "It writes files instead of another topic", "why": "Both kinds can write files, tables or topics. The target does not decide."}, {"text": "It reads a set of records with a known end", "why": "A known end of the input is what separates batch from streaming."}, {"text": "It reads more records than a stream per day", "why": "Volume does not decide. A stream can carry far more records than a nightly job."}, {"text": "It is started by a scheduler, not by hand", "why": "A person or an event may start a batch job as well."}]', 1, 'Batch means that the input is bounded: the job knows where the data ends, so it can sort, join and aggregate all
of it and finish. A stream is unbounded, and the program never sees the end.', 'Apache Flink, What is Apache Flink? — Architecture, Process Unbounded and Bounded Data', 'https://flink.apache.org/what-is-flink/flink-architecture/', ARRAY['batch-vs-streaming', 'bounded-data']::text[], 'definition', NULL, NULL, NULL, NULL),
('batch-month-steps-drift', '90294e91fd10acce3da7da411bb164dc', 'batch_processing', 2, 'static', 'A billing job plans monthly runs from 31 January. One version adds a month to the date of the last run, twice. The
other adds two months to the first date. Which dates do they give in DuckDB or PostgreSQL?', 'SELECT
  (DATE ''2026-01-31''
    + INTERVAL ''1 month''
    + INTERVAL ''1 month'')::DATE,
  (DATE ''2026-01-31''
    + INTERVAL ''2 months'')::DATE;', 'sql', '[{"text": "28 March and 31 March", "why": "The first step is cut to 28 February. The second starts from day 28, so day 31 is forgotten.", "value": "2026-03-28, 2026-03-31"}, {"text": "31 March and 31 March", "why": "After the first step the date is 28 February, and nothing remembers that it once was the 31st.", "value": "2026-03-31, 2026-03-31"}, {"text": "3 April and 31 March", "why": "Both engines cut to the last day of February instead.", "value": "2026-04-03, 2026-03-31"}, {"text": "28 March and 28 March", "why": "Two months at once do not pass through February: March has a 31st day, so nothing is cut.", "value": "2026-03-28, 2026-03-28"}]', 0, 'Adding a month cuts the day to the length of the new month, and the cut stays in the value. Schedules that step
from run to run drift to the 28th. Keep the first date and add n months to it.', 'DuckDB documentation, Interval Type', 'https://duckdb.org/docs/stable/sql/data_types/interval', ARRAY['dates', 'intervals', 'scheduling']::text[], 'practical', '{"engine":"duckdb","setup":"","run":null}', NULL, NULL, NULL),
('batch-aqe-skew-threshold', '5cbbb012356ec23893b4a462fd7c7016', 'batch_processing', 3, 'static', 'Spark 4.0, default settings, adaptive execution and skew join on. This sort-merge join is not split, though one
task is 25 times the median. Each row runs a costly expression. What do you do?', '200 tasks     min   median  max
shuffle read  6 MB  8 MB    200 MB
duration      20 s  25 s    11 min
spill (disk)  0 B   0 B     0 B', 'text', '[{"text": "Lower the byte threshold of the skew join", "why": "A partition must be over 5 times the median and over 256 MB. 200 MB fails the second test."}, {"text": "Raise the skew factor above 5", "why": "A higher factor makes fewer partitions count as skewed. 25 times passes already."}, {"text": "Raise the initial number of shuffle partitions", "why": "The rows of one key stay in one partition. The median would shrink and the maximum would not."}, {"text": "Give the executors more memory", "why": "Nothing spills. The task is slow since it has 25 times as many costly rows."}]', 0, 'The factor finds outliers; the byte threshold keeps Spark from splitting partitions that are small anyway. Bytes
are a proxy for time: with costly rows, 200 MB can hold a stage up. Lower it for this job, and the advisory size
as well.', 'Apache Spark 4.0 documentation, Performance Tuning, Optimizing Skew Join', 'https://spark.apache.org/docs/4.0.0/sql-performance-tuning.html#optimizing-skew-join', ARRAY['spark', 'aqe', 'data-skew', 'spark-ui']::text[], 'next_step', NULL, NULL, NULL, NULL),
('batch-rand-salt-stage-retry', '940ae6beeae6d64e35041b077cf3a6c3', 'batch_processing', 4, 'static', 'A Spark 3.5 job on spot nodes is green each night, but on some nights a few thousand of 2 billion rows are missing
and others are there twice. `raw` and `users` are large. What in the logs would explain it, and what do you
change?', 'events = raw.join(users, "user_id")
big = (events.withColumn("salt",
    (rand() * 32).cast("int")))
out = big.repartition(
    800, "account", "salt")', 'python', '[{"text": "Skewed tasks; use a salt of 64 values", "why": "Skew makes tasks slow. It neither drops nor doubles rows."}, {"text": "Fetch failures; hash the event id for the salt", "why": "A repeated map task gets its rows in another order, so other salts; rows change partitions half-way."}, {"text": "Speculative tasks; switch speculation off for the job", "why": "Only one copy of a map output is used. The same can still happen after a lost node."}, {"text": "Evicted cache blocks; persist `big` with two replicas", "why": "Nothing is cached here, and losing both replicas would bring the same error back."}]', 1, 'Spark repeats only the lost map tasks and assumes that they give the same rows to the same partitions. Whatever
routes rows must be a function of the data. A seed is not enough if the order of the input rows can change.', 'PySpark documentation, pyspark.sql.functions.rand, Notes (non-deterministic in general case)', 'https://spark.apache.org/docs/latest/api/python/reference/pyspark.sql/api/pyspark.sql.functions.rand.html', ARRAY['spark', 'determinism', 'fault-tolerance', 'silent-failure']::text[], 'next_step', NULL, NULL, NULL, NULL),
('dm-grain-statement', '5b96835293c3fcee1b9a1a7fd4de982b', 'data_modeling', 1, 'static', 'A team designs a fact table for supermarket sales. Before choosing columns they want to declare its grain. Which
sentence does that?', NULL, '', '[{"text": "It holds amount, quantity, discount and cost for all shops", "why": "This lists measures. It does not say what a single row stands for."}, {"text": "Each row is one product line on one receipt of one shop", "why": "It says exactly what one row is, so every measure and dimension can be tested against it."}, {"text": "It is loaded every night at 02:00 from the till system", "why": "This is the load schedule. Grain is about the meaning of a row."}, {"text": "It joins to the dimensions date, shop, product, customer", "why": "Dimensions follow from the grain. The list alone leaves open what one row means."}]', 1, 'The grain says what one row of a fact table represents. It is declared before dimensions and facts are chosen,
since each of them must fit it. Rows of different grain in one table lead to wrong sums.', 'Kimball Group, Dimensional Modeling Techniques, Grain', 'https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/dimensional-modeling-techniques/grain/', ARRAY['grain', 'fact-tables', 'dimensional-modeling']::text[], 'practical', NULL, NULL, NULL, NULL),
('dm-scd2-between-double-match', '6b0d7e2a1b0dec8c5fc7f80e3c350650', 'data_modeling', 2, 'static', '`dim` keeps customer 7 in two versions: ''silver'', valid 2026-01-01 to 2026-03-01, and ''gold'', valid 2026-03-01 to
9999-12-31. Customer 7 has one sale of 50, on 2026-03-01. What does the query return?', 'SELECT sum(s.amount)
FROM sales s
JOIN dim d
  ON d.customer_id = s.customer_id
 AND s.sold_on BETWEEN d.valid_from
                   AND d.valid_to;', 'sql', '[{"text": "50", "why": "This is the wish. But both versions include the day 2026-03-01, so the sale matches twice."}, {"text": "0", "why": "`BETWEEN` includes both ends, so a border day matches more, not less."}, {"text": "100", "why": "`valid_to` of one version equals `valid_from` of the next, and `BETWEEN` includes both ends."}, {"text": "NULL", "why": "Two versions match. A sum over no rows would be NULL."}]', 2, 'Validity intervals that touch need half-open logic: `sold_on >= valid_from AND sold_on < valid_to`. With `BETWEEN`
a border day belongs to two versions, and the fact is counted twice. Test that each fact keeps exactly one row.', 'Kimball Group, Dimensional Modeling Techniques, Type 2: Add New Row', 'https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/dimensional-modeling-techniques/type-2/', ARRAY['scd', 'type-2', 'ranges', 'fan-out']::text[], 'code_review', '{"engine":"duckdb","setup":"CREATE TABLE dim (customer_id INT, tier TEXT, valid_from DATE, valid_to DATE);\nINSERT INTO dim VALUES (7, ''silver'', ''2026-01-01'', ''2026-03-01''), (7, ''gold'', ''2026-03-01'', ''9999-12-31'');\nCREATE TABLE sales (customer_id INT, sold_on DATE, amount INT);\nINSERT INTO sales VALUES (7, ''2026-03-01'', 50);\n","run":null}', NULL, NULL, NULL),
('dm-64-bit-hash-collision-odds', '09243820502fb0457d33a1ddc050fc8d', 'data_modeling', 3, 'static', 'A Data Vault hub will hold 5 billion business keys; its key is a hash of the business key. A collision would merge
two customers silently. Storage matters, but less than that. How wide is the hash?', NULL, '', '[{"text": "64 bits: 2^64 values are billions of times 5 billion", "why": "Pairs collide, and their number grows with the square of the keys. At 5 billion keys the chance is about 49%.", "value": "64"}, {"text": "128 bits: collisions matter only near 2^64 keys", "why": "Collisions become likely near the square root of the space. With 5 billion keys the chance is below one in 10^18.", "value": "128"}, {"text": "32 bits: a hub checks for the key at each load", "why": "2^32 is less than the number of keys. And the lookup goes by the hash, so it finds the wrong customer.", "value": "32"}, {"text": "512 bits: attackers have broken all shorter ones", "why": "Nobody attacks the key here, and each link and satellite would carry 64 bytes of it.", "value": "512"}]', 1, 'The birthday rule: expect collisions once the keys reach the square root of the space, about 4 billion for 64
bits. MD5 has 128 bits and is broken for signatures, not for this. Below some million keys 64 bits do, and join
faster as BIGINT.', 'AutomateDV documentation, Best Practices, Hashing', 'https://automate-dv.readthedocs.io/en/latest/best_practises/hashing/', ARRAY['hashing', 'collisions', 'surrogate-keys']::text[], 'choose', '{"engine":"python","setup":"","run":"import math\nn = 5_000_000_000\nfor bits in (32, 64, 128, 512):\n    if -math.expm1(-n * n / (2 * 2**bits)) < 1e-9:\n        print(bits)\n        break\n"}', NULL, NULL, NULL),
('dm-unique-column-waits-for-inserts', 'ff09afe948989fcad824e36146553c02', 'data_modeling', 4, 'static', 'PostgreSQL 18: `orders.account_id` references `account(id)`. Batch jobs insert orders in transactions of ten
minutes. Updates of `account.email` never waited for them; since Monday''s release they do. The jobs and the
update are unchanged. What do you look for in the release?', NULL, '', '[{"text": "An index on `orders (account_id)`", "why": "It speeds up checks when an account is deleted or its id changes. An update of `email` needs none."}, {"text": "ON UPDATE CASCADE on the foreign key", "why": "It acts only if `id` itself changes."}, {"text": "A unique key on `account (email)`", "why": "The column may now be a foreign key''s target. Changing it takes a lock that waits for the inserts'' locks."}, {"text": "A trigger on `account` that logs changes", "why": "A log entry costs time, but does not wait for sessions that insert orders."}]', 2, 'An insert into a child holds FOR KEY SHARE on the parent row until its commit. Normal updates go along with
that; updates of a column with a plain unique index do not. A unique index on an expression such as
`lower(email)`, or a partial one, is not counted, as no foreign key can use it.', 'PostgreSQL 18 documentation, 13.3.2 Row-Level Locks', 'https://www.postgresql.org/docs/18/explicit-locking.html', ARRAY['foreign-keys', 'unique-constraints', 'locking', 'postgresql']::text[], 'next_step', NULL, NULL, NULL, NULL),
('dq-count-column-skips-null', '0850c684e6172383cd625d8a8935267a', 'data_quality', 1, 'static', 'You check how complete the column `email` is. In PostgreSQL, `customers` has five rows, with the emails
''a@x.io'', NULL, '''' (an empty string), NULL and ''b@x.io''. What does the query return?', 'SELECT COUNT(*), COUNT(email)
FROM customers;', 'sql', '[{"text": "5, 5", "why": "Both would be 5 only if `COUNT(email)` counted rows. It counts values that are not NULL."}, {"text": "5, 3", "why": "Two of the five emails are NULL and are skipped. The empty string is a value, so it counts."}, {"text": "5, 2", "why": "In PostgreSQL an empty string is a value of length zero. (Oracle would store NULL.)"}, {"text": "3, 3", "why": "`COUNT(*)` counts rows, whatever they hold. NULLs do not make rows vanish."}]', 1, '`COUNT(*)` counts rows and `COUNT(column)` counts values that are not NULL. The difference is the number of
NULLs, a cheap completeness check. It does not see empty strings: test for them separately.', 'PostgreSQL 18 documentation, 9.21 Aggregate Functions', 'https://www.postgresql.org/docs/18/functions-aggregate.html', ARRAY['completeness', 'nulls', 'sql']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE customers (email TEXT);\nINSERT INTO customers VALUES (''a@x.io''), (NULL), (''''), (NULL), (''b@x.io'');\n","run":null}', NULL, NULL, NULL),
('dq-dbt-severity-forty-failures', '0c3974c39ffbf1297a6db90296a544cc', 'data_quality', 2, 'static', 'This dbt test finds 40 duplicate ids. What does `dbt build` do with the test and with the models that depend on
the tested one?', 'data_tests:
  - unique:
      config:
        severity: error
        warn_if: ">10"
        error_if: ">100"', 'yaml', '[{"text": "The test passes, and the models downstream are built", "why": "`error_if` is not met, but dbt then looks at `warn_if`. 40 is more than 10, so it is reported."}, {"text": "The test warns, and the models downstream are built", "why": "40 does not meet `error_if` but meets `warn_if`. A warning does not stop what comes after."}, {"text": "The test fails, and the models downstream are skipped", "why": "`severity: error` only allows an error. The condition of `error_if` decides, and 40 is not above 100."}, {"text": "The test warns, and the models downstream are skipped", "why": "dbt skips what depends on a failed test. A warning skips nothing."}]', 1, 'With `severity: error`, dbt checks `error_if` first, then `warn_if`. Thresholds let you tolerate a little dirt,
hear about more, and stop the build only when it is serious.', 'dbt documentation, severity, error_if, and warn_if', 'https://docs.getdbt.com/reference/resource-configs/severity', ARRAY['dbt', 'severity', 'thresholds']::text[], 'practical', NULL, NULL, NULL, NULL),
('dq-zscore-with-eight-points', '458afd5e4d43bfacceaa3dc24cbfcfa6', 'data_quality', 3, 'static', 'A volume monitor runs this each morning. Today a table got a million rows instead of 100, and it stayed silent.
The limit of 3 is fixed. Which change makes it alert?', 'from statistics import mean, stdev

# rows per day, today last
n = [98, 101, 100, 99, 102, 100,
     100, 1_000_000]
z = (n[-1] - mean(n)) / stdev(n)
if abs(z) > 3:
    alert()', 'python', '[{"text": "Take the last 10 days instead of 8", "why": "Today still inflates its own baseline: with 10 values no z-score can pass 2.85.", "value": "ten"}, {"text": "Take the population deviation, `pstdev`", "why": "That raises the highest possible z only to 2.65.", "value": "pstdev"}, {"text": "Take the logarithm of the counts", "why": "The cap depends on the number of values alone, not on their scale.", "value": "log"}, {"text": "Leave today out of mean and deviation", "why": "The baseline then is about 100 with a deviation near 1, and today is far outside.", "value": "without"}]', 3, 'An outlier inside its own baseline hides itself: with n values, no z-score exceeds (n - 1) / sqrt(n), which is
2.47 for 8. Compute the baseline without today, or use the median and the MAD.', 'NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17 Detection of Outliers', 'https://www.itl.nist.gov/div898/handbook/eda/section3/eda35h.htm', ARRAY['anomaly-detection', 'statistics', 'volume']::text[], 'code_review', '{"engine":"python","setup":"","run":"from math import log\nfrom statistics import mean, pstdev, stdev\nold, today = [98, 101, 100, 99, 102, 100, 100], 1_000_000\nn = [*old, today]\nten = [99, 101, *n]\nlogs = [log(x) for x in n]\nscores = {\n    \"ten\": (today - mean(ten)) / stdev(ten),\n    \"pstdev\": (today - mean(n)) / pstdev(n),\n    \"log\": (logs[-1] - mean(logs)) / stdev(logs),\n    \"without\": (today - mean(old)) / stdev(old),\n}\nprint(\", \".join(name for name, z in scores.items() if abs(z) > 3))\n"}', NULL, NULL, NULL),
('dq-cascade-stopped-by-trigger', '1cbab64911e9963eb11cbec030526773', 'data_quality', 4, 'static', 'PostgreSQL 18. `orders.customer_id` references `customers` with ON DELETE CASCADE, and this trigger should protect
paid orders. Customer 1 has a paid order and an open one. What does `DELETE FROM customers WHERE id = 1` do?', 'CREATE FUNCTION keep_paid()
RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN
  IF OLD.paid THEN
    RETURN NULL;
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER keep_paid
  BEFORE DELETE ON orders
  FOR EACH ROW
  EXECUTE FUNCTION keep_paid();', 'sql', '[{"text": "It fails, as the paid order would be left without its customer", "why": "The cascade counts as done. PostgreSQL does not look whether rows were left.", "value": "error"}, {"text": "It deletes nothing, as the trigger cancels the whole statement", "why": "RETURN NULL skips one row of `orders`. Only an error stops the DELETE.", "value": "1 customer, 2 orders"}, {"text": "It deletes the customer and both orders, as cascades pass triggers", "why": "A cascade is an ordinary DELETE, which fires the triggers of `orders`.", "value": "0 customers, 0 orders"}, {"text": "It deletes the customer and the open order only", "why": "The trigger skips the paid order, which now points to nobody, under a key that counts as valid.", "value": "0 customers, 1 order"}]', 3, 'A foreign key is enforced by triggers, and a BEFORE trigger of yours can undo their work silently. RAISE an
exception to protect rows. Where such triggers exist, test for orphans in spite of the foreign key.', 'PostgreSQL 18 documentation, 37.1 Overview of Trigger Behavior', 'https://www.postgresql.org/docs/18/trigger-definition.html', ARRAY['referential-integrity', 'triggers', 'constraints', 'postgres']::text[], 'code_review', '{"engine":"postgres","setup":"CREATE TABLE customers (id INT PRIMARY KEY);\nCREATE TABLE orders (id INT, customer_id INT REFERENCES customers ON DELETE CASCADE, paid BOOL);\nINSERT INTO customers VALUES (1); INSERT INTO orders VALUES (10, 1, true), (11, 1, false);\nCREATE FUNCTION keep_paid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n  IF OLD.paid THEN RETURN NULL; END IF; RETURN OLD; END $$;\nCREATE TRIGGER keep_paid BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION keep_paid();\nDELETE FROM customers WHERE id = 1;\n","run":"SELECT (SELECT count(*) FROM customers) || '' customers, '' || (SELECT count(*) FROM orders) || '' order''\n"}', NULL, NULL, NULL),
('dw-report-slows-shop-database', '5b3ede1638c4a43dc208a93de1a71f32', 'data_warehouse_lakehouse', 1, 'static', 'A shop''s app and its reports share one PostgreSQL server. Each Monday a report scans three years of orders, and
checkout is slow while it runs. Which change removes the cause?', NULL, '', '[{"text": "Index every column that the report filters on", "why": "The report reads most rows anyway, and each extra index makes every checkout write slower."}, {"text": "Raise the connection limit for the report''s user", "why": "Both still share the same disks, memory and CPU; a connection adds none of these."}, {"text": "Run the report on a copy in an analytical store", "why": "The heavy scan then uses other machines, in a store that is built for scans."}, {"text": "Split the report into three queries, one per year", "why": "The same rows are read, on the same disks as before."}]', 2, 'Transactions touch few rows and must be fast; reports scan many rows. On one server they compete for the same
resources. A separate analytical store, such as a warehouse, takes the scans away from the app.', 'Azure Architecture Center, Online analytical processing (OLAP)', 'https://learn.microsoft.com/en-us/azure/architecture/data-guide/relational-data/online-analytical-processing', ARRAY['olap', 'oltp', 'architecture']::text[], 'practical', NULL, NULL, NULL, NULL),
('dw-merge-two-source-rows', '4418e56f8b4f3bb28a389fcb27ad80a0', 'data_warehouse_lakehouse', 2, 'static', '`dim` holds ids 1 and 2, and the batch holds two rows for id 2. What does this MERGE do in DuckDB, as in
PostgreSQL and Delta Lake?', '-- batch: (2,''x''), (2,''y''), (3,''z'')
MERGE INTO dim AS t
USING batch AS s
ON t.id = s.id
WHEN MATCHED THEN
  UPDATE SET v = s.v
WHEN NOT MATCHED THEN
  INSERT VALUES (s.id, s.v);', 'sql', '[{"text": "It fails and changes nothing", "why": "Which of the two values should win is not defined, so the engine refuses the statement.", "value": "error: InvalidInputException"}, {"text": "It gives id 2 the value ''y''", "why": "A batch has no order, so there is no last row without a column to sort by.", "value": "1, a / 2, y / 3, z"}, {"text": "It gives id 2 the value ''x''", "why": "No first row is defined either.", "value": "1, a / 2, x / 3, z"}, {"text": "It leaves two rows for id 2", "why": "`MERGE` updates the matched row; it does not multiply it.", "value": "1, a / 2, x / 2, y / 3, z"}]', 0, '`MERGE` wants at most one matching source row for each target row that it changes. Reduce the batch to one row
per key first, for example with `ROW_NUMBER()` over the key ordered by the change time.', 'Delta Lake documentation, Table deletes, updates, and merges, Upsert into a table using merge', 'https://docs.delta.io/delta-update/', ARRAY['merge', 'deduplication', 'upsert']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE dim (id INT, v TEXT); INSERT INTO dim VALUES (1, ''a''), (2, ''b'');\nCREATE TABLE batch (id INT, v TEXT); INSERT INTO batch VALUES (2, ''x''), (2, ''y''), (3, ''z'');\n","run":"MERGE INTO dim AS t USING batch AS s ON t.id = s.id\nWHEN MATCHED THEN UPDATE SET v = s.v\nWHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);\nSELECT id, v FROM dim ORDER BY id, v;\n"}', NULL, NULL, NULL),
('dw-dynamic-overwrite-keeps-stale', '8dba3686713a45c9962b6112d7f0bf25', 'data_warehouse_lakehouse', 3, 'static', 'Spark on Iceberg, in dynamic overwrite mode. `by_country` is partitioned by day and country. A bug had put some
sales under country XX. The day is recomputed without the bug and written again. What does the day hold?', 'INSERT OVERWRITE by_country
SELECT day, country, sum(amount)
FROM fixed_sales
WHERE day = DATE ''2026-03-01''
GROUP BY day, country;', 'sql', '[{"text": "The fixed rows, and no others", "why": "Only partitions that the result has rows for are replaced, and XX has none now."}, {"text": "The fixed rows, and the old row of XX", "why": "The partition XX is not in the result, so nobody replaces it, and its sales count twice."}, {"text": "The fixed rows, and all old rows as well", "why": "Countries in the result are replaced, not added to."}, {"text": "The fixed rows, but no other day", "why": "Static mode without a clause does that. Here the other days stay."}]', 1, 'Dynamic overwrite never deletes a partition that has become empty. State what is replaced: `DELETE` the day and
insert in one job, `overwrite(expr)` with the day as filter, or partition by day alone.', 'Apache Iceberg documentation, Spark Writes, Dynamic overwrite', 'https://iceberg.apache.org/docs/latest/spark-writes/', ARRAY['spark', 'iceberg', 'overwrite', 'reruns']::text[], 'code_review', NULL, NULL, NULL, NULL),
('dw-compaction-keeps-old-sequence', '9c7ebd4932c46ea40e07cf0b6db6f606', 'data_warehouse_lakehouse', 4, 'static', 'Iceberg v2: a compaction starts at sequence 40. Flink commits equality deletes as 45. The compaction then
commits as 46, with the number 40 on its new files. With 46 on them, Iceberg would refuse the commit. What would
the table show otherwise?', NULL, '', '[{"text": "Rows that 45 has deleted, as visible rows", "why": "A delete applies to older data only, and files of 46 would be newer than the delete of 45."}, {"text": "No new files for readers of snapshot 40", "why": "A snapshot reads the files that its manifests list, whatever their number."}, {"text": "Rows that Flink has added with 45, but twice", "why": "It read the files of sequence 40. Files added later are in none of its own."}, {"text": "No rows that were appended as 41 to 45", "why": "Files do not hide others. Rows go only by deletes or by removed files."}]', 0, 'That is why `rewrite_data_files` uses the starting sequence number. The price: deletes that came during the run
stay in use until the next compaction, so on a busy table compact often and in small groups.', 'Apache Iceberg 1.10 documentation, Spark Procedures, rewrite_data_files', 'https://iceberg.apache.org/docs/latest/spark-procedures/', ARRAY['iceberg', 'equality-deletes', 'compaction', 'sequence-numbers']::text[], 'practical', NULL, NULL, NULL, NULL),
('dist-replication-vs-partitioning', '54437f42c3e1862e4184c4dd6bd1237f', 'distributed_systems', 1, 'static', 'A table is split by customer id over four servers, and each row is on one server only. The disk of one server
dies. What can the application still read?', NULL, '', '[{"text": "All rows; the other three servers take over", "why": "To take over they need a copy of the rows. Splitting a table makes no copies."}, {"text": "About three quarters of the rows", "why": "Each server holds its own quarter, and the quarter of the dead one exists nowhere else."}, {"text": "No rows until the server is replaced", "why": "Queries for customers on the other servers never touch the dead one."}, {"text": "All rows, but with older values", "why": "Older values come from copies that lag. Here there is no copy at all."}]', 1, 'Partitioning (sharding) spreads size and load; replication survives failures. Real systems use both: they split a
table and keep several replicas of each part.', 'Apache Cassandra documentation, Dynamo, Dataset Partitioning: Consistent Hashing', 'https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html', ARRAY['partitioning', 'replication']::text[], 'practical', NULL, NULL, NULL, NULL),
('dist-quorum-overlap-choice', 'a93504d38b531c7a5e44998c94fd38d1', 'distributed_systems', 2, 'static', 'A store keeps 5 replicas of each value. A write waits for W of them, and a read asks R. Reads must always see the
last confirmed write, and reads should be as cheap as possible. What do you set?', NULL, '', '[{"text": "W = 2, R = 3", "why": "2 + 3 = 5: a read can ask just the three replicas that missed the write."}, {"text": "W = 3, R = 2", "why": "3 + 2 = 5: the two replicas that are read may be those that did not get the write."}, {"text": "W = 3, R = 3", "why": "It is safe, but a setting with a smaller R is safe as well."}, {"text": "W = 4, R = 2", "why": "Only one replica can miss a write, so any two that are read include a new value."}]', 3, 'Read and write sets overlap when R + W > N. A smaller R makes reads cheap and writes fragile: with W = 4 only one
replica may be down for writes. Where writes must go on with two replicas down, take W = 3, R = 3.', 'Apache Cassandra documentation, Dynamo, Tunable Consistency', 'https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html', ARRAY['quorum', 'consistency', 'replication']::text[], 'choose', '{"engine":"python","setup":"","run":"from itertools import combinations\nnodes = range(5)\ndef overlaps(w, r):\n    return all(set(a) & set(b) for a in combinations(nodes, w) for b in combinations(nodes, r))\noffered = [(2, 3), (3, 2), (3, 3), (4, 2)]\nw, r = min((o for o in offered if overlaps(*o)), key=lambda o: o[1])\nprint(f\"W = {w}, R = {r}\")\n"}', NULL, NULL, NULL),
('dist-lww-clock-skew', '67ee0d4701ffc122b9158ebd3ad3be91', 'distributed_systems', 3, 'static', 'In Cassandra 5.0 a row shows an old status, even at consistency ALL. The log collector''s clock is exact; the app uses
a driver with its default settings. What happened?', 'collector log (UTC)
10:00:03.2 host1 ''review'' ok
10:00:05.1 host2 ''final''  ok

SELECT status, writetime(status)

status  writetime
review  10:00:03.2', 'text', '[{"text": "The clock of host2 is more than 1.9 s behind", "why": "Drivers stamp writes with the client''s clock. `final` got a stamp before 10:00:03.2 and lost."}, {"text": "The replica that took `final` was not read", "why": "ALL reads every replica, and the highest stamp wins."}, {"text": "The driver retried `review` after `final`", "why": "A retry keeps its stamp, and the writetime shown is that of the first try."}, {"text": "host2''s write timed out and was dropped", "why": "The log says ok, so as many replicas as asked for had stored it."}]', 0, 'Last-write-wins trusts clocks. A host that runs behind loses its writes silently, though the client got a success.
Alert on clock offset, and use a lightweight transaction (`IF status = ...`) where order matters.', 'Apache Cassandra documentation, Dynamo, Data Versioning', 'https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html', ARRAY['cassandra', 'clocks', 'last-write-wins']::text[], 'read', NULL, NULL, NULL, NULL),
('dist-raft-deposed-leader-read', '08499d58649beb0dfabf8b9867021d42', 'distributed_systems', 4, 'static', 'A Raft leader answers reads from memory. After a network split it kept some clients and served old values, while the
other side had a new leader. Reads must be linearizable and cheap; the clocks of these VMs cannot be trusted. What do
you change?', NULL, '', '[{"text": "The leader serves reads only within a lease", "why": "It is the cheapest way, but it relies on clocks that run at about the same speed."}, {"text": "Clients read from a follower, chosen at random", "why": "They do, but late: a follower may lag, or be on the wrong side of the split."}, {"text": "The leader appends each read to the log", "why": "It is right, but each read then costs a disk write on a majority."}, {"text": "The leader confirms by heartbeats before it answers", "why": "A cut-off leader gets no majority and stays silent. One round serves a batch of reads."}]', 3, 'This is the read index: note the commit index, confirm leadership, wait until it is applied, answer. With well-kept
clocks, a lease saves the round trip. Where old values are fine, ask any member and say so.', 'Raft paper (extended version), section 8 Client interaction', 'https://raft.github.io/raft.pdf', ARRAY['raft', 'linearizability', 'stale-reads', 'leases']::text[], 'choose', NULL, NULL, NULL, NULL),
('etl-where-transform-runs', '28159478ac0ef4ac4ccc2912c21b86e2', 'etl_vs_elt', 1, 'static', 'A tool copies raw orders into Snowflake. After that, SQL models in Snowflake clean and join them. The copy is
quick, but the models now take two hours. Where can more computing power help?', NULL, '', '[{"text": "In the copy tool''s server", "why": "The tool only moves the raw rows, and that step is quick."}, {"text": "In the shop''s database", "why": "The models read the copied tables. The source is not touched after the copy."}, {"text": "On the scheduler''s machine", "why": "The scheduler sends the SQL and waits for the answer."}, {"text": "In the Snowflake warehouse", "why": "The models are SQL that runs inside Snowflake, so its compute does the work."}]', 3, 'In ELT the target does the transformation, so its size and its bill follow the models. In ETL a separate engine
would do that work before the load.', 'Azure Architecture Center, Extract, transform, load (ETL), Extract, load, transform (ELT)', 'https://learn.microsoft.com/en-us/azure/architecture/data-guide/relational-data/etl', ARRAY['elt', 'etl', 'basics']::text[], 'practical', NULL, NULL, NULL, NULL),
('etl-watermark-tie-lost', 'b32a8cfa9434fad95301f422cc0baa7d', 'etl_vs_elt', 2, 'static', 'At 10:00:00 a job read row 1, stamped 10:00:00, and stored that time. Row 2 was committed a moment later with
the same stamp, and row 3 came at 10:05:00. Which rows does the next run read?', 'SELECT id FROM src
WHERE updated_at >
  TIMESTAMP ''2026-03-01 10:00:00''
ORDER BY id;', 'sql', '[{"text": "Row 3 only", "why": "Only 10:05:00 is later than the stored time, so row 2 is lost without an error.", "value": "3"}, {"text": "Rows 2 and 3", "why": "Row 2 has exactly the stored time. Strictly greater leaves it out for ever.", "value": "2 / 3"}, {"text": "Rows 1, 2 and 3", "why": "That is what `>=` returns. Row 1 is then read twice, which an upsert absorbs.", "value": "1 / 2 / 3"}, {"text": "Row 2 only", "why": "Row 3 is later than the stored time, so the filter keeps it.", "value": "2"}]', 0, 'Rows that share the watermark''s timestamp can appear after it was taken. Read with `>=`, or better with an
overlap, and upsert by key so that rows read twice do no harm.', 'Airbyte documentation, Incremental Sync - Append, Inclusive Cursors', 'https://docs.airbyte.com/platform/using-airbyte/core-concepts/sync-modes/incremental-append', ARRAY['incremental-load', 'watermark', 'data-loss']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE src (id INT, updated_at TIMESTAMP);\nINSERT INTO src VALUES (1, ''2026-03-01 10:00:00''), (2, ''2026-03-01 10:00:00''), (3, ''2026-03-01 10:05:00'');\n","run":null}', NULL, NULL, NULL),
('etl-returning-skips-conflicts', '884187c1689931e6d9315dec82ba435b', 'etl_vs_elt', 3, 'static', 'PostgreSQL. A loader takes the keys for its facts from this statement. `city_key` is an identity column, `name`
is unique, and Oslo is there with key 1. What does it return?', 'INSERT INTO dim_city (name)
VALUES (''Oslo''), (''Rome''), (''Bern'')
ON CONFLICT (name) DO NOTHING
RETURNING city_key, name;', 'sql', '[{"text": "(2, Rome), (3, Bern)", "why": "The value is drawn before the conflict is found, so the skipped row uses up key 2.", "value": "2, Rome / 3, Bern"}, {"text": "(1, Oslo), (2, Rome), (3, Bern)", "why": "RETURNING gives only rows that were inserted. Oslo is not among them.", "value": "1, Oslo / 2, Rome / 3, Bern"}, {"text": "(1, Oslo), (3, Rome), (4, Bern)", "why": "The new keys are right, but the row that was there is not returned.", "value": "1, Oslo / 3, Rome / 4, Bern"}, {"text": "(3, Rome), (4, Bern)", "why": "Oslo draws key 2, conflicts and is skipped. Only the two new rows come back.", "value": "3, Rome / 4, Bern"}]', 3, 'Facts of known cities would find no key in this answer. Insert first, then look up all keys with a join on
`name`. Gaps are harmless, but loads full of conflicts can use up a small key type.', 'PostgreSQL 18 documentation, INSERT, Outputs', 'https://www.postgresql.org/docs/18/sql-insert.html', ARRAY['upsert', 'surrogate-keys', 'returning', 'postgresql']::text[], 'code_review', '{"engine":"postgres","setup":"CREATE TABLE dim_city (city_key INT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name TEXT UNIQUE);\nINSERT INTO dim_city (name) VALUES (''Oslo'');\n","run":null}', NULL, NULL, NULL),
('etl-slot-old-transaction', '624883f7aaa2391aa3b16697f28e225e', 'etl_vs_elt', 4, 'static', 'A Debezium slot on PostgreSQL holds back 400 GB of WAL. Its connector sends and confirms thousands of events a
second. Where do you look first?', 'slot           now       1 h ago
active         t         t
restart_lsn    2A/10..   2A/10..
confirmed      5C/88..   5A/03..
lag in topics  1 s       1 s', 'text', '[{"text": "For a captured table that sends no events and needs a heartbeat", "why": "A heartbeat moves the confirmed position, and that position moves."}, {"text": "For a sink that is behind and does not commit its offsets", "why": "The slot knows only the connector. What Kafka has taken is confirmed."}, {"text": "For a connector whose offsets are flushed too seldom", "why": "The confirmed position has moved within the hour. It is not what is stuck."}, {"text": "For a transaction that has been open on the source for hours", "why": "`restart_lsn` stays at the oldest transaction that may still have to be decoded, even if all later ones are confirmed."}]', 3, 'Find the oldest `xact_start` in `pg_stat_activity` and prepared transactions in `pg_prepared_xacts`, and end
what nobody needs. `idle_in_transaction_session_timeout` prevents the common case.', 'PostgreSQL 18 documentation, 53.20 pg_replication_slots', 'https://www.postgresql.org/docs/18/view-pg-replication-slots.html', ARRAY['cdc', 'postgresql', 'replication-slots', 'transactions']::text[], 'next_step', NULL, NULL, NULL, NULL),
('ff-comma-inside-quotes', 'b2c267b5163da79fe9238117f9ee50b7', 'file_formats_storage', 1, 'static', 'One line of a CSV file is read in two ways. What does the code print?', 'import csv

line = ''7,"Blue, Ltd",paid''
print(len(line.split(",")),
      len(next(csv.reader([line]))))', 'python', '[{"text": "4 3", "why": "`split` cuts at every comma, while the CSV reader keeps the quoted comma inside one field."}, {"text": "3 3", "why": "`split` knows nothing about quotes and also cuts inside of them."}, {"text": "3 4", "why": "It is the other way round: the CSV reader is the one that understands quotes."}, {"text": "4 4", "why": "The CSV reader treats the quoted text as one field, so it finds three."}]', 0, 'In CSV a field with a comma, a quote or a line break stands in double quotes. Splitting lines at commas breaks
such rows into too many columns. Always use a real CSV parser.', 'RFC 4180, Section 2, Definition of the CSV Format', 'https://www.rfc-editor.org/rfc/rfc4180#section-2', ARRAY['csv', 'parsing']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('ff-bom-first-header', 'fe79228c3f911da6957d97de7ffb731f', 'file_formats_storage', 2, 'static', 'A spreadsheet program saved a CSV as UTF-8 with a byte order mark. A job reads it as below. What happens?', 'import csv, io

raw = b"\xef\xbb\xbfid,qty\n1,5\n"
text = io.StringIO(raw.decode())
for row in csv.DictReader(text):
    print(row["id"])', 'python', '[{"text": "It prints 1", "why": "The codec `utf-8-sig` removes it; plain `utf-8` keeps it as a character.", "value": "1"}, {"text": "It fails with `UnicodeDecodeError`", "why": "The three bytes are the valid encoding of U+FEFF.", "value": "error: UnicodeDecodeError"}, {"text": "It fails with `KeyError`", "why": "The mark becomes part of the first header, which is now `\\ufeffid`.", "value": "error: KeyError"}, {"text": "It prints id", "why": "The first line is still the header; only the name of its first column is changed.", "value": "id"}]', 2, 'Decoding with `utf-8` leaves the byte order mark in the text as an invisible character, so the first column name
is wrong although it looks right. Read such files with `utf-8-sig`, which works with and without the mark.', 'Python documentation, codecs, encodings.utf_8_sig — UTF-8 codec with BOM signature', 'https://docs.python.org/3/library/codecs.html#module-encodings.utf_8_sig', ARRAY['csv', 'encoding', 'unicode']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('ff-dictionary-fallback', '4cade2bb7792c4e2ea3e10544585b6ea', 'file_formats_storage', 3, 'static', 'Writing a Parquet table takes more memory than planned, and `session_id` makes up most of its size. Below is what
a writer with dictionary encoding logged of two column chunks. What do you change for `session_id`?', 'country
  1 dictionary page     400 B
  12 RLE_DICTIONARY      90 KB
session_id
  1 dictionary page       1 MB
  2 RLE_DICTIONARY      140 KB
  38 PLAIN               39 MB', 'text', '[{"text": "Switch its dictionary off", "why": "The dictionary was full after two pages, so it costs memory and gains nothing."}, {"text": "Raise the limit of its dictionary", "why": "The ids hardly repeat, so the dictionary would hold each of them once, plus the indexes."}, {"text": "Make its pages larger, for fewer of them", "why": "The same ids fill fewer pages then, with the same bytes."}, {"text": "Declare it as a required column", "why": "Nulls are not stored among the values; definition levels carry them in a few bits."}]', 0, 'The fallback from dictionary to plain pages shows a column of nearly distinct values. Switch the dictionary off
for it, store UUIDs as 16 bytes instead of 36 characters, or sort so that equal ids stand together.', 'Apache Parquet documentation, Encodings, Dictionary Encoding', 'https://parquet.apache.org/docs/file-format/data-pages/encodings/', ARRAY['parquet', 'dictionary-encoding', 'footer']::text[], 'read', NULL, NULL, NULL, NULL),
('ff-bucket-key-breaks-readers', '666d755bbf7a7c405d890faa2078b43c', 'file_formats_storage', 4, 'static', 'A bucket uses SSE-KMS, and KMS requests cost more than its storage. S3 Bucket Keys were switched on. The bill
falls, but a partner account gets AccessDenied from KMS on objects written since, and reads older ones. What do
you check first?', NULL, '', '[{"text": "The bucket policy for the partner''s role", "why": "It would deny old objects as well, and the denial comes from KMS."}, {"text": "The encryption context in the grant", "why": "With Bucket Keys the context is the ARN of the bucket, and no longer that of the object."}, {"text": "The ownership of the new objects", "why": "Ownership did not change, and KMS does not ask for it."}, {"text": "The rotation of the key in the last days", "why": "A rotated key keeps its id, its policy and its grants."}]', 1, 'Conditions on `kms:EncryptionContext:aws:s3:arn` that name object ARNs stop matching. Change them to the bucket''s
ARN, and know what you give up: the key then no longer separates prefixes, and CloudTrail shows fewer KMS events.', 'Amazon S3 User Guide, Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys, Changes to note before enabling an S3 Bucket Key', 'https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-key.html', ARRAY['encryption', 's3', 'kms', 'access-control']::text[], 'next_step', NULL, NULL, NULL, NULL),
('gov-sql-injection-login', 'f597a07238ff9b4ad5b7eb5b130b0df0', 'governance_security', 1, 'static', 'An API looks up orders with this code. The table `orders` holds one order each of customers A, B and C. How many
rows come back for this `c`?', 'c = "A'' OR ''1''=''1"
sql = ("SELECT id FROM orders"
       " WHERE customer = ''"
       + c + "''")
rows = con.execute(sql).fetchall()
print(len(rows))', 'python', '[{"text": "1 row", "why": "The part after OR is true for each row, so B and C pass too.", "value": "1"}, {"text": "0 rows", "why": "A query with a parameter would return that. Here the quote in the value ends the string.", "value": "0"}, {"text": "An error", "why": "The quotes were chosen so that the whole text is valid SQL again.", "value": "error: sqlite3.OperationalError"}, {"text": "3 rows", "why": "The WHERE reads: customer = ''A'' OR ''1''=''1'', which is true for all rows.", "value": "3"}]', 3, 'Text that is glued into SQL is code, not data. Pass values as parameters (`WHERE customer = ?`). The driver then
sends them apart from the statement, and a quote stays a quote.', 'Python 3 documentation, sqlite3, How to use placeholders to bind values in SQL queries', 'https://docs.python.org/3/library/sqlite3.html#how-to-use-placeholders-to-bind-values-in-sql-queries', ARRAY['sql-injection', 'application-security']::text[], 'practical', '{"engine":"python","setup":"import sqlite3\ncon = sqlite3.connect(\":memory:\")\ncon.execute(\"CREATE TABLE orders (id INT, customer TEXT)\")\ncon.executemany(\"INSERT INTO orders VALUES (?, ?)\", [(1, \"A\"), (2, \"B\"), (3, \"C\")])\n","run":null}', NULL, NULL, NULL),
('gov-phone-hash-brute-force', '97e7638b6871bf68cf85808aa9af1875', 'governance_security', 2, 'static', 'A partner gets plain SHA-256 hashes of mobile numbers. All are `49 1` and nine more digits, and one graphics
card computes 500 million hashes a second. How long until every number is known?', NULL, '', '[{"text": "About 2 seconds", "why": "9 free digits are a billion numbers, and half of that is tried each second.", "value": "2"}, {"text": "Longer than the age of the universe", "why": "That tries 2^256 hashes. There are only a billion inputs.", "value": "never"}, {"text": "About 3 years", "why": "Nothing needs to be inverted: the attacker hashes all inputs and compares.", "value": "3 years"}, {"text": "About 33 minutes", "why": "That is 12 free digits. The prefix 491 is known.", "value": "2000"}]', 0, 'A hash of a value with few possibilities is reversed by trying them all. That is why hashed phone numbers remain
personal data. Use a keyed hash (HMAC) with the key kept elsewhere, or random tokens.', 'GDPR (Regulation (EU) 2016/679), Article 4(5) and Recital 26', 'https://eur-lex.europa.eu/eli/reg/2016/679/oj', ARRAY['hashing', 'pseudonymization', 'brute-force']::text[], 'practical', '{"engine":"python","setup":"","run":"free_digits, per_second = 9, 500_000_000\nprint(10 ** free_digits // per_second)\n"}', NULL, NULL, NULL),
('gov-pg-view-owner-rights', '5a60c96545bd92c66106694751801cd8', 'governance_security', 3, 'static', 'In PostgreSQL 18, a policy on `pay` shows each user only their own rows. The table''s owner hr adds this view.
What does a member of staff see in it?', 'CREATE VIEW pay_v AS
  SELECT emp, amount FROM pay;
GRANT SELECT ON pay_v TO staff;', 'sql', '[{"text": "All rows", "why": "The view reads `pay` as its owner hr, and a table''s owner skips row security."}, {"text": "An error: no right on the table", "why": "A view is read with its owner''s privileges on the table, so staff needs none."}, {"text": "No rows, the view has no policy", "why": "Policies belong to tables. The one on `pay` is skipped here."}, {"text": "Only their own rows", "why": "That needs `security_invoker = true`. Otherwise the view owner''s rights and policies count."}]', 0, 'Views run with the owner''s privileges and row policies unless they are created with `security_invoker = true`
(since PostgreSQL 15). A view owned by the table owner opens a door through row security.', 'PostgreSQL 18 documentation, CREATE VIEW, security_invoker and Notes', 'https://www.postgresql.org/docs/18/sql-createview.html', ARRAY['postgres', 'row-level-security', 'views']::text[], 'code_review', NULL, NULL, NULL, NULL),
('gov-rls-plan-not-leakproof', '4a3d2534cbed9c3f106182ec4ecd853b', 'governance_security', 4, 'static', 'A search in PostgreSQL 18 takes 3 ms as the owner, and 4 seconds as `app`, for which a row policy filters by
tenant. Index and statistics are the same. Why does app''s plan not use `notes_ts`?', 'SELECT id FROM notes
WHERE ts @@ to_tsquery(''refund'');

-- as the owner
Bitmap Heap Scan on notes
  Recheck Cond: (ts @@ ''''''refund'''''')
  -> Bitmap Index Scan on notes_ts

-- as app
Seq Scan on notes
  Filter: ((tenant = 42)
    AND (ts @@ ''''''refund''''''))
  Rows Removed by Filter: 4999990', 'text', '[{"text": "A policy turns a table into a view, which has no indexes", "why": "A policy adds conditions to the table. Indexes work with conditions that are leakproof."}, {"text": "app has no right on the index `notes_ts` itself", "why": "Indexes have no privileges of their own."}, {"text": "`tenant = 42` matches most rows, so a full scan is cheaper", "why": "Some ten rows of five million pass. The search alone would be very selective."}, {"text": "`@@` is not leakproof, so it must wait for the policy", "why": "An index scan on `ts` would run `@@` on rows of other tenants before the policy has hidden them."}]', 3, 'Conditions of the user that are not leakproof run after the policy. Help the policy itself: an index on
`tenant`, or partitions by tenant, so that few rows are left for the search. Marking a function LEAKPROOF takes
a superuser, and is a promise that it gives nothing away.', 'PostgreSQL 18 documentation, 39.5 Rules and Privileges', 'https://www.postgresql.org/docs/18/rules-privileges.html', ARRAY['postgres', 'row-level-security', 'leakproof', 'query-plan']::text[], 'read', NULL, NULL, NULL, NULL),
('obs-python-log-level-threshold', 'c41f7520d2d51677900ae451dc5da38c', 'observability', 1, 'static', 'A nightly job logs like this. Which of its four messages are in the log?', 'import logging, sys
logging.basicConfig(
    level=logging.WARNING,
    stream=sys.stdout,
    format="%(message)s")
logging.debug("open file")
logging.info("1000 rows read")
logging.warning("3 rows lack a key")
logging.error("load refused")', 'python', '[{"text": "The error alone", "why": "WARNING itself passes as well.", "value": "load refused"}, {"text": "All but the debug line", "why": "INFO is less severe than WARNING, so the number of rows is dropped.", "value": "1000 rows read / 3 rows lack a key / load refused"}, {"text": "The warning and the error", "why": "A level is a lower limit: WARNING itself and all that is more severe pass.", "value": "3 rows lack a key / load refused"}, {"text": "All of the four", "why": "Everything appears only at the level DEBUG.", "value": "open file / 1000 rows read / 3 rows lack a key / load refused"}]', 2, 'The order is DEBUG, INFO, WARNING, ERROR, CRITICAL, and a logger drops all below its level. Run batch jobs at
INFO: row counts and durations are what you look for at night.', 'Python documentation, Logging HOWTO, section When to use logging', 'https://docs.python.org/3/howto/logging.html', ARRAY['logging', 'python']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('obs-counter-reset-increase', '18c965695285ec4aba1ea7ac1199eddd', 'observability', 2, 'static', 'A counter of rows is scraped as 100, 160, 20, 50; the process restarted in between. Leaving extrapolation aside,
what growth does Prometheus'' `increase()` see?', NULL, '', '[{"text": "90", "why": "60 + 30 forgets the 20 that the new process had counted already."}, {"text": "50", "why": "The 60 before the restart count as well."}, {"text": "110", "why": "60, then 20 since the restart, then 30."}, {"text": "250", "why": "The 100 were there before the first sample, so they are no growth."}]', 2, '`rate()` and `increase()` take a drop for a restart at zero and add the new value in full. So export the raw
counter, never a difference that you computed yourself.', 'Prometheus documentation, Query functions, increase()', 'https://prometheus.io/docs/prometheus/latest/querying/functions/', ARRAY['prometheus', 'counters']::text[], 'practical', '{"engine":"python","setup":"","run":"samples = [100, 160, 20, 50]\nprint(sum(b - a if b >= a else b for a, b in zip(samples, samples[1:])))\n"}', NULL, NULL, NULL),
('obs-rate-window-and-scrape-interval', '70bcb4f0b927016d1590bd6d1116f295', 'observability', 3, 'static', 'Prometheus scrapes a job every 60 seconds and never misses. Three panels draw a point every 15 seconds. What do
they show?', '1: rate(rows_total[45s])
2: rate(rows_total[90s])
3: rate(rows_total[5m])', 'text', '[{"text": "1 nothing, 2 a line with gaps, 3 a line", "why": "It takes two samples: 45 s hold at most one, 90 s one or two, five minutes about five.", "value": "none some all"}, {"text": "1 nothing, 2 a line, 3 a line", "why": "90 s hold two only while the newer one is at most 30 s old.", "value": "none all all"}, {"text": "1 a line with gaps, 2 a line, 3 a line", "why": "Samples that are 60 s apart never lie in the same 45 s.", "value": "some all all"}, {"text": "1, 2 and 3 a line, 3 the smoothest", "why": "Without two samples in the window there is no result at all.", "value": "all all all"}]', 0, 'Take at least four scrape intervals, so that a missed scrape does no harm. An alert whose window is too short
never fires, and nobody notices.', 'Prometheus documentation, Query functions, rate()', 'https://prometheus.io/docs/prometheus/latest/querying/functions/', ARRAY['prometheus', 'rate', 'scrape-interval']::text[], 'read', '{"engine":"python","setup":"","run":"shown = []\nfor window in (45, 90, 300):\n    points = []\n    for t in range(607, 1207, 15):\n        samples = [s for s in range(0, 1207, 60) if t - window < s <= t]\n        points.append(len(samples) >= 2)\n    shown.append(\"all\" if all(points) else \"some\" if any(points) else \"none\")\nprint(*shown)\n"}', NULL, NULL, NULL),
('obs-time-to-safepoint', 'f5ea5188941b49ad8ff76decda72601d', 'observability', 4, 'static', 'A Java consumer stands still for some 8 seconds a few times a day, and loses its partitions. Its GC log looks
fine. This is one such moment. What do you look for?', '[gc] Pause Young (Normal)      40 ms
[safepoint] "G1CollectForAllocation"
  Time since last        4,012 ms
  Reaching safepoint     8,310 ms
  Cleanup                    1 ms
  At safepoint              41 ms', 'text', '[{"text": "A young generation that is too large to copy", "why": "That work took 40 ms, at the safepoint."}, {"text": "A clean-up of classes that runs in one thread", "why": "Such work would be time at the safepoint."}, {"text": "A thread deep in a huge copy or a mapped file", "why": "All wait until the last thread stops, and some code stops late."}, {"text": "A lock that most of the threads wait for", "why": "Blocked threads count as stopped already."}]', 2, 'Log safepoints beside GC, and alert on the sum of both phases. `-XX:+SafepointTimeout` names the thread that came
last.', 'Oracle Java SE documentation, The java Command, section Enable Logging with the JVM Unified Logging Framework', 'https://docs.oracle.com/en/java/javase/21/docs/specs/man/java.html', ARRAY['jvm', 'latency']::text[], 'read', NULL, NULL, NULL, NULL),
('orch-cycle-has-no-order', 'ff166b5d59b30210ab421df2196f08e7', 'orchestration', 1, 'static', 'In a pipeline, `clean` waits for `load`, `load` for `report`, and `report` for `clean`. An orchestrator puts the
tasks in order as this code does. What happens?', 'from graphlib import (
    TopologicalSorter)

waits_for = {
    "clean": ["load"],
    "load": ["report"],
    "report": ["clean"],
}
order = TopologicalSorter(waits_for)
print(*order.static_order())', 'python', '[{"text": "An error: no valid order exists", "why": "Each task waits for another one of the three, so none of them can be first.", "value": "error: graphlib.CycleError"}, {"text": "Order: clean, load, report", "why": "The order in the file does not matter. `clean` has to wait for `load`.", "value": "clean load report"}, {"text": "Order: report, load, clean", "why": "`report` itself waits for `clean`, so it cannot start the chain.", "value": "report load clean"}, {"text": "No output, as no task is ready yet", "why": "The sorter does not ignore a cycle silently. It reports it.", "value": "(nothing)"}]', 0, 'A pipeline is a directed acyclic graph (DAG): no chain of dependencies leads back to its start. Only then is there an
order in which every task finds its inputs ready. Orchestrators refuse a cycle when they read the file.', 'Python documentation, graphlib, TopologicalSorter', 'https://docs.python.org/3/library/graphlib.html', ARRAY['dag', 'dependencies', 'cycles']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('orch-branch-join-skipped', '57a4d96edbcad505c95bbe109018dcc4', 'orchestration', 2, 'static', 'In this Airflow 3 DAG the branch returns `full`, and `full` succeeds. All tasks keep the default trigger rule. What
happens to `publish`?', 'choose = BranchPythonOperator(
    task_id="choose",
    python_callable=pick)
choose >> [full, delta]
[full, delta] >> publish', 'python', '[{"text": "It runs", "why": "The default rule looks at all direct upstream tasks, and `delta` is skipped."}, {"text": "It is skipped", "why": "The branch skips `delta`, and with `all_success` a skip of an upstream task is passed on."}, {"text": "It is upstream_failed", "why": "A skip is not a failure. It is passed on as a skip."}, {"text": "It waits for `delta`", "why": "`skipped` is final, so there is nothing to wait for."}]', 1, 'A join after a branch needs a rule that accepts skipped tasks, such as `none_failed_min_one_success`. With
`all_success`, the default, the skip spreads to everything behind it, and the run is still green.', 'Airflow 3 documentation, Dags, Trigger Rules', 'https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html', ARRAY['airflow', 'branching', 'trigger-rules']::text[], 'practical', NULL, NULL, NULL, NULL),
('orch-cleanup-hides-failure', 'cbb14a2819f70987eac46fa52fa93479', 'orchestration', 3, 'static', 'An Airflow 3 DAG is `extract >> load >> drop_tmp`, and `drop_tmp` has `trigger_rule="all_done"`. An alert is set on
failed DAG runs. `load` fails, `drop_tmp` succeeds. What does the team notice?', NULL, '', '[{"text": "The run is failed, and the alert is sent", "why": "Airflow derives the state of the run from the leaf tasks only, and `load` is no leaf."}, {"text": "The run is green, and no alert is sent", "why": "The only leaf, `drop_tmp`, succeeded, and the state of a run comes from its leaves."}, {"text": "The run is skipped, and no alert is sent", "why": "A DAG run ends as success or failed. There is no skipped run."}, {"text": "The run stays open until `load` is cleared", "why": "All tasks have reached a final state, so the run is closed."}]', 1, 'A DAG run is failed if a leaf is failed or upstream_failed, so an `all_done` leaf hides earlier failures. Make the
cleanup a teardown, which does not count for the state of the run, or alert on failed tasks as well.', 'Airflow 3 documentation, Dag Runs, Dag Run Status', 'https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dag-run.html', ARRAY['airflow', 'trigger-rules', 'alerting', 'teardown']::text[], 'practical', NULL, NULL, NULL, NULL),
('orch-shared-broker-redelivers', '2314e9045d7029f53fe6c58a7e6d4d1d', 'orchestration', 4, 'static', 'A Celery task on Redis runs for 3 hours and is acknowledged at its end, with a visibility timeout of 12 hours. For a
year all was well. Since last week a second worker starts it after one hour, beside the first; nobody changed
the app. What do you check first?', NULL, '', '[{"text": "Which other apps have started to use this Redis as a broker", "why": "Any app hands out again what is older than its own timeout, an hour unless set, also messages of other apps."}, {"text": "Whether the first worker misses heartbeats while it computes", "why": "With Redis as broker only the age of an unacknowledged message counts."}, {"text": "Whether a time limit ends the first try and a retry begins", "why": "A time limit would end the first try. It is still running beside the second."}, {"text": "Whether Redis evicts the message, so that it is sent again", "why": "An evicted message is gone. Nobody sends it a second time."}]', 0, 'Unacknowledged messages of all apps lie under the same keys of one Redis database, so the shortest timeout of all
wins. Give each app its own database, or a key prefix, and make long tasks safe to start twice.', 'Celery 5 documentation, Using Redis, Caveats, Visibility timeout', 'https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/redis.html', ARRAY['celery', 'redis', 'redelivery', 'triage']::text[], 'next_step', NULL, NULL, NULL, NULL),
('sql-count-star-or-column', '28dfebc3878a82aef21d0e203c454e23', 'sql_performance', 1, 'static', 'The table `visits` has four rows. Its column `country` holds ''DE'', ''FR'', NULL and ''DE''. What does this query return?', 'SELECT count(*),
       count(country),
       count(DISTINCT country)
FROM visits;', 'sql', '[{"text": "4, 4, 3", "why": "This counts NULL as a value. `count` of a column never counts NULL, with or without `DISTINCT`."}, {"text": "3, 3, 2", "why": "`count(*)` counts rows, not values, so the row with the NULL country is counted too."}, {"text": "4, 3, 2", "why": "Four rows, three values that are not NULL, two different values."}, {"text": "4, 3, 3", "why": "This keeps NULL as one of the different values, but `count(DISTINCT country)` skips NULL."}]', 2, '`count(*)` counts rows. `count(x)` counts rows where `x` is not NULL, and `count(DISTINCT x)` counts the different
non-NULL values. The gap between the first two tells you how many NULLs a column has.', 'PostgreSQL 18 documentation, 9.21 Aggregate Functions', 'https://www.postgresql.org/docs/18/functions-aggregate.html', ARRAY['aggregates', 'nulls', 'count']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE visits (country TEXT);\nINSERT INTO visits VALUES (''DE''), (''FR''), (NULL), (''DE'');\n","run":null}', NULL, NULL, NULL),
('sql-not-in-with-null', '97b2bad5ba9b652f1bbf17e723baafd2', 'sql_performance', 2, 'static', '`users` holds the ids 1, 2 and 3. `blocked` holds the ids 2 and NULL, the NULL from a bad import. How many rows does
this query return?', 'SELECT id
FROM users
WHERE id NOT IN (
  SELECT id FROM blocked);', 'sql', '[{"text": "2 rows", "why": "This is what `NOT EXISTS` would return. `NOT IN` does not ignore the NULL.", "value": "2"}, {"text": "1 row", "why": "The NULL makes the test unknown for every user that is not in the list, not just for one.", "value": "1"}, {"text": "3 rows", "why": "The list is not empty. User 2 is matched and rejected in any case.", "value": "3"}, {"text": "0 rows", "why": "For users 1 and 3 the test ends as NULL, for user 2 as false. No row gets true.", "value": "0"}]', 3, '`id NOT IN (2, NULL)` means `id <> 2 AND id <> NULL`. The second part is NULL, so the whole is never true. Use
`NOT EXISTS`, or filter out NULLs in the subquery. `NOT EXISTS` also allows a fast anti join.', 'PostgreSQL 18 documentation, 9.24 Subquery Expressions, NOT IN', 'https://www.postgresql.org/docs/18/functions-subquery.html', ARRAY['nulls', 'anti-join', 'subqueries']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE users (id INT); INSERT INTO users VALUES (1), (2), (3);\nCREATE TABLE blocked (id INT); INSERT INTO blocked VALUES (2), (NULL);\n","run":"SELECT count(*) FROM (SELECT id FROM users WHERE id NOT IN (SELECT id FROM blocked));"}', NULL, NULL, NULL),
('sql-estimate-outside-mcv', 'c87f15cfb8ad2cb9e44e2dd7375c2398', 'sql_performance', 3, 'static', 'PostgreSQL: `users` has 1,000,000 rows. This is its row in `pg_stats` for `country`. About how many rows does the
planner expect for `country = ''pl''`?', 'attname           | country
null_frac         | 0
n_distinct        | 103
most_common_vals  | {de,fr,it}
most_common_freqs | {0.5,0.2,0.1}', 'text', '[{"text": "10,000 rows", "why": "Near 1,000,000 / 103. It ignores that the three common values take 80% of the rows.", "value": "10000"}, {"text": "2,000 rows", "why": "The other 100 values share the remaining 20%, so each gets 0.2% of the table.", "value": "2000"}, {"text": "100,000 rows", "why": "''pl'' is rarer than the values in the list. 10% is only an upper limit for it.", "value": "100000"}, {"text": "1 row", "why": "The planner knows that the list is not complete, and spreads the rest evenly.", "value": "1"}]', 1, 'Values outside the list get (1 - listed share) / (other values). If the sample misses rare values of a huge table,
`n_distinct` is too low and they are all overestimated: raise the statistics target or set `n_distinct` yourself.', 'PostgreSQL 18 documentation, How the Planner Uses Statistics, Row Estimation Examples', 'https://www.postgresql.org/docs/18/row-estimation-examples.html', ARRAY['statistics', 'cardinality', 'selectivity']::text[], 'read', '{"engine":"python","setup":"","run":"rows, n_distinct, mcv = 1_000_000, 103, [0.5, 0.2, 0.1]\nprint(round(rows * (1 - sum(mcv)) / (n_distinct - len(mcv))))\n"}', NULL, NULL, NULL),
('sql-statistics-kind-for-pairs', '848f3bca9d4dfb095dd477d686150579', 'sql_performance', 4, 'static', 'PostgreSQL: each city in `addr` lies in one country. Users filter by both, and often by pairs that do not exist, such
as Paris and US. Real pairs and impossible ones shall both get good estimates. What do you create?', NULL, '', '[{"text": "`CREATE STATISTICS (mcv) ON city, country`", "why": "It stores the pairs that occur with their shares, so a pair that is not there is known to be rare."}, {"text": "`CREATE STATISTICS (dependencies) ON city, country`", "why": "It assumes that the values fit together, so Paris and US gets as many rows as Paris and FR."}, {"text": "`CREATE STATISTICS (ndistinct) ON city, country`", "why": "It helps estimates of `GROUP BY city, country`, not those of a filter."}, {"text": "`ALTER COLUMN city SET STATISTICS 1000`, and `country` too", "why": "Each column is still looked at alone, and the shares are multiplied as before."}]', 0, '`mcv` costs the most to build and plan with, and holds only as many pairs as the target allows. With a hundred thousand
cities and filters that always fit, `dependencies` is small and enough. Run `ANALYZE` after creating either.', 'PostgreSQL 18 documentation, 14.2.2.3 Multivariate MCV Lists', 'https://www.postgresql.org/docs/18/planner-stats.html', ARRAY['statistics', 'cardinality', 'query-planner']::text[], 'choose', '{"engine":"postgres","setup":"CREATE FUNCTION estimate(t TEXT, city INT, country INT) RETURNS INT LANGUAGE plpgsql AS $f$\nDECLARE plan JSON;\nBEGIN\n  EXECUTE format(''EXPLAIN (FORMAT JSON) SELECT * FROM %I WHERE city = %s AND country = %s'', t, city, country)\n  INTO plan;\n  RETURN (plan->0->''Plan''->>''Plan Rows'')::INT;\nEND $f$;\nCREATE TABLE t1 AS SELECT n % 100 AS city, n % 100 / 10 AS country FROM generate_series(1, 10000) n;\nCREATE TABLE t2 AS SELECT * FROM t1; CREATE TABLE t3 AS SELECT * FROM t1; CREATE TABLE t4 AS SELECT * FROM t1;\nCREATE STATISTICS s1 (mcv) ON city, country FROM t1;\nCREATE STATISTICS s2 (dependencies) ON city, country FROM t2;\nCREATE STATISTICS s3 (ndistinct) ON city, country FROM t3;\nALTER TABLE t4 ALTER COLUMN city SET STATISTICS 1000, ALTER COLUMN country SET STATISTICS 1000;\nANALYZE t1; ANALYZE t2; ANALYZE t3; ANALYZE t4;\n","run":"SELECT answer FROM (VALUES\n  (''t1'', ''`CREATE STATISTICS (mcv) ON city, country`''),\n  (''t2'', ''`CREATE STATISTICS (dependencies) ON city, country`''),\n  (''t3'', ''`CREATE STATISTICS (ndistinct) ON city, country`''),\n  (''t4'', ''`ALTER COLUMN city SET STATISTICS 1000`, and `country` too'')) v(t, answer)\nWHERE estimate(t, 55, 5) BETWEEN 90 AND 110 AND estimate(t, 55, 9) <= 2;\n"}', NULL, NULL, NULL),
('stream-counts-by-arrival-two-days', '6d12cde4cccfd84b222e400b87c9e54e', 'streaming', 1, 'static', 'A job counts taps per day by the time when they arrive. On Monday evening the mobile network fails, and phones keep
their taps until Tuesday. What does the chart show?', NULL, '', '[{"text": "Too few on Monday, and Tuesday as it was", "why": "Nothing was dropped. The taps came on Tuesday and were counted there."}, {"text": "Too few on Monday, and too many on Tuesday", "why": "Monday''s last taps arrived on Tuesday, so they count as Tuesday''s."}, {"text": "Both days as they were, by the tap''s own time", "why": "This job counts by arrival. It does not look at the time in the record."}, {"text": "Both days too low, as the taps were not sent", "why": "The phones kept the taps and sent them on Tuesday."}]', 1, 'Arrival time measures your network as well. Count by the time of the event, which the record carries: then a late tap
goes to its own day, and a replay gives the same chart. The price: the job must wait, or correct what it has sent.', 'Apache Flink documentation, Timely Stream Processing, Notions of Time: Event Time and Processing Time', 'https://nightlies.apache.org/flink/flink-docs-stable/docs/concepts/time/#notions-of-time-event-time-and-processing-time', ARRAY['event-time', 'processing-time', 'late-data']::text[], 'practical', NULL, NULL, NULL, NULL),
('stream-session-window-count', 'd279187665cbe0184c50df5a5b36b87a', 'streaming', 2, 'static', 'One user clicks at these minutes. A session ends when more than 10 minutes pass without a click.
How many sessions does this query find?', '-- clicks(minute): 0, 4, 15, 25, 40
WITH g AS (
  SELECT minute,
    minute - lag(minute) OVER (
      ORDER BY minute) AS gap
  FROM clicks
)
SELECT count(*)
FROM g
WHERE gap IS NULL OR gap > 10;', 'sql', '[{"text": "2 sessions", "why": "Two breaks cut the clicks into three sessions; the first click starts one as well.", "value": "2"}, {"text": "3 sessions", "why": "Sessions begin at 0 (no gap), 15 (gap 11) and 40 (gap 15). A gap of 10 does not break.", "value": "3"}, {"text": "4 sessions", "why": "That also breaks at minute 25, but its gap is exactly 10 and the rule asks for more than 10.", "value": "4"}, {"text": "5 sessions", "why": "That counts every click. Only the first one has no click before it.", "value": "5"}]', 1, 'A session starts at a row with no row before it or with too large a gap, so counting starts counts sessions. Agree
on the border: is a gap equal to the limit still the same session?', 'DuckDB documentation, Window Functions, lag', 'https://duckdb.org/docs/stable/sql/functions/window_functions', ARRAY['windows', 'sessions', 'sql']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE clicks (minute INT); INSERT INTO clicks VALUES (0), (4), (15), (25), (40);\n","run":null}', NULL, NULL, NULL),
('stream-copartition-mismatch', 'c231b6dcf2854d684d7eb76c0aeb37dc', 'streaming', 3, 'static', 'A Kafka Streams app joins `orders` (8 partitions, a stream) with `customers` (6, a table with years of rows) and
refuses to start: they are not co-partitioned. `customers` has 900 GB and must match in full. What do you do?', NULL, '', '[{"text": "Add 2 partitions to `customers`", "why": "It starts, and matches are missing in silence: old rows stay where hash modulo 6 put them."}, {"text": "Run the app with 8 threads", "why": "Threads run tasks. They do not change which keys meet in a task."}, {"text": "Repartition `orders` to 6 by the key", "why": "Orders pass through an internal topic with 6 partitions, so equal keys meet in one task."}, {"text": "Read `customers` as a GlobalKTable", "why": "It needs no co-partitioning, but every instance would hold all 900 GB."}]', 2, 'A task reads partition n of both inputs, so key, count and partitioner must agree. Move the small side, here the
stream. A GlobalKTable is right for a table that fits into each instance, such as countries or shops.', 'Apache Kafka 4.1 Streams documentation, DSL API, Join co-partitioning requirements', 'https://kafka.apache.org/41/streams/developer-guide/dsl-api/', ARRAY['kafka-streams', 'joins', 'partitions']::text[], 'choose', NULL, NULL, NULL, NULL),
('stream-flink-transaction-timeout', '53a902fa6cb14ddc5c891c1f8d27edc7', 'streaming', 4, 'static', 'A Flink job writes to Kafka with exactly-once delivery. After an outage of two hours it resumed from its last checkpoint
and runs without an error, but the output of the minute before the outage is missing. What prevents this, and at what
price?', NULL, '', '[{"text": "Shorter checkpoint intervals; more load on the storage", "why": "Less is lost, but the last transaction is still aborted while the job is down."}, {"text": "More retained checkpoints; more space for old state", "why": "The checkpoint is fine. It asks for the commit of a transaction that no longer exists."}, {"text": "A longer transaction timeout; readers may wait that long", "why": "The broker aborted the pre-committed data. A longer timeout keeps it, but also keeps a hanging one open."}, {"text": "Offset commits after each record; less throughput", "why": "The source goes by the checkpoint. The loss is on the side of the sink."}]', 2, 'Between pre-commit and commit the data lives only in an open transaction. The timeout must outlast the longest downtime
plus a checkpoint, and the brokers'' `transaction.max.timeout.ms` must allow it. Until then, `read_committed` readers
wait behind a transaction that hangs.', 'Apache Flink documentation, Kafka Connector, Kafka Sink, Fault Tolerance', 'https://nightlies.apache.org/flink/flink-docs-stable/docs/connectors/datastream/kafka/', ARRAY['flink', 'kafka', 'transactions', 'exactly-once']::text[], 'practical', NULL, NULL, NULL, NULL)
ON CONFLICT (key) DO NOTHING;
-- seed end

COMMIT;
