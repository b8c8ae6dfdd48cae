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
    ('0010_pauses_and_announcements') ON CONFLICT DO NOTHING;

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
    points          smallint NOT NULL DEFAULT 0,       -- progress within the level
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
    told_of_pause_at timestamptz                       -- when they last read that quizzes are paused
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
    chosen       smallint CHECK (chosen BETWEEN 0 AND 3),
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
    answered_at   timestamptz NOT NULL
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
('batch-bounded-input', 'fd08c269af6226c8aedaf648fbce46ff', 'batch_processing', 1, 'static', 'Two programs read the same Kafka topic. One never stops. The other starts each night and exits when it is done.
What makes the second one a batch job?', NULL, '', '[{"text": "It writes files instead of another topic", "why": "Both kinds can write files, tables or topics. The target does not decide."}, {"text": "It reads a set of records with a known end", "why": "A known end of the input is what separates batch from streaming."}, {"text": "It reads more records than a stream per day", "why": "Volume does not decide. A stream can carry far more records than a nightly job."}, {"text": "It is started by a scheduler, not by hand", "why": "A person or an event may start a batch job as well."}]', 1, 'Batch means that the input is bounded: the job knows where the data ends, so it can sort, join and aggregate all
of it and finish. A stream is unbounded, and the program never sees the end.', 'Apache Flink documentation, Overview, Process Unbounded and Bounded Data', 'https://flink.apache.org/what-is-flink/flink-architecture/', ARRAY['batch-vs-streaming', 'bounded-data']::text[], 'definition', NULL, NULL, NULL, NULL),
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
('batch-checkpoint-interval', '41f69588f4bace35d6697022e551d10e', 'batch_processing', 4, 'static', 'A 10-hour simulation on spot machines saves a checkpoint every 40 minutes, each costing 2 minutes of work. That
was tuned for an interruption every 400 minutes. In the new region they come every 100 minutes. Which interval
wastes least?', NULL, '', '[{"text": "10 minutes, a quarter of the old one", "why": "A fifth of the work would be checkpoints, more than the repeated work that it saves."}, {"text": "20 minutes, half of the old one", "why": "The best interval grows with the root of the time between failures: a quarter gives a half."}, {"text": "40 minutes, as the checkpoint still costs the same", "why": "An interruption loses 20 minutes on average, and they are four times as frequent now."}, {"text": "80 minutes, to finish more between interruptions", "why": "Most intervals would be interrupted, and each loses 40 minutes on average."}]', 1, 'Checkpoints cost C/T of the time, repeated work about T/2M; the sum is least near T = sqrt(2 C M): 40 minutes
before, 20 now. The curve is flat near its minimum, so measure M and C roughly. A cheaper checkpoint helps by the
root, too.', 'Communications of the ACM 17(9), 1974, A first order approximation to the optimum checkpoint interval', 'https://dl.acm.org/doi/10.1145/361147.361115', ARRAY['checkpointing', 'fault-tolerance', 'spot-instances', 'cost']::text[], 'choose', '{"engine":"python","setup":"cost, mtbf = 2, 100\nnames = {10: \"10 minutes, a quarter of the old one\", 20: \"20 minutes, half of the old one\",\n         40: \"40 minutes, as the checkpoint still costs the same\",\n         80: \"80 minutes, to finish more between interruptions\"}\n","run":"print(names[min(names, key=lambda t: cost / t + t / (2 * mtbf))])\n"}', NULL, NULL, NULL),
('dm-grain-statement', '32de3220a919d0df32b1981cf901d969', 'data_modeling', 1, 'static', 'A team designs a fact table for supermarket sales. Before choosing columns they want to declare its grain. Which
sentence does that?', NULL, '', '[{"text": "It holds amount, quantity, discount and cost for all shops", "why": "This lists measures. It does not say what a single row stands for."}, {"text": "Each row is one product line on one receipt of a shop", "why": "It says exactly what one row is, so every measure and dimension can be tested against it."}, {"text": "It is loaded every night at 02:00 from the till system", "why": "This is the load schedule. Grain is about the meaning of a row."}, {"text": "It joins to the dimensions date, shop, product, customer", "why": "Dimensions follow from the grain. The list alone leaves open what one row means."}]', 1, 'The grain says what one row of a fact table represents. It is declared before dimensions and facts are chosen,
since each of them must fit it. Rows of different grain in one table lead to wrong sums.', 'Kimball Group, Dimensional Modeling Techniques, Grain', 'https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/dimensional-modeling-techniques/grain/', ARRAY['grain', 'fact-tables', 'dimensional-modeling']::text[], 'practical', NULL, NULL, NULL, NULL),
('dm-scd2-between-double-match', '6b0d7e2a1b0dec8c5fc7f80e3c350650', 'data_modeling', 2, 'static', '`dim` keeps customer 7 in two versions: ''silver'', valid 2026-01-01 to 2026-03-01, and ''gold'', valid 2026-03-01 to
9999-12-31. Customer 7 has one sale of 50, on 2026-03-01. What does the query return?', 'SELECT sum(s.amount)
FROM sales s
JOIN dim d
  ON d.customer_id = s.customer_id
 AND s.sold_on BETWEEN d.valid_from
                   AND d.valid_to;', 'sql', '[{"text": "50", "why": "This is the wish. But both versions include the day 2026-03-01, so the sale matches twice."}, {"text": "0", "why": "`BETWEEN` includes both ends, so a border day matches more, not less."}, {"text": "100", "why": "`valid_to` of one version equals `valid_from` of the next, and `BETWEEN` includes both ends."}, {"text": "NULL", "why": "Two versions match. A sum over no rows would be NULL."}]', 2, 'Validity intervals that touch need half-open logic: `sold_on >= valid_from AND sold_on < valid_to`. With `BETWEEN`
a border day belongs to two versions, and the fact is counted twice. Test that each fact keeps exactly one row.', 'Kimball Group, Dimensional Modeling Techniques, Type 2: Add New Row', 'https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/dimensional-modeling-techniques/type-2/', ARRAY['scd', 'type-2', 'ranges', 'fan-out']::text[], 'code_review', '{"engine":"duckdb","setup":"CREATE TABLE dim (customer_id INT, tier TEXT, valid_from DATE, valid_to DATE);\nINSERT INTO dim VALUES (7, ''silver'', ''2026-01-01'', ''2026-03-01''), (7, ''gold'', ''2026-03-01'', ''9999-12-31'');\nCREATE TABLE sales (customer_id INT, sold_on DATE, amount INT);\nINSERT INTO sales VALUES (7, ''2026-03-01'', 50);\n","run":null}', NULL, NULL, NULL),
('dm-data-vault-where-does-it-go', 'b271bd45c0365475d80b951a188b5d28', 'data_modeling', 3, 'static', 'Data Vault: `link_order_line` joins `hub_order` and `hub_product`. A new source sends the discount agreed for each
order line; it changes until the invoice is sent. History is needed, and existing loads must not change. Where
does it go?', NULL, '', '[{"text": "Into `link_order_line`, as a new column", "why": "A link holds only keys and load metadata. Changing attributes in it would need updates."}, {"text": "Into a new satellite on `link_order_line`", "why": "It describes the relationship and changes over time. That is what a link satellite is for."}, {"text": "Into the existing satellite of `hub_order`", "why": "The discount belongs to one line. Other lines of the same order can have other discounts."}, {"text": "Into a new hub with the discount as its key", "why": "A hub needs a business key that identifies a thing. A percentage identifies nothing."}]', 1, 'Hubs hold business keys, links hold relationships, satellites hold descriptions with their history. An attribute
hangs on the hub or link that it describes. A new source then adds a satellite and leaves existing tables alone.', 'AutomateDV documentation, Tutorial, Satellites', 'https://automate-dv.readthedocs.io/en/latest/tutorial/tut_satellites/', ARRAY['data-vault', 'satellites', 'links']::text[], 'choose', NULL, NULL, NULL, NULL),
('dm-link-needs-effectivity', 'd87da3ae4ac4073612e190dc4783d75e', 'data_modeling', 4, 'static', 'Data Vault: an employee has one department at a time, and the source delivers only the current one.
`link_employee_department` got (E1, D1) in January, (E1, D2) in June; in August E1 is back in D1. Links are
insert-only, one row per pair. How do you find the current department?', NULL, '', '[{"text": "By an effectivity satellite on the link, driven by the employee", "why": "Each new pair of the employee ends the open one, so D2 is closed and D1 opens again in August."}, {"text": "By the newest link row, with its load date moved on to August", "why": "The rule is insert-only, and the update would lose that E1 was in D1 in January."}, {"text": "By a satellite on the department''s hub that lists its employees", "why": "It describes the relation, not the department, and belongs on the link."}, {"text": "By the newest link row, as a loader adds the returning pair again", "why": "A pair that is known is not inserted again, so D2 stays the newest."}]', 0, 'A link says that a relation was seen, not that it still holds. The effectivity satellite adds start and end; the
driving key names the side that has one partner at a time. If several departments at once are allowed, the source
must deliver the ends.', 'AutomateDV documentation, Tutorial, Effectivity Satellites', 'https://automate-dv.readthedocs.io/en/latest/tutorial/tut_eff_satellites/', ARRAY['data-vault', 'effectivity', 'driving-key']::text[], 'choose', NULL, NULL, NULL, NULL),
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
('dq-xor-checksum-cancels-pairs', '18b78cdc3b7993f79cbbc1ee127f54d7', 'data_quality', 3, 'static', 'You compare two tables by one checksum, the XOR of their row hashes. The rows of the source hash to 4, 9 and 12.
Which target gets the same checksum?', NULL, '', '[{"text": "One extra copy of a row: 4, 9, 12, 12", "why": "A single extra copy changes the XOR. Only an even number of extra copies disappears.", "value": "4, 9, 12, 12"}, {"text": "Two extra copies of a new row: 4, 9, 12, 7, 7", "why": "7 XOR 7 is 0, so a wrong row that was loaded twice leaves no trace.", "value": "4, 9, 12, 7, 7"}, {"text": "One row lost: 4, 9", "why": "A lost row removes its bits from the XOR, so the checksum differs.", "value": "4, 9"}, {"text": "One row changed in a single bit: 4, 9, 13", "why": "12 and 13 differ in one bit, and the checksum differs in that bit too.", "value": "4, 9, 13"}]', 1, 'XOR does not depend on row order, which is handy, but pairs of equal rows cancel out. So compare the row count
and a SUM of hashes too, or group by key and compare counts.', 'PostgreSQL 18 documentation, 9.21 Aggregate Functions, bit_xor', 'https://www.postgresql.org/docs/18/functions-aggregate.html', ARRAY['reconciliation', 'checksums', 'duplicates']::text[], 'practical', '{"engine":"python","setup":"","run":"from functools import reduce\nfrom operator import xor\nsource = [4, 9, 12]\nfor target in ([4, 9, 12, 12], [4, 9, 12, 7, 7], [4, 9], [4, 9, 13]):\n    if reduce(xor, target) == reduce(xor, source):\n        print(\", \".join(map(str, target)))\n"}', NULL, NULL, NULL),
('dq-rely-key-and-join-elimination', 'ee5afd06f87a4dae47c99bf941612a8d', 'data_quality', 4, 'static', 'Snowflake. `dim.id` is declared PRIMARY KEY with RELY. Since last night the second query returns twice the
revenue of the first one, and the first is right. What explains both?', '-- first: right
SELECT SUM(f.amount)
FROM fct f
LEFT JOIN dim d
  ON d.id = f.dim_id;

-- second: twice as much
SELECT SUM(f.amount), MAX(d.name)
FROM fct f
LEFT JOIN dim d
  ON d.id = f.dim_id;', 'sql', '[{"text": "`fct` was loaded twice; the first query hits the result cache", "why": "A cached result is not used once the data of the tables in the query have changed."}, {"text": "`dim` has each id twice; `MAX` sorts it and keeps both copies", "why": "MAX does not add rows. A join that runs gives one row for each matching pair."}, {"text": "`dim` has each id twice; the first query does not read `dim`", "why": "RELY lets the optimizer drop a LEFT JOIN whose columns are unused. It trusts the key to be unique."}, {"text": "`dim` has each id twice; the first query reads one copy only", "why": "Primary keys are not enforced on standard tables, neither on writes nor on reads."}]', 2, 'Snowflake does not check PRIMARY KEY on standard tables; RELY only says: trust me. If the data break the
promise, results depend on the plan. Declare RELY only on keys that a blocking uniqueness test guards.', 'Snowflake documentation, Understanding how Snowflake can eliminate redundant joins', 'https://docs.snowflake.com/en/user-guide/join-elimination', ARRAY['constraints', 'snowflake', 'query-optimization']::text[], 'practical', NULL, NULL, NULL, NULL),
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
('dw-static-overwrite-wipes', '0febd851d697dbb44a5ba45eb98e809e', 'data_warehouse_lakehouse', 3, 'static', 'An Iceberg table holds a year of sales, partitioned by `sale_date`. This Spark job should replace one day.
`spark.sql.sources.partitionOverwriteMode` was never set. What does the table hold afterwards?', 'INSERT OVERWRITE db.sales
SELECT * FROM staging
WHERE sale_date =
      DATE ''2026-03-01'';', 'sql', '[{"text": "All days, with 1 March replaced", "why": "That is dynamic mode, which replaces just the partitions that the query has rows for."}, {"text": "All days, with both versions of 1 March", "why": "That is `INSERT INTO`. An overwrite removes rows first."}, {"text": "Only 1 March, as it is in staging", "why": "In static mode a missing `PARTITION` clause means every partition."}, {"text": "All days as before, as the job fails", "why": "The clause is optional, and without it the whole table is replaced."}]', 2, 'Static mode turns the `PARTITION` clause into a filter on what to delete. Set dynamic mode, name the partition,
or use `MERGE`. Until the old snapshot expires, the lost days are one rollback away.', 'Apache Iceberg 1.10 documentation, Spark Writes, Overwrite behavior', 'https://iceberg.apache.org/docs/latest/spark-writes/', ARRAY['spark', 'iceberg', 'overwrite', 'partitioning']::text[], 'code_review', NULL, NULL, NULL, NULL),
('dw-compaction-versus-delete', '874e51fa930a62dfdf1f716aa2b3f74a', 'data_warehouse_lakehouse', 4, 'static', 'An Iceberg compaction reads files A and B and writes C. Before it commits, a copy-on-write DELETE replaces B by
B2 and commits. What happens to the compaction?', NULL, '', '[{"text": "It commits, as it changes no rows", "why": "C still has the rows that the DELETE took out of B, so they would come back."}, {"text": "It commits C for A, and B2 stays", "why": "C also has the rows of B. Those that stayed in B2 would be counted twice."}, {"text": "It is retried with C on the new snapshot", "why": "A retry checks first that all files to replace are there. B is not."}, {"text": "It fails, as B is not in the table", "why": "A rewrite must find every file that it removes. Otherwise deleted rows would come back."}]', 3, 'A commit carries assumptions; for a rewrite it is that each source file is live. If the check fails, hours of
work are lost, so compact partitions that are quiet, or commit in small groups (partial progress).', 'Apache Iceberg documentation, Reliability, Retry validation', 'https://iceberg.apache.org/docs/latest/reliability/', ARRAY['iceberg', 'compaction', 'optimistic-concurrency']::text[], 'practical', NULL, NULL, NULL, NULL),
('dist-replication-vs-partitioning', '8612b96076cec5d281e0deb16c6fc23b', 'distributed_systems', 1, 'static', 'A table is split by customer id over four servers, and each row is on one server only. The disk of one server
dies. What can the application still read?', NULL, '', '[{"text": "All rows; the other three servers take over", "why": "To take over they need a copy of the rows. Splitting a table makes no copies."}, {"text": "About three quarters of the rows", "why": "Each server holds its own quarter, and the quarter of the dead one exists nowhere else."}, {"text": "No rows until the server is replaced", "why": "Queries for customers on the other servers never touch the dead one."}, {"text": "All rows, but with older values", "why": "Older values come from copies that lag. Here there is no copy at all."}]', 1, 'Partitioning (sharding) spreads size and load; replication survives failures. Real systems use both: they split a
table and keep several replicas of each part.', 'Apache Cassandra documentation, Dynamo, Dataset Partitioning', 'https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html', ARRAY['partitioning', 'replication']::text[], 'practical', NULL, NULL, NULL, NULL),
('dist-quorum-overlap-choice', 'a93504d38b531c7a5e44998c94fd38d1', 'distributed_systems', 2, 'static', 'A store keeps 5 replicas of each value. A write waits for W of them, and a read asks R. Reads must always see the
last confirmed write, and reads should be as cheap as possible. What do you set?', NULL, '', '[{"text": "W = 2, R = 3", "why": "2 + 3 = 5: a read can ask just the three replicas that missed the write."}, {"text": "W = 3, R = 2", "why": "3 + 2 = 5: the two replicas that are read may be those that did not get the write."}, {"text": "W = 3, R = 3", "why": "It is safe, but a setting with a smaller R is safe as well."}, {"text": "W = 4, R = 2", "why": "Only one replica can miss a write, so any two that are read include a new value."}]', 3, 'Read and write sets overlap when R + W > N. A smaller R makes reads cheap and writes fragile: with W = 4 only one
replica may be down for writes. Where writes must go on with two replicas down, take W = 3, R = 3.', 'Apache Cassandra documentation, Dynamo, Tunable Consistency', 'https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html', ARRAY['quorum', 'consistency', 'replication']::text[], 'choose', '{"engine":"python","setup":"","run":"from itertools import combinations\nnodes = range(5)\ndef overlaps(w, r):\n    return all(set(a) & set(b) for a in combinations(nodes, w) for b in combinations(nodes, r))\noffered = [(2, 3), (3, 2), (3, 3), (4, 2)]\nw, r = min((o for o in offered if overlaps(*o)), key=lambda o: o[1])\nprint(f\"W = {w}, R = {r}\")\n"}', NULL, NULL, NULL),
('dist-s3-lost-manifest-line', '4145b1d151d13ca93d5e3596d6b4d667', 'distributed_systems', 3, 'static', 'Two jobs keep a list in one Amazon S3 object: each reads it, adds a line and writes it back. Now and then a line
is missing, though each PUT returned success. What fixes it?', NULL, '', '[{"text": "A pause before the `GET`, until S3 serves the new version", "why": "S3 reads are strongly consistent. The old version is not served after a successful PUT."}, {"text": "Versioning on the bucket, which keeps both jobs'' lines", "why": "Versioning keeps old versions, which helps to repair. S3 never merges contents."}, {"text": "A multipart upload, with a part for each job", "why": "The upload that completes last replaces the whole object."}, {"text": "A PUT with `If-Match` on the ETag that was read", "why": "S3 refuses the write if the other job was faster, and the job repeats its cycle."}]', 3, 'Strong consistency does not prevent a lost update: between read and write someone else may write, and the last
PUT wins. Compare-and-set by ETag, or one object per job, solves it.', 'Amazon S3 User Guide, How to prevent object overwrites with conditional writes', 'https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html', ARRAY['s3', 'lost-update', 'conditional-write', 'concurrency']::text[], 'practical', NULL, NULL, NULL, NULL),
('dist-metastable-retry-load', 'b581ba76863b1d6e179283414a2c30a4', 'distributed_systems', 4, 'static', 'A service can handle 120 calls per second and gets 80 requests per second, each with up to 3 attempts. Its database was
down for two minutes; it is fine again, but for an hour nearly every call has timed out. What do you do first?', NULL, '', '[{"text": "Restart all instances, one after the other", "why": "The bad state is the load: 80 requests with 3 attempts meet the fresh instances too."}, {"text": "Add 50% more instances", "why": "The load is 240 calls per second, and that makes 180."}, {"text": "Double the timeout of the clients", "why": "The queue grows by 120 calls per second, so answers get later than any timeout."}, {"text": "Admit 30 requests per second, then more", "why": "30 with 3 attempts are 90 calls. They succeed, retries stop, and the limit can rise."}]', 3, 'The trigger is gone, but retries keep the bad state alive: a metastable failure. Load must fall below capacity divided
by attempts. Later, cap retries with a budget and drop calls past their deadline, so that it cannot lock in.', 'Metastable Failures in Distributed Systems, HotOS 2021, section 2', 'https://sigops.org/s/conferences/hotos/2021/papers/hotos21-s11-bronson.pdf', ARRAY['metastable-failure', 'retries', 'overload']::text[], 'next_step', NULL, NULL, NULL, NULL),
('etl-where-transform-runs', '28159478ac0ef4ac4ccc2912c21b86e2', 'etl_vs_elt', 1, 'static', 'A tool copies raw orders into Snowflake. After that, SQL models in Snowflake clean and join them. The copy is
quick, but the models now take two hours. Where can more computing power help?', NULL, '', '[{"text": "In the copy tool''s server", "why": "The tool only moves the raw rows, and that step is quick."}, {"text": "In the shop''s database", "why": "The models read the copied tables. The source is not touched after the copy."}, {"text": "On the scheduler''s machine", "why": "The scheduler sends the SQL and waits for the answer."}, {"text": "In the Snowflake warehouse", "why": "The models are SQL that runs inside Snowflake, so its compute does the work."}]', 3, 'In ELT the target does the transformation, so its size and its bill follow the models. In ETL a separate engine
would do that work before the load.', 'Azure Architecture Center, Extract, transform, load (ETL), Extract, load, transform (ELT)', 'https://learn.microsoft.com/en-us/azure/architecture/data-guide/relational-data/etl', ARRAY['elt', 'etl', 'basics']::text[], 'practical', NULL, NULL, NULL, NULL),
('etl-watermark-tie-lost', 'b32a8cfa9434fad95301f422cc0baa7d', 'etl_vs_elt', 2, 'static', 'At 10:00:00 a job read row 1, stamped 10:00:00, and stored that time. Row 2 was committed a moment later with
the same stamp, and row 3 came at 10:05:00. Which rows does the next run read?', 'SELECT id FROM src
WHERE updated_at >
  TIMESTAMP ''2026-03-01 10:00:00''
ORDER BY id;', 'sql', '[{"text": "Row 3 only", "why": "Only 10:05:00 is later than the stored time, so row 2 is lost without an error.", "value": "3"}, {"text": "Rows 2 and 3", "why": "Row 2 has exactly the stored time. Strictly greater leaves it out for ever.", "value": "2 / 3"}, {"text": "Rows 1, 2 and 3", "why": "That is what `>=` returns. Row 1 is then read twice, which an upsert absorbs.", "value": "1 / 2 / 3"}, {"text": "Row 2 only", "why": "Row 3 is later than the stored time, so the filter keeps it.", "value": "2"}]', 0, 'Rows that share the watermark''s timestamp can appear after it was taken. Read with `>=`, or better with an
overlap, and upsert by key so that rows read twice do no harm.', 'Airbyte documentation, Incremental Sync - Append, Inclusive Cursors', 'https://docs.airbyte.com/platform/using-airbyte/core-concepts/sync-modes/incremental-append', ARRAY['incremental-load', 'watermark', 'data-loss']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE src (id INT, updated_at TIMESTAMP);\nINSERT INTO src VALUES (1, ''2026-03-01 10:00:00''), (2, ''2026-03-01 10:00:00''), (3, ''2026-03-01 10:05:00'');\n","run":null}', NULL, NULL, NULL),
('etl-partition-overwrite-lost-rows', '81945e177170f673542c14bd6bea1ca2', 'etl_vs_elt', 3, 'static', '`changed` holds the orders with a new `updated_at`: today only order 2. The partition of its `order_date` holds
orders 1, 2 and 3. What does that date hold after this job?', 'DELETE FROM tgt
WHERE order_date IN (
  SELECT order_date FROM changed);
INSERT INTO tgt
SELECT * FROM changed;', 'sql', '[{"text": "Orders 1, 2 and 3", "why": "The unit of replacement is the date here, not the row.", "value": "1 / 2 / 3"}, {"text": "Orders 1 and 3", "why": "The delete works on dates, so it removes all three, and the insert adds order 2.", "value": "1 / 3"}, {"text": "Order 2", "why": "The whole date is deleted, and `changed` brings back just the one updated row.", "value": "2"}, {"text": "Orders 1, 2, 2 and 3", "why": "That would be a plain append.", "value": "1 / 2 / 2 / 3"}]', 2, 'Overwriting a partition is safe only if the query rebuilds it in full. Find the changed dates first, then select
all rows of those dates. If you have only the changed rows, merge by key.', 'dbt documentation, About incremental strategy, Strategy-specific configs', 'https://docs.getdbt.com/docs/build/incremental-strategy', ARRAY['insert-overwrite', 'partitions', 'incremental-load', 'data-loss']::text[], 'code_review', '{"engine":"duckdb","setup":"CREATE TABLE tgt (id INT, order_date DATE);\nINSERT INTO tgt VALUES (1, ''2026-03-01''), (2, ''2026-03-01''), (3, ''2026-03-01'');\nCREATE TABLE changed AS SELECT 2 AS id, DATE ''2026-03-01'' AS order_date;\nDELETE FROM tgt WHERE order_date IN (SELECT order_date FROM changed);\nINSERT INTO tgt SELECT * FROM changed;\n","run":"SELECT id FROM tgt ORDER BY id;\n"}', NULL, NULL, NULL),
('etl-chunk-snapshot-window', 'b6483682590e994d7c614a5f5872c7b9', 'etl_vs_elt', 4, 'static', 'Debezium''s incremental snapshot has read the chunk of keys 1 to 5 between two marks that it wrote to the log.
Between the marks the log has an update of key 2 and a delete of key 4. Which rows of the chunk does it send?', NULL, '', '[{"text": "Those of keys 1, 3 and 5", "why": "A key that was touched between the marks is taken from the log, so its chunk row is dropped.", "value": "1, 3, 5"}, {"text": "Those of keys 1, 2, 3 and 5", "why": "The chunk row of key 2 may be older than its log event. Sent after it, it would undo the update.", "value": "1, 2, 3, 5"}, {"text": "Those of all five keys", "why": "The events between the marks come before the chunk''s rows, so nothing corrects them afterwards.", "value": "1, 2, 3, 4, 5"}, {"text": "Those of keys 2 and 4", "why": "These are just the rows to drop: the log already holds their latest state.", "value": "2, 4"}]', 0, 'The log keeps streaming while chunks are read, and inside the window the log wins. So the snapshot needs no long
transaction and no lock, and never overwrites a newer change.', 'Debezium documentation, PostgreSQL connector, Incremental snapshots', 'https://debezium.io/documentation/reference/stable/connectors/postgresql.html', ARRAY['cdc', 'snapshot', 'debezium', 'ordering']::text[], 'practical', '{"engine":"python","setup":"","run":"chunk = {1: \"row\", 2: \"row\", 3: \"row\", 4: \"row\", 5: \"row\"}\nlog_between_marks = [(\"update\", 2), (\"delete\", 4)]\nfor op, key in log_between_marks:\n    chunk.pop(key, None)\nprint(\", \".join(map(str, chunk)))\n"}', NULL, NULL, NULL),
('ff-comma-inside-quotes', 'b2c267b5163da79fe9238117f9ee50b7', 'file_formats_storage', 1, 'static', 'One line of a CSV file is read in two ways. What does the code print?', 'import csv

line = ''7,"Blue, Ltd",paid''
print(len(line.split(",")),
      len(next(csv.reader([line]))))', 'python', '[{"text": "4 3", "why": "`split` cuts at every comma, while the CSV reader keeps the quoted comma inside one field."}, {"text": "3 3", "why": "`split` knows nothing about quotes and also cuts inside of them."}, {"text": "3 4", "why": "It is the other way round: the CSV reader is the one that understands quotes."}, {"text": "4 4", "why": "The CSV reader treats the quoted text as one field, so it finds three."}]', 0, 'In CSV a field with a comma, a quote or a line break stands in double quotes. Splitting lines at commas breaks
such rows into too many columns. Always use a real CSV parser.', 'RFC 4180, Section 2, Definition of the CSV Format', 'https://www.rfc-editor.org/rfc/rfc4180#section-2', ARRAY['csv', 'parsing']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('ff-bom-first-header', 'c0d1a10d6fab10495150d9674ae64b5a', 'file_formats_storage', 2, 'static', 'A spreadsheet program saved a CSV as UTF-8 with a byte order mark. A job reads it as below. What happens?', 'import csv, io

raw = b"\xef\xbb\xbfid,qty\n1,5\n"
text = io.StringIO(raw.decode())
for row in csv.DictReader(text):
    print(row["id"])', 'python', '[{"text": "It prints 1", "why": "The codec `utf-8-sig` removes it; plain `utf-8` keeps it as a character.", "value": "1"}, {"text": "It fails with `UnicodeDecodeError`", "why": "The three bytes are the valid encoding of U+FEFF.", "value": "error: UnicodeDecodeError"}, {"text": "It fails with `KeyError`", "why": "The mark becomes part of the first header, which is now `\\ufeffid`.", "value": "error: KeyError"}, {"text": "It prints id", "why": "The first line is still the header; only the name of its first column is changed.", "value": "id"}]', 2, 'Decoding with `utf-8` leaves the byte order mark in the text as an invisible character, so the first column name
is wrong although it looks right. Read such files with `utf-8-sig`, which works with and without the mark.', 'Python documentation, codecs, Encodings and Unicode, encodings.utf_8_sig', 'https://docs.python.org/3/library/codecs.html', ARRAY['csv', 'encoding', 'unicode']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('ff-bloom-where-useful', 'e5cc3f78aad6f2d4000defa782a1329c', 'file_formats_storage', 3, 'static', 'A Parquet table has many row groups and is sorted by `day`. There is room for a Bloom filter on one column. Which
of these frequent queries gains the most from it?', NULL, '', '[{"text": "`amount BETWEEN 100 AND 120`, unsorted decimals", "why": "A Bloom filter answers \"is this value in here?\" and nothing about a range."}, {"text": "`day = ''2026-03-01''`, the sort column", "why": "Sorted data has narrow bounds per row group, so statistics already skip the rest."}, {"text": "`country = ''DE''`, a value in every row group", "why": "Each row group holds the value, so the filter says \"maybe\" every time."}, {"text": "`order_uuid = ''9f1c...''`, a random id of one row", "why": "Bounds of random ids cover everything, while the filter rules out nearly every row group."}]', 3, 'A Bloom filter can only say "surely not here" for an exact value. It pays for equality on columns with many
distinct values, where bounds are useless. With a sort by `order_uuid`, bounds would do, but `day` needs the sort
here.', 'Apache Parquet documentation, Bloom Filter', 'https://parquet.apache.org/docs/file-format/bloomfilter/', ARRAY['parquet', 'bloom-filter', 'data-skipping']::text[], 'choose', NULL, NULL, NULL, NULL),
('ff-conditional-put', '77b6ce4c6c2633b965fa500d938c79f4', 'file_formats_storage', 4, 'static', 'A job claims a day by writing `claims/2026-03-01` to S3 with `If-None-Match: *`, and stops if it gets 412. On some
days no worker runs: each got 412. The object is there, and the client library retries on timeouts. What do you
look at first?', NULL, '', '[{"text": "Whether a lagging copy in another zone answered", "why": "Zones of a bucket agree at once, and the check is part of the write."}, {"text": "Whether a PUT ignores the header in this bucket", "why": "It supports conditional writes, or else nobody would get 412."}, {"text": "Whether two workers can both get 200", "why": "Then the day would run twice. Here it does not run at all."}, {"text": "Whether a worker''s own first try had succeeded", "why": "The answer got lost, the retry met the worker''s own object, and it stopped as if it had lost."}]', 3, 'A conditional write that is retried is ambiguous: put the worker''s id into the object, and on 412 read it to see
who holds the claim. Let claims expire, too: a worker that dies leaves its claim behind.', 'Amazon S3 User Guide, How to prevent object overwrites with conditional writes', 'https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html', ARRAY['s3', 'concurrency', 'put-if-absent', 'retries']::text[], 'next_step', NULL, NULL, NULL, NULL),
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
('gov-pg-rls-leaky-function', '04fabe2f04a42075fe659aebb7482666', 'governance_security', 4, 'static', 'In PostgreSQL, `tenant_view` is a security_barrier view that hides other tenants'' rows. A user may create
functions and runs this. What do the notices show?', 'CREATE FUNCTION f(t text)
RETURNS boolean
LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
  RAISE NOTICE ''%'', t;
  RETURN true;
END $$;

SELECT * FROM tenant_view
WHERE f(secret);', 'sql', '[{"text": "Secrets of all tenants", "why": "That happens with a view without `security_barrier`. The low cost is the trick used there."}, {"text": "Nothing, RAISE is silent on the view", "why": "Nothing silences RAISE. The function never sees foreign rows."}, {"text": "Secrets of the user''s own tenant", "why": "f is not LEAKPROOF, so it is applied only to rows that passed the view''s own conditions."}, {"text": "Nothing, the query is refused", "why": "Functions that are not LEAKPROOF may be used. They only have to wait for the view''s conditions."}]', 2, '`security_barrier` forbids pushing a user''s condition below the view''s filter unless it is LEAKPROOF, and only a
superuser may mark a function so. Row security gives the same protection. The price: fewer conditions reach an
index.', 'PostgreSQL 18 documentation, 39.5 Rules and Privileges', 'https://www.postgresql.org/docs/18/rules-privileges.html', ARRAY['postgres', 'security-barrier', 'leakproof']::text[], 'practical', NULL, NULL, NULL, NULL),
('obs-counter-or-gauge-for-queue', '8db58f029594f6da05e321ae7745c3b3', 'observability', 1, 'static', 'You want to record how many files wait in a queue at this moment. The number goes up and down. Which Prometheus
metric type fits?', NULL, '', '[{"text": "Counter, because it counts the files in the queue", "why": "A counter may only go up or be reset to zero. The queue also shrinks."}, {"text": "Gauge, because the value can rise and fall", "why": "A gauge is one number that can go up and down, such as a queue length or a temperature."}, {"text": "Histogram, because it shows how the files are spread over the queue", "why": "A histogram counts observations in buckets, such as durations. Here there is one current value."}, {"text": "Summary, because it gives the newest value of many measurements", "why": "A summary yields quantiles of observations, not the current level of something."}]', 1, 'Ask whether the number can go down. Total files processed: counter. Files waiting now: gauge. Time per file:
histogram. A wrong type makes functions such as `rate()` give nonsense.', 'Prometheus documentation, Metric types, section Gauge', 'https://prometheus.io/docs/concepts/metric_types/', ARRAY['prometheus', 'metrics']::text[], 'definition', NULL, NULL, NULL, NULL),
('obs-counter-reset-increase', 'a5ac570c02ff82b951667ececcb49f20', 'observability', 2, 'static', 'A counter of processed rows is scraped as 100, 160, 20, 50. The process restarted in between. A function like
Prometheus `increase()` treats a drop as a restart from 0. Leaving extrapolation aside, how much did it grow?', NULL, '', '[{"text": "-50", "why": "Last minus first ignores the restart, and a counter cannot grow by a negative number."}, {"text": "90", "why": "That adds the two visible rises of 60 and 30, but forgets the 20 counted since the restart."}, {"text": "110", "why": "The steps are 60, then 20 from zero after the restart, then 30. Together that is 110."}, {"text": "250", "why": "That would add 100 as well, but what was counted before the first sample is not part of the growth."}]', 2, 'Counters restart at zero with their process. `rate()` and `increase()` see a drop, take it as a reset and add the
new value in full. That is why you store a raw counter and never the difference you computed yourself.', 'Prometheus documentation, Query functions, increase and rate', 'https://prometheus.io/docs/prometheus/latest/querying/functions/', ARRAY['prometheus', 'counters']::text[], 'practical', '{"engine":"python","setup":"","run":"samples = [100, 160, 20, 50]\ngrowth = 0\nfor before, now in zip(samples, samples[1:]):\n    growth += now - before if now >= before else now\nprint(growth)\n"}', NULL, NULL, NULL),
('obs-histogram-quantile-interpolates', 'cb2944d71a5af7d0326fe81cf634398c', 'observability', 3, 'static', 'A classic Prometheus histogram of task times has these cumulative bucket counts. `histogram_quantile` assumes that
values are spread evenly inside a bucket. What does it give for the 0.8 quantile?', 'task_seconds_bucket{le="1"}     50
task_seconds_bucket{le="5"}     90
task_seconds_bucket{le="+Inf"} 100', 'text', '[{"text": "5 seconds", "why": "5 is the upper bound of the bucket that holds the 80th value, but the function interpolates within it.", "value": "5"}, {"text": "4.2 seconds", "why": "That takes 80% of the way from 1 to 5. The position is 30 of 40, which is 75%.", "value": "4.2"}, {"text": "4 seconds", "why": "The 80th of 100 values is the 30th of the 40 between 1 and 5, so 1 + 4 * 30/40.", "value": "4"}, {"text": "3 seconds", "why": "That is the middle of the bucket. The function goes as far into it as the rank asks for.", "value": "3"}]', 2, 'A quantile of a classic histogram is an estimate: the rank is found in a bucket and interpolated linearly. All 40
tasks could have taken 4.9 s. Put bucket bounds near the limits that you alert on.', 'Prometheus documentation, Query functions, histogram_quantile()', 'https://prometheus.io/docs/prometheus/latest/querying/functions/', ARRAY['prometheus', 'histograms', 'percentiles']::text[], 'practical', '{"engine":"python","setup":"","run":"buckets = [(1, 50), (5, 90), (float(\"inf\"), 100)]\nrank = 0.8 * buckets[-1][1]\nlower, below = 0, 0\nfor upper, count in buckets:\n    if count >= rank:\n        print(f\"{lower + (upper - lower) * (rank - below) / (count - below):g}\")\n        break\n    lower, below = upper, count\n"}', NULL, NULL, NULL),
('obs-quantile-falls-in-inf-bucket', 'ef73e3a905963d34087985af8d8b9f78', 'observability', 4, 'static', 'The buckets of a classic histogram of load times end at 60 s, then comes +Inf. An outage makes all loads take
about 15 minutes. What does the p99 from `histogram_quantile` show on the dashboard?', NULL, '', '[{"text": "60 seconds, the highest finite bound of the buckets", "why": "If the quantile lies in the +Inf bucket, the upper bound of the second highest bucket is returned."}, {"text": "About 900 seconds, estimated by linear interpolation within the last bucket", "why": "There is nothing to interpolate towards, since the bucket has no finite upper bound."}, {"text": "+Inf, since the 99th percentile lies in the bucket without an upper bound", "why": "The function avoids this on purpose and returns the largest finite bound instead."}, {"text": "NaN, because no observation lies in a bucket that has a finite upper bound", "why": "NaN is for histograms without observations. Here there are observations, all in +Inf."}]', 0, 'A classic histogram cannot show a value beyond its last finite bound. A flat line exactly at that bound is the sign
of an overflow, not of a healthy limit. Also graph the share of observations above it, or add buckets.', 'Prometheus documentation, Query functions, histogram_quantile()', 'https://prometheus.io/docs/prometheus/latest/querying/functions/', ARRAY['prometheus', 'histograms', 'percentiles']::text[], 'practical', NULL, NULL, NULL, NULL),
('orch-cycle-has-no-order', 'a4c41839a66563477d145fe04f59473c', 'orchestration', 1, 'static', 'In a pipeline, `clean` waits for `load`, `load` for `report`, and `report` for `clean`. An orchestrator puts the
tasks in order as this code does. What happens?', 'from graphlib import (
    TopologicalSorter)

waits_for = {
    "clean": ["load"],
    "load": ["report"],
    "report": ["clean"],
}
order = TopologicalSorter(waits_for)
print(*order.static_order())', 'python', '[{"text": "An error: no valid order exists", "why": "Each task waits for another one of the three, so none of them can be first.", "value": "error: graphlib.CycleError"}, {"text": "Order: clean, load, report", "why": "The order in the file does not matter. `clean` has to wait for `load`.", "value": "clean load report"}, {"text": "Order: report, load, clean", "why": "`report` itself waits for `clean`, so it cannot start the chain.", "value": "report load clean"}, {"text": "No output: no task is ready", "why": "The sorter does not ignore a cycle silently. It reports it.", "value": "(nothing)"}]', 0, 'A pipeline is a directed acyclic graph (DAG): no chain of dependencies leads back to its start. Only then is there an
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
('orch-new-step-breaks-replay', 'ea4229d1a218a176e5b423f397deffa3', 'orchestration', 4, 'static', 'Temporal replays a workflow''s code against its history, in the recorded order. A deployment without versioning puts
`check` before `charge`. Four old runs are open, `ship` of the last one still in progress. How many of them cannot go
on?', 'new = ["reserve", "check",
       "charge", "ship"]
histories = [
    [],
    ["reserve"],
    ["reserve", "charge"],
    ["reserve", "charge", "ship"]]
stuck = [h for h in histories
         if h != new[:len(h)]]
print(len(stuck))', 'python', '[{"text": "0", "why": "Replay compares place by place. A recorded `charge` where the code asks for `check` is an error."}, {"text": "1", "why": "The last run is replayed as well when `ship` returns, and differs at the second step."}, {"text": "2", "why": "Two histories have `charge` where the code has `check`. The others have not come to that place."}, {"text": "3", "why": "The code may change behind what is recorded. A history of `reserve` alone fits the new version."}]', 2, 'Only changes within the recorded part break replay. Guard a new step by a patch marker, so that old runs keep the old
path, or pin runs to workers of their version. Replay stored histories against new code in CI.', 'Temporal documentation, Workflow Definition, Handling code changes and non-deterministic behavior', 'https://docs.temporal.io/workflow-definition', ARRAY['temporal', 'replay', 'versioning', 'deployment']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
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
('sql-correlated-columns-estimate', 'fc3a20784da162763f22e4d4e38aa53d', 'sql_performance', 3, 'static', 'PostgreSQL: `t` has 10,000 rows. In every row `a` equals `b`, with 100 different values, spread evenly. The table was
just analyzed. How many rows does the planner expect for `WHERE a = 1 AND b = 1`?', NULL, '', '[{"text": "100 rows", "why": "100 is the real number, but `ANALYZE` looks at each column alone unless told otherwise.", "value": "100"}, {"text": "1 row", "why": "10,000 x 0.01 x 0.01 = 1. The planner assumes that the columns are independent.", "value": "1"}, {"text": "200 rows", "why": "Adding is nearer to `OR`. For `AND` the planner multiplies the shares.", "value": "200"}, {"text": "50 rows", "why": "There is no such rule for an equality filter when statistics exist.", "value": "50"}]', 1, 'Linked columns, such as city and postcode, get estimates far too low, and then nested loops that run for hours.
`CREATE STATISTICS (dependencies) ON a, b FROM t` and `ANALYZE t` repair this without touching the query.', 'PostgreSQL 18 documentation, 14.2.2 Extended Statistics', 'https://www.postgresql.org/docs/18/planner-stats.html', ARRAY['statistics', 'cardinality', 'query-planner']::text[], 'practical', '{"engine":"postgres","setup":"CREATE TABLE t (a INT, b INT);\nINSERT INTO t SELECT n % 100, n % 100 FROM generate_series(1, 10000) n;\nANALYZE t;\nCREATE FUNCTION estimate(q TEXT) RETURNS TEXT LANGUAGE plpgsql AS $f$\nDECLARE plan JSON;\nBEGIN\n  EXECUTE ''EXPLAIN (FORMAT JSON) '' || q INTO plan;\n  RETURN plan->0->''Plan''->>''Plan Rows'';\nEND $f$;\n","run":"SELECT estimate(''SELECT * FROM t WHERE a = 1 AND b = 1'');"}', NULL, NULL, NULL),
('sql-generic-plan-surprise', '0b36f631fe643b10046fdc0cffe8ac59', 'sql_performance', 4, 'static', 'A PostgreSQL worker runs this prepared statement in one session, mostly for ''done'', which nearly all rows have. For
''failed'' (few rows, all recent; `status` is indexed) it takes 50 ms, but 0.1 ms with a literal. Why?', 'SELECT * FROM jobs
WHERE status = $1
ORDER BY id
LIMIT 10;', 'sql', '[{"text": "It has only the pages of ''done'' in its cache", "why": "The buffer cache is shared by all sessions, and repeated calls would become fast."}, {"text": "It keeps a plan for any status, which walks `id`", "why": "For an average status ten matches are found soon. For ''failed'' nearly the whole table is walked."}, {"text": "It plans with the statistics that it began with", "why": "Plans are made with the current statistics, and cached plans are dropped after `ANALYZE`."}, {"text": "It cannot search `status` by a parameter", "why": "A plan for a parameter can use indexes. This one chose the index on `id`."}]', 1, 'After five executions a generic plan is kept if it looks no dearer than the custom ones, and it does not know the
value. For skewed values set `plan_cache_mode = force_custom_plan`, or use a literal for the rare one.', 'PostgreSQL 18 documentation, SQL Commands, PREPARE, Notes', 'https://www.postgresql.org/docs/18/sql-prepare.html', ARRAY['prepared-statements', 'plan-cache', 'data-skew']::text[], 'practical', NULL, NULL, NULL, NULL),
('stream-event-time-meaning', '6683663534e6528f397ddcf77427c078', 'streaming', 1, 'static', 'A phone records a tap at 10:00 and goes offline. It sends the tap at 10:20, and the stream job reads it at 10:21.
The job counts taps per minute by event time. In which minute does this one count?', NULL, '', '[{"text": "10:00", "why": "Event time is when the tap happened; the record carries it as a field."}, {"text": "10:01", "why": "The job''s delay of a minute plays no role: the record says 10:00."}, {"text": "10:20", "why": "That is when the network came back. It says nothing about when the user tapped."}, {"text": "10:21", "why": "That is processing time: it depends on the machine, not on the tap."}]', 0, 'Event time belongs to the event and never changes, however late the record arrives. Count by it, and a replay next
week gives the same report. The price: the job must wait for late records, or correct what it has sent.', 'Apache Flink documentation, Timely Stream Processing, Notions of Time', 'https://nightlies.apache.org/flink/flink-docs-stable/docs/concepts/time/', ARRAY['event-time', 'processing-time']::text[], 'practical', NULL, NULL, NULL, NULL),
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
('stream-flink-transaction-timeout', '0482999e1b6930aaf3ad370e90937108', 'streaming', 4, 'static', 'A Flink job writes to Kafka with exactly-once delivery. After an outage of two hours it resumed from its last checkpoint
and runs, but output of the minute before is missing. `transaction.timeout.ms` is 15 minutes. What prevents
this, and at what price?', NULL, '', '[{"text": "Shorter checkpoint intervals; more load on the storage", "why": "Less is lost, but the last transaction is still aborted while the job is down."}, {"text": "More retained checkpoints; more space for old state", "why": "The checkpoint is fine. It asks for the commit of a transaction that no longer exists."}, {"text": "A longer transaction timeout; readers may wait that long", "why": "The broker aborted the pre-committed data. A longer timeout keeps it, but also keeps a hanging one open."}, {"text": "Offset commits after each record; less throughput", "why": "The source goes by the checkpoint. The loss is on the side of the sink."}]', 2, 'Between pre-commit and commit the data lives only in an open transaction. The timeout must outlast the longest downtime
plus a checkpoint, and the brokers'' `transaction.max.timeout.ms` must allow it. Until then, `read_committed` readers
wait behind a transaction that hangs.', 'Apache Flink documentation, Kafka Connector, Kafka Sink, Fault Tolerance', 'https://nightlies.apache.org/flink/flink-docs-stable/docs/connectors/datastream/kafka/', ARRAY['flink', 'kafka', 'transactions', 'exactly-once']::text[], 'practical', NULL, NULL, NULL, NULL)
ON CONFLICT (key) DO NOTHING;
-- seed end

COMMIT;
