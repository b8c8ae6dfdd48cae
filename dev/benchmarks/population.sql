-- A database as years of use leave it, made inside PostgreSQL. It replaces :learners and :answers_each.
-- Statements are separated by lines of dashes, so that progress can be shown; each says what it makes.

-- step: constraints off, since what is made here keeps them by construction
SET session_replication_role = 'replica';
SET synchronous_commit = 'off';
SELECT setseed(0.5);

-- step: learners
INSERT INTO learners (id, bot_id, level, level_progress, ability, ability_variance, streak_days, best_streak,
                      last_answer_day, daily_at, timezone, topics, daily_enabled, next_daily_at, version, levels_asked, created_at)
SELECT 10000000 + n, 515151, 1 + n % 4, n % 100, (n % 400) / 100.0 - 2, 0.2, n % 90, n % 120,
       current_date - (n % 30)::integer, make_time((n % 24)::integer, 0, 0),
       (ARRAY['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Sydney'])[1 + n % 5],
       CASE WHEN n % 3 = 0 THEN ARRAY['streaming', 'sql_performance'] ELSE '{}' END, n % 20 <> 0,
       now() + interval '1 day' * random(), :answers_each, 1 << (1 + n % 4)::integer, now() - interval '1 year' * random()
FROM generate_series(1, :learners) AS n;

-- step: quizzes, all of them graded
WITH bank AS (SELECT array_agg(id ORDER BY id) AS ids, count(*)::integer AS number FROM questions)
INSERT INTO quizzes (learner_id, question_id, kind, local_day, state, option_order, message_id, attempts, chosen,
                     created_at, touched_at, sent_at, answered_at, graded_at, feedback_at, expires_at)
SELECT 10000000 + n, bank.ids[1 + (n * 7 + k * 13) % bank.number], 'daily', current_date - k, 'graded', '{0,1,2,3}',
       n + k, 1, (n + k) % 4, moment, moment, moment, moment, moment, moment, moment + interval '2 days'
FROM bank CROSS JOIN generate_series(1, :learners) AS n CROSS JOIN generate_series(1, :answers_each) AS k
CROSS JOIN LATERAL (SELECT now() - k * interval '1 day' AS moment) AS at;

-- step: answers
INSERT INTO answers (quiz_id, learner_id, question_id, topic, correct, chosen, local_day, level_before, level_after,
                     points_before, points_after, run_before, run_after, placement_left, was_placed, streak_before,
                     streak_after, freezes_before, freezes_after, rated, answered_at)
SELECT z.id, z.learner_id, z.question_id, q.topic, z.chosen = q.correct_index, z.chosen, z.local_day, q.level, q.level,
       0, 1, 0, 1, 0, false, 1, 2, 0, 0, true, z.answered_at
FROM quizzes z JOIN questions q ON q.id = z.question_id;

-- step: an open quiz for each tenth learner
INSERT INTO quizzes (learner_id, question_id, kind, local_day, state, option_order, message_id, attempts, sent_at, expires_at)
SELECT 10000000 + n, (SELECT min(id) FROM questions), 'on_demand', current_date, 'sent', '{0,1,2,3}', n, 1, now(),
       now() + interval '2 days'
FROM generate_series(1, :learners, 10) AS n;

-- step: a missed question for each third learner
INSERT INTO reviews (learner_id, item, question_id, stability, difficulty, reviewed_at, due_at)
SELECT 10000000 + n, q.item, q.id, 2, 5, now() - interval '3 days', now() + interval '1 day' * (n % 7 - 3)
FROM generate_series(1, :learners, 3) AS n CROSS JOIN (SELECT id, item FROM questions ORDER BY id LIMIT 1) AS q;

-- step: updates of the last days, a few of them waiting
INSERT INTO updates (bot_id, update_id, learner_id, kind, content, state, received_at, done_at)
SELECT 515151, n, 10000000 + 1 + n % :learners, 'tap', 'n', CASE WHEN n % 5000 = 0 THEN 'new' ELSE 'done' END,
       now() - interval '2 days' * random(), CASE WHEN n % 5000 = 0 THEN NULL ELSE now() END
FROM generate_series(1, :learners) AS n;

-- step: constraints on again
SET session_replication_role = 'origin';

-- step: statistics of the tables
ANALYZE;
