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
('dm-grain-statement', '8a176d2a12fe2d33e5e68b172b3ba49a', 'data_modeling', 1, 'static', 'A team designs a fact table for a supermarket. Before they choose columns they want to declare the grain. Which
sentence declares a grain?', NULL, '', '[{"text": "The table contains sales amount, quantity, discount and cost for all of our shops", "why": "This lists measures. It does not say what a single row stands for."}, {"text": "Each row stands for one product line on one sales receipt of a shop", "why": "It says exactly what one row is, so every measure and dimension can be tested against it."}, {"text": "The table is loaded every night at 02:00 from the cash desk system", "why": "This is the load schedule. Grain is about the meaning of a row."}, {"text": "The table connects to the dimensions date, shop, product and customer", "why": "Dimensions follow from the grain. The list alone leaves open what one row means."}]', 1, 'The grain says what one row of a fact table represents. It is declared before dimensions and facts are chosen, since
each of them must fit it. Rows of different grain in one table lead to wrong sums.', 'Kimball Group, Dimensional Modeling Techniques, Grain', 'https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/dimensional-modeling-techniques/grain/', ARRAY['grain', 'fact-tables', 'dimensional-modeling']::text[], 'practical', NULL, NULL, NULL, NULL),
('dm-scd2-between-double-match', '25936aafdafe0c5ebffad16a4b2149f7', 'data_modeling', 2, 'static', '`dim` keeps customer 7 in two versions: ''silver'' valid 2026-01-01 to 2026-03-01 and ''gold'' valid 2026-03-01 to
9999-12-31. Customer 7 has one sale of 50 on 2026-03-01. What does the query return?', 'SELECT sum(s.amount)
FROM sales s
JOIN dim d
  ON d.customer_id = s.customer_id
 AND s.sold_on BETWEEN d.valid_from
                   AND d.valid_to;', 'sql', '[{"text": "50, because a sale has one valid version", "why": "This is the wish. But both versions include the day 2026-03-01, so the sale matches twice.", "value": "50"}, {"text": "0, because the day lies on the border of both versions", "why": "`BETWEEN` includes both ends, so a border day matches more, not less.", "value": "0"}, {"text": "100, because the sale matches both versions", "why": "`valid_to` of one version equals `valid_from` of the next, and `BETWEEN` includes both ends.", "value": "100"}, {"text": "NULL, because the sum finds no matching version for this sale", "why": "Two versions match. A sum over no rows would be NULL.", "value": "NULL"}]', 2, 'Validity intervals that touch need half-open logic: `sold_on >= valid_from AND sold_on < valid_to`. With `BETWEEN` a
border day belongs to two versions, and the fact is counted twice. Test that each fact keeps exactly one row.', 'Kimball Group, Dimensional Modeling Techniques, Type 2: Add New Row', 'https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/dimensional-modeling-techniques/type-2/', ARRAY['scd', 'type-2', 'ranges', 'fan-out']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE dim (customer_id INT, tier TEXT, valid_from DATE, valid_to DATE);\nINSERT INTO dim VALUES (7, ''silver'', ''2026-01-01'', ''2026-03-01''), (7, ''gold'', ''2026-03-01'', ''9999-12-31'');\nCREATE TABLE sales (customer_id INT, sold_on DATE, amount INT);\nINSERT INTO sales VALUES (7, ''2026-03-01'', 50);\n","run":null}', NULL, NULL, NULL),
('dm-late-fact-surrogate-lookup', 'aa12eab9bc0e334e3460387ca4b56e2e', 'data_modeling', 3, 'static', '`dim_cust` (type 2) holds for customer 7: key 101, from 2026-01-01 to 2026-02-10, not current; key 102, from
2026-02-10 to 9999-12-31, current. On March 3 a sale of 2026-02-05 arrives late. History must be right. Which key
must the new fact row get?', NULL, '', '[{"text": "102, because facts always point to the current row at load time", "why": "That is right for facts of today. This event happened while version 101 was valid.", "value": "102"}, {"text": "101, because this version was valid on the day of the event itself", "why": "2026-02-05 lies inside the validity of key 101.", "value": "101"}, {"text": "103, a new version with its validity set to the day of the load", "why": "Nothing about the customer changed. A late fact does not make a new dimension version.", "value": "103"}, {"text": "-1, the unknown member, since the fact arrived after its version was closed", "why": "The customer and the right version are known, so the unknown member would lose information.", "value": "-1"}]', 1, 'For late facts look up the dimension version by event time, not the current flag. Then the sale is reported under the
attributes of that day. A load that only uses the current flag gives different results on each backfill.', 'Kimball Group, Dimensional Modeling Techniques, Late Arriving Facts', 'https://www.kimballgroup.com/data-warehouse-business-intelligence-resources/kimball-techniques/dimensional-modeling-techniques/late-arriving-fact/', ARRAY['late-arriving', 'scd', 'type-2', 'surrogate-keys']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE dim_cust (key INT, customer_id INT, valid_from DATE, valid_to DATE);\nINSERT INTO dim_cust VALUES (101, 7, ''2026-01-01'', ''2026-02-10''), (102, 7, ''2026-02-10'', ''9999-12-31'');\n","run":"SELECT key FROM dim_cust\nWHERE customer_id = 7 AND valid_from <= DATE ''2026-02-05'' AND valid_to > DATE ''2026-02-05'';\n"}', NULL, NULL, NULL),
('dm-bitemporal-what-did-we-know', 'b617c89a5271331e581aa916904d9e3f', 'data_modeling', 4, 'static', '`price` is bitemporal, all ranges half-open. `valid` says when a price applies, `sys` when the database held the row
as its knowledge. On day 15 a report asked for the price of day 5. Which price did it get?', 'price|valid_from valid_to|sys_from sys_to
   10|     1        99   |   1       12
   11|     1         4   |  12       99
   12|     4        99   |  12       20
   13|     4         8   |  20       99
   14|     8        99   |  20       99', 'text', '[{"text": "10", "why": "This row was believed until day 12. On day 15 it had been replaced."}, {"text": "11", "why": "It was believed on day 15, but it is valid for days 1 to 3 only."}, {"text": "12", "why": "Valid time 4 to 99 holds day 5, and system time 12 to 20 holds day 15."}, {"text": "13", "why": "This is what we believe from day 20 on about day 5. On day 15 it was not known."}]', 2, 'Use two independent filters: valid time for the day you ask about (5), system time for the day of knowledge (15). Old
reports can be repeated exactly, because corrections close the system time and never overwrite a row.', 'Martin Fowler, Bitemporal History', 'https://martinfowler.com/articles/bitemporal-history.html', ARRAY['bitemporal', 'history', 'auditing']::text[], 'practical', '{"engine":"duckdb","setup":"CREATE TABLE price (price INT, vf INT, vt INT, sf INT, st INT);\nINSERT INTO price VALUES (10, 1, 99, 1, 12), (11, 1, 4, 12, 99), (12, 4, 99, 12, 20),\n  (13, 4, 8, 20, 99), (14, 8, 99, 20, 99);\n","run":"SELECT price FROM price WHERE vf <= 5 AND 5 < vt AND sf <= 15 AND 15 < st;"}', NULL, NULL, NULL),
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
('dist-replication-vs-partitioning', 'c7ccb79f52a82ac895630328f10bbabd', 'distributed_systems', 1, 'static', 'A table is split by customer id over four servers, so that each server holds a quarter of the rows and no row
stands on two servers. What is this called?', NULL, '', '[{"text": "Replication: the same data is kept on several servers, so that one of them may fail", "why": "With replication each row stands on more than one server. Here it stands on one only."}, {"text": "Caching: servers keep a short-lived copy of the rows that are read most often", "why": "A cache holds extra copies of hot rows. Here the rows are divided and not copied."}, {"text": "Failover: another server takes over the whole work as soon as the main one stops answering", "why": "Failover needs a second copy. Without a copy, nobody can take over a lost quarter."}, {"text": "Partitioning (sharding): each server holds its own part of the data, chosen by a key", "why": "Each row has exactly one home, chosen by its key. This spreads size and load."}]', 3, 'Partitioning divides data to spread load; replication copies data to survive failures. Real systems use both:
they split a table into partitions and keep several replicas of each.', 'Apache Cassandra documentation, Dynamo, Dataset Partitioning', 'https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html', ARRAY['partitioning', 'replication']::text[], 'definition', NULL, NULL, NULL, NULL),
('dist-quorum-overlap-choice', 'dbde457426666ab539f7dbe77bebdc83', 'distributed_systems', 2, 'static', 'Each value has N = 5 replicas. A write waits for W of them and a read asks R of them. Which setting makes each
read set share at least one replica with each write set, with the smallest R?', NULL, '', '[{"text": "W = 2, R = 3", "why": "2 + 3 = 5 is not greater than 5: a read can ask just the three that missed the write."}, {"text": "W = 3, R = 2", "why": "3 + 2 = 5. The two replicas that are read may be the two that did not get the write."}, {"text": "W = 3, R = 3", "why": "3 + 3 = 6 does overlap, but another setting here reaches overlap with a smaller R."}, {"text": "W = 4, R = 2", "why": "4 + 2 = 6 > 5, and only one replica can miss the write, so 2 reads always meet a new one."}]', 3, 'Read and write sets overlap when R + W > N. A smaller R makes reads cheap and writes expensive: with W = 4 only one
replica may be down for writes.', 'Apache Cassandra documentation, Dynamo, Tunable Consistency', 'https://cassandra.apache.org/doc/latest/cassandra/architecture/dynamo.html', ARRAY['quorum', 'consistency', 'replication']::text[], 'practical', '{"engine":"python","setup":"","run":"from itertools import combinations\nnodes = range(5)\ndef overlaps(w, r):\n    return all(set(a) & set(b) for a in combinations(nodes, w) for b in combinations(nodes, r))\noffered = [(2, 3), (3, 2), (3, 3), (4, 2)]\nw, r = min((o for o in offered if overlaps(*o)), key=lambda o: o[1])\nprint(f\"W = {w}, R = {r}\")\n"}', NULL, NULL, NULL),
('dist-fencing-token-order', '9b52c32922b106ca05a30a4dd180c472', 'distributed_systems', 3, 'static', 'A lock service gives a growing token with each lock. A store accepts a write only if its token is not lower than
the highest one it has seen. Worker A (token 33) pauses, its lock expires, and worker B (token 34) gets it. The
store then receives these writes. What does it hold?', '1  B  token 34  value "b1"
2  A  token 33  value "a1"
3  B  token 34  value "b2"
4  A  token 33  value "a2"', 'text', '[{"text": "b1", "why": "Token 34 equals the highest token seen, so the second write of B is accepted too."}, {"text": "a1", "why": "33 is lower than 34, which the store has already seen, so it refuses this write."}, {"text": "b2", "why": "The writes of A are refused because 33 < 34; the second write of B replaces the first one."}, {"text": "a2", "why": "That is the result without fencing: the last write wins, also from an expired lock."}]', 2, 'A lock with a timeout cannot stop a paused holder from waking up late. The store itself must refuse old holders,
and the growing token lets it see who is old.', 'Google Research, The Chubby lock service, section 2.4 Locks and sequencers', 'https://research.google/pubs/the-chubby-lock-service-for-loosely-coupled-distributed-systems/', ARRAY['locks', 'fencing', 'leases']::text[], 'practical', '{"engine":"python","setup":"","run":"highest, held = 0, None\nfor token, value in [(34, \"b1\"), (33, \"a1\"), (34, \"b2\"), (33, \"a2\")]:\n    if token >= highest:\n        highest, held = token, value\nprint(held)\n"}', NULL, NULL, NULL),
('dist-linearizable-history', 'ebb6c42953bcad16a40c21a773696e1f', 'distributed_systems', 4, 'static', 'A register starts at 0. Client A writes 1 during the time 0-10. Reads of other clients run while
A writes. Which pair of reads is NOT linearizable?', 'time:  0 ............................ 10
A:     |------------ write 1 ---------|
B:        |-read-|
          2      4
C:                     |-read-|
                       6      8', 'text', '[{"text": "B reads 0, C reads 0", "why": "Fine: the write can take effect after 8, since it runs until 10."}, {"text": "B reads 0, C reads 1", "why": "Fine: the write takes effect between the reads, for example at time 5."}, {"text": "B reads 1, C reads 0", "why": "B shows that the write took effect by 4. C starts at 6 and must not go back to 0."}, {"text": "B reads 1, C reads 1", "why": "Fine: the write takes effect before B reads, for example at time 1."}]', 2, 'Each operation must seem to happen at one moment between its start and its end. Once a finished read has seen the
new value, each read that starts later must see it too, although the write is still running.', 'Jepsen, Consistency Models, Linearizability', 'https://jepsen.io/consistency/models/linearizable', ARRAY['linearizability', 'consistency']::text[], 'practical', '{"engine":"python","setup":"","run":"from itertools import permutations\ndef linearizable(b, c):\n    ops = [(\"w\", 1, 0, 10), (\"r\", b, 2, 4), (\"r\", c, 6, 8)]\n    for order in permutations(ops):\n        if any(x[2] > y[3] for i, x in enumerate(order) for y in order[i + 1:]):\n            continue\n        value, fine = 0, True\n        for kind, v, _, _ in order:\n            if kind == \"w\":\n                value = v\n            else:\n                fine = fine and v == value\n        if fine:\n            return True\n    return False\nfor b in (0, 1):\n    for c in (0, 1):\n        if not linearizable(b, c):\n            print(f\"B reads {b}, C reads {c}\")\n"}', NULL, NULL, NULL),
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
('ff-throttled-prefix', 'ef80a17d36a20b1ecbe8255b175ddaf6', 'file_formats_storage', 2, 'static', 'A job sends 22,000 GET requests a second to objects under one S3 prefix and gets many `503 Slow Down` answers.
S3 supports at least 5,500 GET requests a second per partitioned prefix. What is the smallest number of prefixes
over which an even load stays within this limit?', NULL, '', '[{"text": "2 prefixes", "why": "Each one would still get 11,000 requests a second.", "value": "2"}, {"text": "4 prefixes", "why": "22,000 divided by 5,500 is 4.", "value": "4"}, {"text": "7 prefixes", "why": "That uses 3,500, the number for PUT, COPY, POST and DELETE requests.", "value": "7"}, {"text": "22 prefixes", "why": "That would be 1,000 a second each, far below what one prefix can do.", "value": "22"}]', 1, 'S3 scales by prefix and does so step by step, not at once, so retries with backoff are needed anyway. Fewer,
larger objects often help more: they cut the number of requests instead of spreading it.', 'Amazon S3 User Guide, Best practices design patterns, optimizing Amazon S3 performance', 'https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html', ARRAY['s3', 'throttling', 'request-rate']::text[], 'practical', '{"engine":"python","setup":"","run":"print(-(-22_000 // 5_500))\n"}', NULL, NULL, NULL),
('ff-footer-offset', 'f1bee26bccf516b648e324b29e327acb', 'file_formats_storage', 3, 'static', 'A Parquet file is 5,000,000 bytes long. Its last 8 bytes are shown: the footer length as a little-endian 32-bit
number, then the magic number. At which offset does the footer start?', 'import struct

tail = b"\x10\x27\x00\x00PAR1"
length = struct.unpack("<I", tail[:4])[0]
print(5_000_000 - 8 - length)', 'python', '[{"text": "4989992", "why": "0x2710 is 10,000, and the footer ends right before the last 8 bytes."}, {"text": "4990000", "why": "The footer is followed by 8 more bytes: its length and the magic number."}, {"text": "4995857", "why": "That reads 0x1027, or 4,135. Little-endian puts the low byte first, so the number is 0x2710."}, {"text": "10000", "why": "That is the length of the footer. It lies at the end of the file, not at its start."}]', 0, 'A reader first fetches the tail, learns the length of the footer, fetches the footer, and from it the places of
all column chunks. On object storage these are extra round trips, so many readers fetch a larger tail at once.', 'Apache Parquet documentation, File Format', 'https://parquet.apache.org/docs/file-format/', ARRAY['parquet', 'footer', 'object-storage']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('ff-avro-zigzag-bytes', 'ccbebc6e5b132a8d8a83cf32fedae337', 'file_formats_storage', 4, 'static', 'Avro writes a long with zigzag coding and then as a variable-length number with 7 bits a byte. The code follows
these rules. Which bytes does -65 become?', 'def avro_long(n):
    z = (n << 1) ^ (n >> 63)
    out = bytearray()
    while z > 0x7F:
        out.append((z & 0x7F) | 0x80)
        z >>= 7
    out.append(z)
    return out.hex(" ")

print(avro_long(-65))', 'python', '[{"text": "81", "why": "129 does not fit into 7 bits, so one byte is not enough."}, {"text": "82 01", "why": "That is 130, the code of +65. Negative numbers get the odd codes: -65 is 129."}, {"text": "bf ff ff ff ff ff ff ff ff 01", "why": "That is the plain varint of -65 in two''s complement, which zigzag is there to avoid."}, {"text": "81 01", "why": "Zigzag maps -65 to 129; its low 7 bits are 1, then 1 follows in the next byte."}]', 3, 'Zigzag maps 0, -1, 1, -2, 2 to 0, 1, 2, 3, 4, so small numbers of either sign stay short. One byte reaches from
-64 to 63; -65 is the first negative value that needs two.', 'Apache Avro 1.12.0 Specification, Primitive Types, Binary Encoding', 'https://avro.apache.org/docs/1.12.0/specification/', ARRAY['avro', 'varint', 'zigzag']::text[], 'practical', '{"engine":"python","setup":"","run":null}', NULL, NULL, NULL),
('gov-sql-injection-login', '054f2d5ec7e190868189a7054a83f473', 'governance_security', 1, 'static', 'A small API looks up orders with this code. The table orders holds 3 rows, of the customers A, B and C. A caller sends
the value of c shown below. How many rows come back?', 'c = "A'' OR ''1''=''1"
sql = ("SELECT id FROM orders "
       "WHERE customer = ''" + c + "''")
rows = con.execute(sql).fetchall()
print(len(rows))', 'python', '[{"text": "0 rows, since no customer has a name like that", "why": "That is what a query with a parameter would return. Here the quote in the value ends the string.", "value": "0"}, {"text": "1 row, since only customer A matches the first part of the condition", "why": "The part after OR is true for each row, so B and C pass too.", "value": "1"}, {"text": "3 rows, since the value has become part of the SQL", "why": "The WHERE reads: customer = ''A'' OR ''1''=''1'', which is true for all rows.", "value": "3"}, {"text": "No rows but an error, since a quote inside a value breaks the statement", "why": "The quotes were chosen so that the whole text is valid SQL again.", "value": "error: sqlite3.OperationalError"}]', 2, 'Text that is glued into SQL is code, not data. Pass values as parameters (`WHERE customer = ?`): the driver sends
them apart from the statement, and a quote stays a quote.', 'Python 3 documentation, sqlite3, How to use placeholders to bind values in SQL queries', 'https://docs.python.org/3/library/sqlite3.html#how-to-use-placeholders-to-bind-values-in-sql-queries', ARRAY['sql-injection', 'application-security']::text[], 'practical', '{"engine":"python","setup":"import sqlite3\ncon = sqlite3.connect(\":memory:\")\ncon.execute(\"CREATE TABLE orders (id INT, customer TEXT)\")\ncon.executemany(\"INSERT INTO orders VALUES (?, ?)\", [(1, \"A\"), (2, \"B\"), (3, \"C\")])\n","run":null}', NULL, NULL, NULL),
('gov-phone-hash-brute-force', '28e176f1163359a70db65a4b34cebec6', 'governance_security', 2, 'static', 'A table stores plain SHA-256 hashes of mobile numbers, without salt or key. All numbers have the form 49 1 plus 9 more
digits. An attacker computes 500 million hashes a second. How long does it take to hash every possible number?', NULL, '', '[{"text": "About 2 seconds", "why": "9 free digits are 1,000,000,000 numbers, and the attacker tries half of that each second.", "value": "2"}, {"text": "About 33 minutes", "why": "That is 12 free digits. The prefix 491 is known, so only 9 are left to guess.", "value": "2000"}, {"text": "About 18 seconds", "why": "That multiplies by the 9 digits as if each digit had to be searched on its own.", "value": "18"}, {"text": "About 10^61 years", "why": "That tries 2^256 hashes. The attacker walks through the inputs, and there are only a billion.", "value": "10^61 years"}]', 0, 'A hash of a value with few possibilities is reversed by trying them all. That is why hashed phone numbers remain personal
data. Use a keyed hash (HMAC) with the key kept elsewhere, or random tokens.', 'GDPR (Regulation (EU) 2016/679), Article 4(5) and Recital 26', 'https://eur-lex.europa.eu/eli/reg/2016/679/oj', ARRAY['hashing', 'pseudonymization', 'brute-force']::text[], 'practical', '{"engine":"python","setup":"","run":"free_digits, per_second = 9, 500_000_000\nprint(10 ** free_digits // per_second)\n"}', NULL, NULL, NULL),
('gov-pg-view-owner-rights', '3e2433915030c1fb7f85567ef1df132c', 'governance_security', 3, 'static', 'In PostgreSQL 18, table pay has row security enabled with a policy that shows each user only their own rows. The table
owner hr creates this view and grants it to staff. A member of staff selects from the view. What do they see?', 'CREATE VIEW pay_v AS
  SELECT emp, amount FROM pay;
GRANT SELECT ON pay_v TO staff;', 'sql', '[{"text": "Only their own rows, since a policy always uses the user who runs the query", "why": "That needs `WITH (security_invoker = true)`. By default the view owner''s rights and policies count."}, {"text": "An error, since staff has no privilege on the table that stands behind the view", "why": "A view is read with its owner''s privileges on the table, so staff needs none."}, {"text": "Zero rows, since no policy was made for the view and the default is to deny", "why": "Policies belong to tables. The one on `pay` is skipped since hr owns the table."}, {"text": "All rows, since the view reads pay with the rights of its owner hr", "why": "Table owners skip row security, and the view is checked as its owner."}]', 3, 'Views run with the owner''s privileges and row policies unless they are created with `security_invoker = true` (since
PostgreSQL 15). A view owned by the table owner opens a door through row security.', 'PostgreSQL 18 documentation, CREATE VIEW, security_invoker and Notes', 'https://www.postgresql.org/docs/18/sql-createview.html', ARRAY['postgres', 'row-level-security', 'views']::text[], 'practical', NULL, NULL, NULL, NULL),
('gov-laplace-scale', '2eebd8d26d8493f334ff858a37f31d8a', 'governance_security', 4, 'static', 'A count query gets Laplace noise with scale b = sensitivity / epsilon. One person can add at most 3 rows, all of which
may be counted. epsilon is 0.5. Which scale gives differential privacy for a whole person?', NULL, '', '[{"text": "b = 2", "why": "That uses sensitivity 1: it protects one row, not one person with 3 rows.", "value": "2"}, {"text": "b = 1.5", "why": "That is 3 * 0.5. The scale divides by epsilon: a smaller epsilon means more noise.", "value": "1.5"}, {"text": "b = 6", "why": "One person changes the count by up to 3, and 3 / 0.5 = 6.", "value": "6"}, {"text": "b = 0.17", "why": "That is 0.5 / 3, the fraction turned over: more rows a person would mean less noise.", "value": "0.17"}]', 2, 'Sensitivity is how much one protected unit can change the answer. If the unit is a person, bound the rows of a person
first (contribution bounding) and scale with that bound. Row-level noise under-protects heavy users.', 'NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees', 'https://csrc.nist.gov/pubs/sp/800/226/final', ARRAY['differential-privacy', 'sensitivity']::text[], 'practical', '{"engine":"python","setup":"","run":"rows_per_person, epsilon = 3, 0.5\nprint(round(rows_per_person / epsilon))\n"}', NULL, NULL, NULL),
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
