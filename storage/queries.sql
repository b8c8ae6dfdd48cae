-- Every query of the service. Each begins with `-- name: verb_noun` and a line on what it is for.

-- ================================================================ updates

-- name: store_update
-- Keep an update and say what a tap in it amounts to; a redelivered one changes nothing and is judged the same way.
WITH stored AS (
    INSERT INTO updates (bot_id, update_id, learner_id, kind, content, message_id, traceparent)
    VALUES ($1, $2, $3, $4, $5, $6, $8)
    ON CONFLICT (bot_id, update_id) DO NOTHING
    RETURNING id
)
SELECT EXISTS (SELECT FROM stored) AS is_new,
       CASE
           WHEN $7::bigint IS NULL THEN 'not_a_quiz'
           WHEN q.id IS NULL THEN 'unknown'
           WHEN q.learner_id <> $3 THEN 'foreign'
           WHEN $9 AND (q.answered_at > now() - interval '10 seconds' OR EXISTS (
               SELECT FROM updates e
               WHERE e.learner_id = $3 AND e.state IN ('new', 'claimed') AND (e.bot_id, e.update_id) <> ($1, $2)
                 AND e.kind = 'tap' AND starts_with(e.content, format('a:%s:', q.id)))) THEN 'repeated'
           WHEN q.state IN ('answered', 'graded') THEN 'answered'
           WHEN q.state = 'expired' OR (q.expires_at <= now() AND q.sent_at IS NOT NULL) THEN 'expired'
           ELSE 'fresh'
       END AS verdict
FROM (SELECT) AS one_row
LEFT JOIN quizzes q ON q.id = $7::bigint;

-- name: is_first_text
-- Whether a text is the first of its learner in a while, all that they wrote in between counted.
SELECT NOT EXISTS (
    SELECT FROM updates u JOIN updates e ON e.learner_id = u.learner_id AND e.bot_id = u.bot_id
    WHERE u.id = $1 AND e.kind = 'text' AND e.id < u.id AND e.received_at > u.received_at - $2::interval);

-- name: get_traceparent
-- The span in which a learner's quiz was sent.
SELECT traceparent FROM quizzes WHERE id = $1 AND learner_id = $2;

-- name: claim_updates
-- Take the oldest unfinished update of each learner, so that one learner's updates are handled in order. What came
-- through bots that are refused now is tried once and then left alone, until it is too old to be answered.
UPDATE updates u
SET state = 'claimed', attempts = u.attempts + 1, claimed_until = now() + $2::interval
FROM (
    SELECT w.id
    FROM updates w
    WHERE w.state IN ('new', 'claimed')
      AND (w.state = 'new' OR w.claimed_until < now()
               AND (w.bot_id <> ALL($3::bigint[]) OR w.received_at < now() - $4::interval))
      AND NOT EXISTS (
          SELECT FROM updates earlier
          WHERE earlier.learner_id = w.learner_id
            AND earlier.bot_id = w.bot_id  -- each bot numbers its own updates
            AND earlier.update_id < w.update_id
            AND earlier.state IN ('new', 'claimed'))
    ORDER BY w.id
    LIMIT $1
    FOR UPDATE SKIP LOCKED
) AS claimable
WHERE u.id = claimable.id
RETURNING u.*, u.id AS row, (SELECT l.bot_id FROM learners l WHERE l.id = u.learner_id) AS home_bot_id;

-- name: extend_claims
-- Keep what this worker is still busy with.
UPDATE updates SET claimed_until = now() + $2::interval WHERE id = ANY($1::bigint[]) AND state = 'claimed';

-- name: finish_updates
-- Mark updates as handled.
UPDATE updates SET state = 'done', done_at = now(), error = NULL WHERE id = ANY($1::bigint[]);

-- name: release_update
-- Give an update back after a failure, to be tried again after a pause, or give it up. An attempt need not count.
UPDATE updates
SET state = CASE WHEN $3 THEN 'failed' ELSE 'claimed' END,
    attempts = CASE WHEN $5 THEN attempts ELSE greatest(attempts - 1, 0) END,
    claimed_until = now() + $4::interval,
    done_at = CASE WHEN $3 THEN now() END,
    error = $2
WHERE id = $1;

-- name: return_updates
-- Leave what a worker could not finish before its end to others, at once.
UPDATE updates SET claimed_until = now() WHERE id = ANY($1::bigint[]) AND state = 'claimed';

-- name: delete_old_updates
-- Forget updates that are finished for longer than Telegram could deliver them again.
DELETE FROM updates WHERE state IN ('done', 'failed') AND done_at < now() - $1::interval;

-- name: count_waiting_of_learner
-- How many updates of a learner wait, counted no further than matters.
SELECT count(*) FROM (
    SELECT FROM updates WHERE learner_id = $1 AND state IN ('new', 'claimed') LIMIT $2
) AS waiting;

-- name: count_waiting_updates
-- How many updates wait, and for how many seconds the oldest one does.
SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8 AS oldest_seconds
FROM updates WHERE state IN ('new', 'claimed');

-- ================================================================ learners

-- name: add_learner
-- Register a learner, or wake one who comes back; settings and progress of the latter stay. They belong to the bot that
-- they started with, unless they blocked that one or the service has it no more.
INSERT INTO learners (id, bot_id, level, daily_at, timezone, topics, next_daily_at, placement_left, ability, ability_variance)
VALUES ($1, $2, $3, $4, known_zone($5), $6, next_local_time($5, $4, now()), $7, $8, $9)
ON CONFLICT (id) DO UPDATE
SET blocked_at = NULL,
    bot_id = CASE WHEN learners.blocked_at IS NULL AND learners.bot_id = ANY($10::bigint[]) THEN learners.bot_id
                  ELSE excluded.bot_id END
RETURNING *, (xmax = 0) AS is_new;

-- name: group_by_bot
-- Which of these learners belong to which bot.
SELECT bot_id, array_agg(id ORDER BY place) AS learner_ids
FROM unnest($1::bigint[]) WITH ORDINALITY AS given (learner_id, place) JOIN learners ON id = learner_id
GROUP BY bot_id ORDER BY bot_id;

-- name: set_experience
-- A new learner said how experienced they are, before their first answer.
UPDATE learners SET level = $2, ability = $3, ability_variance = $4 WHERE id = $1 AND version = 0 RETURNING *;

-- name: get_learners
-- The states of several learners.
SELECT * FROM learners WHERE id = ANY($1::bigint[]) ORDER BY id;

-- name: set_daily_enabled
-- /stop and /resume; daily quizzes that wait to be sent are called off by the former.
WITH called_off AS (
    UPDATE quizzes SET state = 'failed', failure = 'opted out of daily quizzes', touched_at = now()
    WHERE learner_id = $1 AND NOT $2 AND kind = 'daily' AND state IN ('pending', 'sending') AND sent_at IS NULL
)
UPDATE learners
SET daily_enabled = $2, next_daily_at = next_local_time(timezone, daily_at, now())
WHERE id = $1
RETURNING *;

-- name: set_blocked
-- Telegram says whether messages reach the learner; only of the bot that they belong to does that matter. Daily quizzes
-- that wait to be sent are called off.
WITH noted AS (
    UPDATE learners
    SET blocked_at = CASE WHEN $2 THEN coalesce(blocked_at, now()) END,
        next_daily_at = CASE WHEN $2 THEN next_daily_at ELSE greatest(next_daily_at, now()) END
    WHERE id = $1 AND bot_id = $3
    RETURNING id
)
UPDATE quizzes z SET state = 'failed', failure = 'blocked the bot', touched_at = now()
FROM noted
WHERE z.learner_id = noted.id AND $2 AND z.kind = 'daily' AND z.state = 'pending' AND z.sent_at IS NULL;

-- name: move_learner
-- A learner goes on with another bot.
UPDATE learners
SET bot_id = $2, blocked_at = NULL,
    next_daily_at = CASE WHEN blocked_at IS NULL THEN next_daily_at ELSE greatest(next_daily_at, now()) END
WHERE id = $1
RETURNING *;

-- name: set_daily_at
-- A learner chose another hour.
UPDATE learners SET daily_at = $2, next_daily_at = next_local_time(timezone, $2, now()) WHERE id = $1 RETURNING *;

-- name: set_timezone
-- A learner chose another time zone.
UPDATE learners SET timezone = known_zone($2), next_daily_at = next_local_time($2, daily_at, now()) WHERE id = $1 RETURNING *;

-- name: set_topics
-- A learner chose topics.
UPDATE learners SET topics = $2 WHERE id = $1 RETURNING *;

-- name: find_due_learners
-- Who is to get the daily quiz by now from some bots or from all, in the order in which they became due. Learners of a
-- bot that is paused stay due.
SELECT id FROM learners
WHERE daily_enabled AND blocked_at IS NULL AND next_daily_at <= $1 AND ($4::bigint[] IS NULL OR bot_id = ANY($4))
  AND ($2::bigint[] IS NULL OR id = ANY($2))
  AND NOT EXISTS (SELECT FROM active_pauses p WHERE p.bot_id IN (0, learners.bot_id))
ORDER BY next_daily_at, id
LIMIT $3;

-- name: advance_daily
-- The daily quizzes of these learners are made: the next ones are due on the next of their local days.
UPDATE learners SET next_daily_at = next_local_time(timezone, daily_at, greatest(now(), next_daily_at))
WHERE id = ANY($1::bigint[])
  AND (next_daily_at AT TIME ZONE known_zone(timezone))::date <= (now() AT TIME ZONE known_zone(timezone))::date;

-- name: delete_learner
-- Erase a learner; quizzes and answers go with them.
DELETE FROM learners WHERE id = $1;

-- name: anonymize_updates
-- Cut a learner off their updates; what stays is a number that stops a redelivery from being handled again.
UPDATE updates
SET learner_id = NULL, content = '', message_id = NULL, traceparent = NULL,
    state = CASE WHEN state = 'failed' THEN 'failed' ELSE 'done' END, done_at = coalesce(done_at, now())
WHERE learner_id = $1;

-- ================================================================ questions

-- name: pick_questions
-- For each learner a question of their level and topics, from some sources: unseen ones first, any of those at random.
SELECT picked.learner_id, q.id AS question_id, q.key, q.topic, q.level, q.source, q.prompt, q.code,
       q.language, q.options, q.correct_index, q.explanation, q.reference_title, q.reference_url
FROM (
    SELECT wanted.learner_id, chosen.id
    FROM unnest($1::bigint[], $2::smallint[], $3::text[]) AS wanted (learner_id, level, topics)
    CROSS JOIN LATERAL (
        SELECT c.id
        FROM questions c
        LEFT JOIN (
            SELECT z.question_id, count(*) AS times FROM quizzes z
            WHERE z.learner_id = wanted.learner_id GROUP BY z.question_id
        ) AS seen ON seen.question_id = c.id
        WHERE c.state = 'active' AND c.source = ANY($4::text[]) AND c.level = wanted.level
          AND (wanted.topics = '' OR c.topic = ANY(string_to_array(wanted.topics, ',')))
        ORDER BY coalesce(seen.times, 0), random()
        LIMIT 1
    ) AS chosen
) AS picked
JOIN questions q ON q.id = picked.id;

-- name: get_questions
-- Questions by their keys.
SELECT id AS question_id, key, topic, level, source, prompt, code, language, options, correct_index,
       explanation, reference_title, reference_url
FROM questions WHERE key = ANY($1::text[]);

-- name: count_template_uses
-- How often learners had each template, and the seed that is next for them.
SELECT z.learner_id, q.template, count(*) AS times, max(q.seed) + 1 AS next_seed
FROM quizzes z JOIN questions q ON q.id = z.question_id
WHERE z.learner_id = ANY($1::bigint[]) AND q.template IS NOT NULL
GROUP BY z.learner_id, q.template;

-- name: list_resting_templates
-- Templates of which an instance is in doubt.
SELECT DISTINCT template FROM questions WHERE template IS NOT NULL AND state = 'quarantined';

-- name: list_question_texts
-- What a new question must not repeat: everything that is or was in doubt, but not the draws of templates.
SELECT key, prompt, code, options FROM questions WHERE state <> 'retired' AND source <> 'computed';

-- name: list_questions
-- Questions with what learners made of them, by filters that may be null.
SELECT q.id AS question_id, q.key, q.topic, q.level, q.source, q.prompt, q.code, q.language, q.options,
       q.correct_index, q.explanation, q.reference_title, q.reference_url, q.tags, q.form, q.check_spec, q.state,
       q.state_reason, q.created_at, given.asked, given.answered, given.correct, doubted.reports
FROM questions q
CROSS JOIN LATERAL (
    SELECT count(*) AS asked, count(z.chosen) AS answered, count(*) FILTER (WHERE z.chosen = q.correct_index) AS correct
    FROM quizzes z WHERE z.question_id = q.id
) AS given
CROSS JOIN LATERAL (SELECT count(*) AS reports FROM question_reports r WHERE r.question_id = q.id) AS doubted
WHERE ($1::text[] IS NULL OR q.key = ANY($1)) AND ($2::text IS NULL OR q.topic = $2)
  AND ($3::smallint IS NULL OR q.level = $3) AND ($4::text IS NULL OR q.source = $4)
  AND ($5::text IS NULL OR q.state = $5)
ORDER BY q.topic, q.level, q.key;

-- name: list_item_answers
-- Questions and templates that are asked and had so many first answers since they last changed or came back: how hard
-- they have proved to be, how often each option was taken, and how being right goes with ability. Draws of a template
-- count together, but for their options.
SELECT q.item AS name, q.topic, q.level, q.source, q.correct_index, r.difficulty, r.variance, given.answers,
       given.discrimination,
       CASE WHEN q.source = 'computed' THEN '{}' ELSE ARRAY[given.a, given.b, given.c, given.d] END AS chosen
FROM (
    SELECT q.item, max(q.id) AS latest_id, count(*) AS answers,
           corr(a.correct::integer, a.ability_before) AS discrimination,
           count(*) FILTER (WHERE a.chosen = 0) AS a, count(*) FILTER (WHERE a.chosen = 1) AS b,
           count(*) FILTER (WHERE a.chosen = 2) AS c, count(*) FILTER (WHERE a.chosen = 3) AS d
    FROM answers a JOIN questions q ON q.id = a.question_id
    WHERE a.rated AND q.state = 'active' AND a.answered_at >= q.updated_at
    GROUP BY q.item HAVING count(*) >= $1
) AS given
JOIN questions q ON q.id = given.latest_id
JOIN item_ratings r ON r.item = q.item
ORDER BY q.item;

-- name: quarantine_question
-- Stop asking a question that is in doubt.
UPDATE questions SET state = 'quarantined', state_reason = $2, updated_at = now()
WHERE key = $1 AND state <> 'retired'
RETURNING id;

-- name: restore_question
-- Ask a question again that was in doubt.
UPDATE questions SET state = 'active', state_reason = NULL, updated_at = now()
WHERE key = $1 AND state = 'quarantined'
RETURNING id;

-- name: delete_reports
-- The doubts about a question are settled.
DELETE FROM question_reports WHERE question_id = $1;

-- name: report_question
-- A learner doubts a question that they answered; whoever reports twice counts once.
INSERT INTO question_reports (question_id, learner_id, reason)
SELECT z.question_id, z.learner_id, $3 FROM quizzes z WHERE z.id = $1 AND z.learner_id = $2 AND z.chosen IS NOT NULL
ON CONFLICT (question_id, learner_id) DO UPDATE SET reason = excluded.reason, reported_at = now()
RETURNING question_id;

-- name: quarantine_reported
-- Stop asking what enough learners reported.
UPDATE questions q
SET state = 'quarantined', state_reason = format('reported by %s learners', doubted.reports), updated_at = now()
FROM (SELECT question_id, count(*) AS reports FROM question_reports GROUP BY question_id HAVING count(*) >= $1) AS doubted
WHERE q.id = doubted.question_id AND q.state = 'active'
RETURNING q.key;

-- name: list_reported
-- What learners reported and nobody has settled yet, those with the most reports first.
SELECT q.key, q.topic, q.level, q.source, q.state, count(*) AS reports,
       count(*) FILTER (WHERE r.reason = 'wrong') AS wrong, count(*) FILTER (WHERE r.reason = 'unclear') AS unclear,
       count(*) FILTER (WHERE r.reason = 'outdated') AS outdated, max(r.reported_at) AS last_reported_at
FROM question_reports r JOIN questions q ON q.id = r.question_id
GROUP BY q.id ORDER BY reports DESC, last_reported_at DESC LIMIT $1;

-- name: upsert_question
-- Load a question: new, changed, or back from retirement; unchanged ones are left alone, and a stored one keeps its
-- standing, whatever doubt comes with the new content.
INSERT INTO questions (key, content_hash, topic, level, source, prompt, code, language, options, correct_index,
                       explanation, reference_title, reference_url, tags, form, check_spec, template, seed, state_reason,
                       state)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19::text,
        CASE WHEN $19::text IS NULL THEN 'active' ELSE 'quarantined' END)
ON CONFLICT (key) DO UPDATE SET
    content_hash = excluded.content_hash, topic = excluded.topic, level = excluded.level, source = excluded.source,
    prompt = excluded.prompt, code = excluded.code, language = excluded.language, options = excluded.options,
    correct_index = excluded.correct_index, explanation = excluded.explanation,
    reference_title = excluded.reference_title, reference_url = excluded.reference_url, tags = excluded.tags,
    form = excluded.form, check_spec = excluded.check_spec, template = excluded.template, seed = excluded.seed,
    state = CASE WHEN questions.state = 'retired' THEN 'active' ELSE questions.state END, updated_at = now()
WHERE questions.content_hash <> excluded.content_hash OR questions.state = 'retired'
RETURNING id;

-- name: list_question_hashes
-- What of the static bank is stored already.
SELECT key, content_hash, state, topic FROM questions WHERE source = 'static';

-- name: retire_questions
-- Stop asking static questions that are gone from the bank; their history stays.
UPDATE questions SET state = 'retired', updated_at = now() WHERE source = 'static' AND state = 'active' AND key = ANY($1::text[]);

-- name: count_questions
-- How many questions can be asked, by topic and level.
SELECT topic, level, count(*) AS questions FROM questions WHERE state = 'active' GROUP BY topic, level ORDER BY topic, level;

-- name: count_questions_by_state
-- How many questions there are of each source in each state.
SELECT source, state, count(*) AS questions FROM questions GROUP BY source, state ORDER BY source, state;

-- ================================================================ questions from a language model

-- name: count_stock
-- For each topic and level, how many active questions of the model there are, and how many of them are left for the
-- learner who has had the most.
SELECT t.topic, l.level, coalesce(held.active, 0) AS active, coalesce(held.active, 0) - coalesce(used.most, 0) AS fresh
FROM topics t CROSS JOIN levels l
LEFT JOIN (
    SELECT topic, level, count(*) AS active FROM questions WHERE source = 'llm' AND state = 'active' GROUP BY topic, level
) AS held ON held.topic = t.topic AND held.level = l.level
LEFT JOIN (
    SELECT topic, level, max(had) AS most
    FROM (
        SELECT q.topic, q.level, z.learner_id, count(DISTINCT q.id) AS had
        FROM questions q JOIN quizzes z ON z.question_id = q.id
        WHERE q.source = 'llm' AND q.state = 'active'
        GROUP BY q.topic, q.level, z.learner_id
    ) AS by_learner
    GROUP BY topic, level
) AS used ON used.topic = t.topic AND used.level = l.level
ORDER BY t.position, l.level;

-- name: find_missed_tags
-- What a learner got wrong lately within a topic.
SELECT tag
FROM (SELECT question_id FROM answers WHERE learner_id = $1 AND NOT correct ORDER BY answered_at DESC LIMIT 50) AS missed
JOIN questions q ON q.id = missed.question_id AND q.topic = $2
CROSS JOIN unnest(q.tags) AS tag
GROUP BY tag ORDER BY count(*) DESC, tag LIMIT $3;

-- name: find_tags_missed_at
-- What learners get wrong most often within a topic and level.
SELECT tag
FROM questions q JOIN quizzes z ON z.question_id = q.id CROSS JOIN unnest(q.tags) AS tag
WHERE q.topic = $1 AND q.level = $2 AND z.chosen <> q.correct_index
GROUP BY tag ORDER BY count(*) DESC, tag LIMIT $3;

-- name: pick_examples
-- Some questions of a topic and level, to show a model the bank's style.
SELECT id AS question_id, key, topic, level, source, prompt, code, language, options, correct_index,
       explanation, reference_title, reference_url
FROM questions WHERE state = 'active' AND source = 'static' AND topic = $1 AND level = $2 ORDER BY random() LIMIT $3;

-- name: lock_budget
-- Only one process at a time reserves money.
SELECT pg_advisory_xact_lock(7205759403792794);

-- name: begin_generation
-- Reserve money for a question, unless the day's budget (in UTC) would not hold it.
INSERT INTO generations (topic, level, model, cost)
SELECT $1, $2, $3, $4::numeric
WHERE $4::numeric + (
    SELECT coalesce(sum(cost), 0) FROM generations
    WHERE begun_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
) <= $5::numeric
RETURNING id;

-- name: end_generation
-- What became of it, and what it really cost.
UPDATE generations
SET outcome = $2, reason = $3, question_id = $4, calls = $5, prompt_tokens = $6, completion_tokens = $7, cost = $8,
    ended_at = now()
WHERE id = $1;

-- name: sum_generations
-- The last so many days' questions of the model, by outcome and the word that their reason begins with; what follows that
-- word, such as a server's sentence, may differ each time. A day begins at midnight UTC.
SELECT outcome, coalesce(split_part(reason, ':', 1), '') AS reason,
       coalesce((array_agg(reason ORDER BY id DESC))[1], '') AS latest, count(*) AS questions, sum(calls) AS calls,
       sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens, sum(cost) AS cost
FROM generations
WHERE begun_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - make_interval(days => $1 - 1)
GROUP BY outcome, split_part(reason, ':', 1) ORDER BY outcome, questions DESC;

-- ================================================================ quizzes

-- name: create_quizzes
-- Make quizzes that are not there yet, and count who was shown what; a learner's daily quiz belongs to the local day for
-- which it was due. Each count waits for the one before, so that two processes never wait for each other.
WITH made AS (
    INSERT INTO quizzes (learner_id, question_id, kind, local_day, option_order, is_review, expires_at)
    SELECT given.learner_id, given.question_id, $4,
           CASE WHEN $4 = 'daily' AND l.next_daily_at > now() - interval '1 day'
                THEN (least(l.next_daily_at, now()) AT TIME ZONE known_zone(l.timezone))::date
                ELSE (now() AT TIME ZONE known_zone(l.timezone))::date END,
           string_to_array(given.option_order, ',')::smallint[], given.is_review, now() + $5::interval
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $6::boolean[]) AS given (learner_id, question_id, option_order, is_review)
    JOIN learners l ON l.id = given.learner_id
    ON CONFLICT DO NOTHING
    RETURNING id, learner_id, question_id, is_review
), asked AS (
    UPDATE learners l
    SET levels_asked = l.levels_asked | (1 << l.level),
        quizzes_since_review = CASE WHEN made.is_review THEN 0 ELSE least(l.quizzes_since_review + 1, 1000) END
    FROM made JOIN learners before ON before.id = made.learner_id
    WHERE l.id = made.learner_id
    RETURNING made.id, made.learner_id, made.question_id, l.level, before.levels_asked & (1 << l.level) = 0 AS is_new_there
), shown AS (
    INSERT INTO question_exposure (question_id, level, learners)
    SELECT asked.question_id, asked.level, count(*)
    FROM asked JOIN questions q ON q.id = asked.question_id AND q.source <> 'computed'
    WHERE NOT EXISTS (SELECT FROM quizzes e WHERE e.learner_id = asked.learner_id AND e.question_id = asked.question_id)
    GROUP BY asked.question_id, asked.level
    ORDER BY asked.question_id, asked.level
    ON CONFLICT (question_id, level) DO UPDATE SET learners = question_exposure.learners + excluded.learners
    RETURNING level
), counted AS (
    UPDATE levels SET learners = levels.learners + newcomers.number
    FROM (SELECT level, count(*) AS number FROM asked WHERE is_new_there GROUP BY level) AS newcomers
    WHERE levels.level = newcomers.level AND (SELECT count(*) FROM shown) >= 0
)
SELECT id, learner_id FROM asked;

-- name: find_open_quizzes
-- The latest unanswered quiz of each learner, and how long ago it was sent.
SELECT DISTINCT ON (z.learner_id) z.id AS quiz_id, z.learner_id, z.kind, z.is_review, z.state, z.local_day,
       z.option_order, z.message_id, z.chosen, z.sent_at, z.answered_at, z.attempts, z.traceparent, l.bot_id,
       coalesce(z.message_bot_id, l.bot_id) AS message_bot_id, now() - z.sent_at AS since_sent,
       q.id AS question_id, q.key, q.topic, q.level, q.source, q.prompt, q.code, q.language,
       q.options, q.correct_index, q.explanation, q.reference_title, q.reference_url
FROM quizzes z JOIN questions q ON q.id = z.question_id JOIN learners l ON l.id = z.learner_id
WHERE z.learner_id = ANY($1::bigint[]) AND z.state IN ('pending', 'sending', 'sent')
  AND (z.sent_at IS NULL OR z.expires_at > now())
ORDER BY z.learner_id, z.id DESC;

-- name: count_awaiting_daily
-- How many of these learners wait for a daily quiz that was due at a moment: it is not made yet, or not sent.
SELECT (SELECT count(*) FROM learners
        WHERE id = ANY($1::bigint[]) AND daily_enabled AND blocked_at IS NULL AND next_daily_at <= $2)
     + (SELECT count(*) FROM quizzes
        WHERE learner_id = ANY($1::bigint[]) AND kind = 'daily' AND state IN ('pending', 'sending'));

-- name: list_daily_results
-- What has become since a moment of the daily quizzes of these learners, and how each learner stands.
SELECT given.id AS learner_id, l.id IS NOT NULL AS is_known, l.blocked_at IS NOT NULL AS is_blocked,
       coalesce(l.daily_enabled, false) AS is_enabled, coalesce(l.next_daily_at <= $2, false) AS is_due,
       EXISTS (SELECT FROM active_pauses p WHERE p.bot_id IN (0, l.bot_id)) AS is_paused,
       z.id AS quiz_id, z.state, z.failure, z.attempts, q.topic, q.level
FROM unnest($1::bigint[]) AS given (id)
LEFT JOIN learners l ON l.id = given.id
LEFT JOIN LATERAL (
    SELECT * FROM quizzes d WHERE d.learner_id = given.id AND d.kind = 'daily' ORDER BY d.local_day DESC LIMIT 1
) AS z ON z.state IN ('pending', 'sending') OR coalesce(z.sent_at, z.touched_at) >= $2
LEFT JOIN questions q ON q.id = z.question_id;

-- name: get_quizzes
-- Quizzes with their questions.
SELECT z.id AS quiz_id, z.learner_id, z.kind, z.is_review, z.state, z.local_day, z.option_order, z.message_id,
       z.chosen, z.sent_at, z.answered_at, z.attempts, z.traceparent, l.bot_id,
       coalesce(z.message_bot_id, l.bot_id) AS message_bot_id,
       q.id AS question_id, q.key, q.topic, q.level, q.source, q.prompt, q.code, q.language,
       q.options, q.correct_index, q.explanation, q.reference_title, q.reference_url
FROM quizzes z JOIN questions q ON q.id = z.question_id JOIN learners l ON l.id = z.learner_id
WHERE z.id = ANY($1::bigint[])
ORDER BY z.id;

-- name: begin_sending
-- Take quizzes for sending; those that another process has taken, that are answered or whose bot is paused do not come
-- back. One that is stalled is taken once, however many processes found it. All are locked in one order, so that none
-- waits in a circle.
WITH taken AS (
    SELECT id FROM quizzes
    WHERE id = ANY($1::bigint[])
      AND CASE WHEN $3::interval IS NULL THEN state = 'pending' OR ($2 AND state IN ('sending', 'sent'))
               ELSE state IN ('pending', 'sending') AND touched_at <= now() - $3::interval END
      AND NOT EXISTS (
          SELECT FROM active_pauses p
          WHERE p.bot_id IN (0, (SELECT l.bot_id FROM learners l WHERE l.id = quizzes.learner_id)))
    ORDER BY id FOR UPDATE
)
UPDATE quizzes z SET state = 'sending', attempts = z.attempts + 1, touched_at = now()
FROM taken
WHERE z.id = taken.id
RETURNING z.id;

-- name: mark_sent
-- Quizzes are in their learners' chats; a tap may even have come before this is written. The time to answer begins now,
-- however long a quiz waited to be sent. A daily quiz that waited until a later local day is that day's, and of several
-- the first one: the learner gets no other one then. One whose sending only passes midnight keeps its day. Of two copies
-- the older one is stale from now on, unless it was answered while the new one was on its way: then the new one is. Given
-- as JSON, of which the planner knows no length, so that it does not plan anew each time.
WITH given AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS sent (quiz_id bigint, message_id bigint, bot_id bigint, traceparent text)
), late AS (
    SELECT z.id, z.learner_id, (now() AT TIME ZONE known_zone(l.timezone))::date AS today
    FROM given g JOIN quizzes z ON z.id = g.quiz_id JOIN learners l ON l.id = z.learner_id
    WHERE z.kind = 'daily' AND z.sent_at IS NULL AND z.created_at < now() - interval '1 hour'
      AND z.local_day < (now() AT TIME ZONE known_zone(l.timezone))::date
), waiting AS (  -- learners before quizzes, as grading takes them, and each in one order, so that none waits in a circle
    SELECT id FROM learners WHERE id IN (SELECT learner_id FROM late) ORDER BY id FOR NO KEY UPDATE
), advanced AS (
    UPDATE learners l SET next_daily_at = next_local_time(l.timezone, l.daily_at, greatest(now(), l.next_daily_at))
    FROM waiting JOIN late ON late.learner_id = waiting.id
    WHERE l.id = waiting.id AND (l.next_daily_at AT TIME ZONE known_zone(l.timezone))::date <= late.today
    RETURNING l.id
), free AS (
    SELECT DISTINCT ON (learner_id) id, today FROM late
    WHERE NOT EXISTS (SELECT FROM quizzes o
                      WHERE o.learner_id = late.learner_id AND o.kind = 'daily' AND o.local_day = late.today)
    ORDER BY learner_id, id
), locked AS (
    SELECT z.id, z.learner_id, z.message_id, coalesce(z.message_bot_id, g.bot_id) AS bot_id,
           z.state IN ('answered', 'graded') AS is_answered,
           z.message_id IS NULL OR z.state NOT IN ('answered', 'graded')
               AND (z.message_id <= g.message_id OR z.message_bot_id <> g.bot_id) AS is_newest,
           g.message_id AS new_id, g.bot_id AS new_bot_id, g.traceparent
    FROM given g JOIN quizzes z ON z.id = g.quiz_id
    WHERE (SELECT count(*) FROM advanced) >= 0
    ORDER BY z.id FOR UPDATE OF z
), stale AS (
    INSERT INTO stale_messages (learner_id, bot_id, message_id, reason)
    SELECT learner_id, CASE WHEN is_newest THEN bot_id ELSE new_bot_id END,
           CASE WHEN is_newest THEN message_id ELSE new_id END, CASE WHEN is_answered THEN 'answered' ELSE 'moved' END
    FROM locked WHERE message_id IS NOT NULL AND (message_id, bot_id) <> (new_id, new_bot_id)
    ON CONFLICT DO NOTHING
)
UPDATE quizzes z
SET state = CASE WHEN z.state IN ('pending', 'sending') THEN 'sent' ELSE z.state END,
    expires_at = CASE WHEN z.sent_at IS NULL THEN now() + (z.expires_at - z.created_at) ELSE z.expires_at END,
    local_day = coalesce((SELECT today FROM free WHERE free.id = z.id), z.local_day),
    message_id = CASE WHEN locked.is_newest THEN locked.new_id ELSE z.message_id END,
    message_bot_id = CASE WHEN locked.is_newest THEN locked.new_bot_id ELSE z.message_bot_id END,
    traceparent = coalesce(locked.traceparent, z.traceparent),
    sent_at = now(),
    touched_at = now(),
    failure = NULL
FROM locked
WHERE z.id = locked.id;

-- name: mark_send_failed
-- The quiz could not be sent: for now (it waits again) or for good.
UPDATE quizzes SET state = CASE WHEN $3 THEN 'failed' ELSE 'pending' END, failure = $2, touched_at = now()
WHERE id = $1 AND state IN ('pending', 'sending');

-- name: return_quizzes
-- Their bot is refused, which is nothing about them: they wait as if their sending had not begun.
UPDATE quizzes
SET state = 'pending', attempts = CASE WHEN state = 'sending' THEN greatest(attempts - 1, 0) ELSE attempts END,
    failure = $2, touched_at = now()
WHERE id = ANY($1::bigint[]) AND state = $3;

-- name: withdraw_quizzes
-- A run was cancelled before it sent these. One that was never handed to Telegram goes, as if it had not been made: its
-- learner is due again. One whose sending was tried may be in the chat all the same, and is given up. Learners are locked
-- before quizzes, as grading does, and each in one order, so that none waits in a circle.
WITH waiting AS (
    SELECT l.id, l.level FROM learners l
    WHERE l.id IN (SELECT learner_id FROM quizzes WHERE id = ANY($1::bigint[])) ORDER BY l.id FOR NO KEY UPDATE
), unsent AS (
    SELECT z.id, z.attempts > 0 OR z.sent_at IS NOT NULL AS was_tried FROM quizzes z
    WHERE z.id = ANY($1::bigint[]) AND z.state = 'pending' AND (SELECT count(*) FROM waiting) >= 0
    ORDER BY z.id FOR UPDATE
), given_up AS (
    UPDATE quizzes z SET state = 'failed', failure = $2, touched_at = now()
    FROM unsent WHERE z.id = unsent.id AND unsent.was_tried
    RETURNING z.id
), gone AS (
    DELETE FROM quizzes z USING unsent, waiting
    WHERE z.id = unsent.id AND NOT unsent.was_tried AND waiting.id = z.learner_id
    RETURNING z.id, z.learner_id, z.question_id, z.kind, z.local_day, waiting.level
), due AS (
    UPDATE learners l
    SET next_daily_at = least(l.next_daily_at, (gone.local_day + l.daily_at) AT TIME ZONE known_zone(l.timezone))
    FROM gone WHERE l.id = gone.learner_id AND gone.kind = 'daily'
), unseen AS (
    UPDATE question_exposure e SET learners = greatest(e.learners - taken.number, 0)
    FROM (SELECT gone.question_id, gone.level, count(*) AS number FROM gone
          WHERE NOT EXISTS (SELECT FROM quizzes o
                            WHERE o.learner_id = gone.learner_id AND o.question_id = gone.question_id AND o.id <> gone.id)
          GROUP BY gone.question_id, gone.level) AS taken
    WHERE e.question_id = taken.question_id AND e.level = taken.level
)
SELECT id FROM given_up UNION ALL SELECT id FROM gone;

-- name: find_stalled_quizzes
-- Quizzes of some bots' learners or of all whose sending began or was due a while ago and that nobody finished, those
-- that wait longest first; each try waits twice as long as the one before, up to sixteen times. Each state is read in
-- the order of its index and no further than needed: past those whose last try failed in these sixteen minutes, and,
-- where bots are chosen among, past those of the others.
SELECT found.id, l.bot_id
FROM (VALUES ('pending'), ('sending')) AS unfinished (state) CROSS JOIN LATERAL (
    SELECT z.id, z.learner_id, z.touched_at FROM quizzes z
    WHERE z.state = unfinished.state AND z.state IN ('pending', 'sending')  -- the latter names the index
      AND CASE WHEN z.sent_at IS NULL THEN z.created_at > now() - interval '7 days' ELSE z.expires_at > now() END
      AND z.touched_at < now() - $1::interval
      AND z.touched_at < now() - $1::interval * power(2, least(greatest(z.attempts - 1, 0), 4))
      AND ($3::bigint[] IS NULL OR (SELECT l.bot_id FROM learners l WHERE l.id = z.learner_id) = ANY($3))
    ORDER BY z.touched_at LIMIT $2
) AS found
JOIN learners l ON l.id = found.learner_id
ORDER BY found.touched_at LIMIT $2;

-- name: expire_quizzes
-- Close quizzes that nobody answered in time. One that was never sent waits for that, but no longer than seven days: its
-- bot may have left the service.
-- One that is being answered just now is left to the next time, so that none waits in a circle.
UPDATE quizzes SET state = 'expired', touched_at = now()
WHERE id IN (
    SELECT id FROM quizzes
    WHERE state IN ('pending', 'sending', 'sent')
      AND CASE WHEN sent_at IS NULL THEN created_at <= now() - interval '7 days' ELSE expires_at <= now() END
    FOR UPDATE SKIP LOCKED
);

-- name: record_taps
-- The first tap on a quiz counts: it is taken here, once, whatever else is tapped; the quizzes whose answer was taken come
-- back. Taps are given in their order. One on a quiz whose sending was given up shows that a copy arrived all the same;
-- one that arrived in time counts, though the quiz was closed while it waited. The newest copy will show the feedback,
-- whichever was tapped, since an edit that closes an older one may be under way: of one bot's, that with the higher number,
-- else that of the learner's bot. The other copy is stale.
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::timestamptz[], $5::bigint[], $6::bigint[])
        WITH ORDINALITY AS tap (quiz_id, learner_id, place, at, message_id, bot_id, number)
), unanswered AS (  -- locked, since others may take an answer to the same quiz; in one order, so that none waits in a circle
    SELECT z.id, z.learner_id, z.state, z.expires_at, z.sent_at, z.message_id, z.message_bot_id, l.bot_id AS home_bot_id
    FROM quizzes z JOIN learners l ON l.id = z.learner_id
    WHERE z.id = ANY($1) AND z.state IN ('pending', 'sending', 'sent', 'failed', 'expired')
    ORDER BY z.id FOR UPDATE OF z
), counted AS (
    SELECT DISTINCT ON (z.id) g.*, z.message_id AS known_id, coalesce(z.message_bot_id, g.bot_id) AS known_bot_id,
           g.message_id IS NOT NULL AND (z.message_id IS NULL OR CASE
               WHEN coalesce(z.message_bot_id, g.bot_id) = g.bot_id THEN g.message_id >= z.message_id
               ELSE g.bot_id = z.home_bot_id END) AS is_newest
    FROM given g JOIN unanswered z ON z.id = g.quiz_id AND z.learner_id = g.learner_id
    WHERE z.expires_at > g.at OR (z.state IN ('pending', 'sending') AND z.sent_at IS NULL)
    ORDER BY z.id, g.number
), shown AS (
    DELETE FROM stale_messages s USING counted c
    WHERE s.learner_id = c.learner_id
      AND (s.bot_id, s.message_id) = (CASE WHEN c.is_newest THEN c.bot_id ELSE c.known_bot_id END,
                                      CASE WHEN c.is_newest THEN c.message_id ELSE c.known_id END)
), left_behind AS (
    INSERT INTO stale_messages (learner_id, bot_id, message_id, reason)
    SELECT learner_id, CASE WHEN is_newest THEN known_bot_id ELSE bot_id END,
           CASE WHEN is_newest THEN known_id ELSE message_id END, CASE WHEN is_newest THEN 'answered' ELSE 'moved' END
    FROM counted
    WHERE message_id IS NOT NULL AND known_id IS NOT NULL AND (known_id, known_bot_id) <> (message_id, bot_id)
    ON CONFLICT DO NOTHING
)
UPDATE quizzes z
SET state = 'answered', chosen = coalesce(z.option_order[c.place + 1], c.place),  -- "I don't know" has no option
    answered_at = c.at, touched_at = now(),
    message_id = CASE WHEN c.is_newest THEN c.message_id ELSE z.message_id END,
    message_bot_id = CASE WHEN c.is_newest THEN c.bot_id ELSE z.message_bot_id END,
    sent_at = coalesce(z.sent_at, now())
FROM counted c
WHERE z.id = c.quiz_id
RETURNING z.id;

-- name: close_other_topics
-- These learners ask for a question after they chose topics: what is open on others is closed, and its message is stale.
WITH closed AS (
    UPDATE quizzes z SET state = 'expired', expires_at = now(), touched_at = now()
    FROM learners l, questions q
    WHERE l.id = ANY($1::bigint[]) AND z.learner_id = l.id AND z.state = 'sent' AND q.id = z.question_id
      AND l.topics <> '{}' AND q.topic <> ALL(l.topics)
    RETURNING z.learner_id, coalesce(z.message_bot_id, l.bot_id) AS bot_id, z.message_id
)
INSERT INTO stale_messages (learner_id, bot_id, message_id, reason)
SELECT learner_id, bot_id, message_id, 'topics' FROM closed WHERE message_id IS NOT NULL
ON CONFLICT DO NOTHING;

-- name: claim_stale_messages
-- Take messages that are to be closed, of some learners or all and of some bots or any: for a minute nobody else does, and
-- then what could not be closed is tried again.
WITH claimable AS (
    SELECT learner_id, bot_id, message_id FROM stale_messages
    WHERE claimed_until <= now() AND ($1::bigint[] IS NULL OR learner_id = ANY($1))
      AND ($2::bigint[] IS NULL OR bot_id = ANY($2))
    ORDER BY claimed_until LIMIT $3
    FOR UPDATE SKIP LOCKED
)
UPDATE stale_messages s SET claimed_until = now() + interval '1 minute'
FROM claimable c
WHERE s.learner_id = c.learner_id AND s.bot_id = c.bot_id AND s.message_id = c.message_id
RETURNING s.*, (SELECT l.bot_id FROM learners l WHERE l.id = s.learner_id) AS home_bot_id;

-- name: delete_stale_message
-- A message is closed, or never can be. One that is none any more, since a tap in time came late, shows its feedback again.
WITH closed AS (
    DELETE FROM stale_messages WHERE learner_id = $1 AND bot_id = $2 AND message_id = $3 RETURNING message_id
)
UPDATE quizzes SET feedback_at = NULL
WHERE learner_id = $1 AND message_bot_id = $2 AND message_id = $3 AND state = 'graded' AND NOT EXISTS (SELECT FROM closed);

-- name: delete_old_stale_messages
-- Give up closing what could not be closed for a week: its bot is refused for good, or gone.
DELETE FROM stale_messages WHERE since < now() - interval '7 days';

-- name: find_ungraded_quizzes
-- Answers that wait to be graded for longer than grading takes.
SELECT id FROM quizzes WHERE state = 'answered' AND touched_at < now() - $1::interval ORDER BY id LIMIT $2;

-- name: find_missing_feedback
-- Graded quizzes whose feedback was not sent, of some bots or any.
SELECT z.id FROM quizzes z
WHERE z.state = 'graded' AND z.feedback_at IS NULL AND z.graded_at < now() - $1::interval
  AND ($3::bigint[] IS NULL OR
       coalesce(z.message_bot_id, (SELECT l.bot_id FROM learners l WHERE l.id = z.learner_id)) = ANY($3))
ORDER BY z.graded_at LIMIT $2;

-- name: persist_answer
-- One answer, whole or not at all: the learner moves on from the version that was read, the quiz is graded, the answer
-- kept, the item rated, the review planned. Nothing comes back when the learner moved meanwhile or the quiz is graded
-- already. A rating moves by a step, since others may have moved it since it was read.
WITH given AS (
    SELECT * FROM jsonb_to_record($1::jsonb) AS g (
        quiz_id bigint, learner_id bigint, version integer, correct boolean, local_day date, last_day date,
        level_before smallint, level_after smallint, points_before smallint, points_after smallint,
        run_before integer, run_after integer, placement_left smallint, was_placed boolean,
        streak_before integer, streak_after integer, freezes_before smallint, freezes_after smallint,
        rated boolean, success float8, ability_before float8, ability_variance_before float8, ability_after float8,
        ability_variance_after float8, difficulty float8, difficulty_variance float8, difficulty_after float8,
        difficulty_variance_after float8, level_difficulties float8[], level_rules smallint, stability float8,
        memory_difficulty float8, reviewed_at timestamptz, due_at timestamptz)
), moved AS (
    UPDATE learners l
    SET level = g.level_after, level_progress = g.points_after, run = g.run_after, placement_left = g.placement_left,
        ability = g.ability_after, ability_variance = g.ability_variance_after, streak_days = g.streak_after,
        best_streak = greatest(l.best_streak, g.streak_after), freezes = g.freezes_after, last_answer_day = g.last_day,
        last_answer_at = greatest(l.last_answer_at, z.answered_at), version = l.version + 1
    FROM given g JOIN quizzes z ON z.id = g.quiz_id AND z.state = 'answered'
    WHERE l.id = g.learner_id AND l.version = g.version
    RETURNING l.id
), graded AS (
    UPDATE quizzes z SET state = 'graded', graded_at = now(), touched_at = now()
    FROM given g
    WHERE z.id = g.quiz_id AND z.state = 'answered' AND EXISTS (SELECT FROM moved)
    RETURNING z.id, z.learner_id, z.question_id, z.chosen, z.answered_at
), kept AS (
    INSERT INTO answers (quiz_id, learner_id, question_id, topic, correct, chosen, local_day, level_before, level_after,
                         points_before, points_after, run_before, run_after, placement_left, was_placed, streak_before,
                         streak_after, freezes_before, freezes_after, rated, success, ability_before,
                         ability_variance_before, ability_after, ability_variance_after, difficulty, difficulty_variance,
                         level_difficulties, level_rules, answered_at)
    SELECT a.id, a.learner_id, a.question_id, q.topic, g.correct, a.chosen, g.local_day, g.level_before, g.level_after,
           g.points_before, g.points_after, g.run_before, g.run_after, g.placement_left, g.was_placed, g.streak_before,
           g.streak_after, g.freezes_before, g.freezes_after, g.rated, g.success, g.ability_before,
           g.ability_variance_before, g.ability_after, g.ability_variance_after, g.difficulty, g.difficulty_variance,
           g.level_difficulties, g.level_rules, a.answered_at
    FROM graded a JOIN questions q ON q.id = a.question_id CROSS JOIN given g
    RETURNING quiz_id
), remembered AS (
    INSERT INTO reviews (learner_id, item, question_id, stability, difficulty, reviewed_at, due_at)
    SELECT a.learner_id, q.item, a.question_id, g.stability, g.memory_difficulty, g.reviewed_at, g.due_at
    FROM graded a JOIN questions q ON q.id = a.question_id CROSS JOIN given g
    WHERE g.stability IS NOT NULL
    ON CONFLICT (learner_id, item) DO UPDATE
    SET question_id = excluded.question_id, stability = excluded.stability, difficulty = excluded.difficulty,
        reviewed_at = excluded.reviewed_at, due_at = excluded.due_at
), rated AS (
    INSERT INTO item_ratings (item, difficulty, variance, answers)
    SELECT q.item, g.difficulty_after, g.difficulty_variance_after, 1
    FROM graded a JOIN questions q ON q.id = a.question_id CROSS JOIN given g
    WHERE g.rated
    ON CONFLICT (item) DO UPDATE
    SET difficulty = item_ratings.difficulty + (SELECT g.difficulty_after - g.difficulty FROM given g),
        variance = item_ratings.variance * (SELECT g.difficulty_variance_after / g.difficulty_variance FROM given g),
        answers = item_ratings.answers + 1
)
SELECT quiz_id FROM kept;

-- name: get_grades
-- What answers changed, whether each is its day's first, what day it is on its learner's clock, and when their next daily
-- quiz is to come. One that is due and waits, as in a pause, may come at any time, so nothing is said of it.
SELECT a.*, (now() AT TIME ZONE known_zone(l.timezone))::date AS today,
       CASE WHEN l.daily_enabled AND l.next_daily_at > now()
                 AND NOT EXISTS (SELECT FROM active_pauses p WHERE p.bot_id IN (0, l.bot_id))
            THEN l.next_daily_at AT TIME ZONE known_zone(l.timezone) END AS next_daily_at,
       NOT EXISTS (
           SELECT FROM answers e
           WHERE e.learner_id = a.learner_id AND e.local_day = a.local_day
             AND e.answered_at BETWEEN a.answered_at - interval '2 days' AND a.answered_at
             AND (e.answered_at, e.quiz_id) < (a.answered_at, a.quiz_id)) AS opens_day
FROM answers a JOIN learners l ON l.id = a.learner_id
WHERE a.quiz_id = ANY($1::bigint[]) ORDER BY a.quiz_id;

-- name: mark_feedback_sent
-- The learner has the feedback, or never will.
UPDATE quizzes SET feedback_at = now() WHERE id = ANY($1::bigint[]);

-- ================================================================ adaptation

-- name: list_candidates
-- Every question of some sources that can be asked: how hard it has proved to be, or is by its level if nobody answered
-- it, and how many learners of each level were shown it.
SELECT q.id, q.topic, q.level, coalesce(r.difficulty, prior.difficulty) AS difficulty,
       ARRAY[coalesce(e.one, 0), coalesce(e.two, 0), coalesce(e.three, 0), coalesce(e.four, 0)] AS shown
FROM questions q
JOIN unnest($2::smallint[], $3::float8[]) AS prior (level, difficulty) ON prior.level = q.level
LEFT JOIN item_ratings r ON r.item = q.item
LEFT JOIN (
    SELECT question_id, sum(learners) FILTER (WHERE level = 1) AS one, sum(learners) FILTER (WHERE level = 2) AS two,
           sum(learners) FILTER (WHERE level = 3) AS three, sum(learners) FILTER (WHERE level = 4) AS four
    FROM question_exposure GROUP BY question_id
) AS e ON e.question_id = q.id
WHERE q.state = 'active' AND q.source = ANY($1::text[])
ORDER BY q.id;

-- name: count_learners_asked
-- How many learners were ever asked anything while they stood on a level.
SELECT level, learners FROM levels;

-- name: get_level_difficulties
-- The mean difficulty of each level's questions; one that nobody answered yet is as hard as its author said.
SELECT q.level, avg(coalesce(r.difficulty, prior.difficulty)) AS difficulty
FROM questions q
JOIN unnest($1::smallint[], $2::float8[]) AS prior (level, difficulty) ON prior.level = q.level
LEFT JOIN item_ratings r ON r.item = q.item
WHERE q.state = 'active' AND q.source <> 'computed'
GROUP BY q.level;

-- name: get_item_ratings
-- How hard some items have proved to be.
SELECT item, difficulty AS mean, variance FROM item_ratings WHERE item = ANY($1::text[]);

-- name: list_seen_questions
-- Which questions learners have had.
SELECT learner_id, array_agg(DISTINCT question_id) AS question_ids
FROM quizzes WHERE learner_id = ANY($1::bigint[]) GROUP BY learner_id;

-- name: get_questions_by_id
-- Questions that can be asked, by their ids.
SELECT id AS question_id, key, topic, level, source, prompt, code, language, options, correct_index,
       explanation, reference_title, reference_url
FROM questions WHERE id = ANY($1::bigint[]) AND state = 'active';

-- name: get_grading_facts
-- What grading answers needs to know beyond the quizzes and the learners' states.
SELECT z.id AS quiz_id, q.item, q.level, r.difficulty, r.variance, m.stability, m.difficulty AS memory_difficulty,
       m.reviewed_at, m.due_at,
       EXISTS (SELECT FROM quizzes e WHERE e.learner_id = z.learner_id AND e.question_id = z.question_id
               AND e.id <> z.id AND e.state = 'graded') AS answered_before
FROM quizzes z JOIN questions q ON q.id = z.question_id
LEFT JOIN item_ratings r ON r.item = q.item
LEFT JOIN reviews m ON m.learner_id = z.learner_id AND m.item = q.item
WHERE z.id = ANY($1::bigint[]);

-- name: find_due_reviews
-- For each learner the missed question that has been due for longest: of their topics, in good standing, not open in
-- their chat, and, unless they asked for it, only after so many other quizzes.
SELECT DISTINCT ON (m.learner_id) m.learner_id, q.template,
       coalesce((SELECT max(had.seed) + 1 FROM quizzes z JOIN questions had ON had.id = z.question_id
                 WHERE z.learner_id = m.learner_id AND had.template = q.template), 0) AS next_seed,
       q.id AS question_id, q.key, q.topic, q.level, q.source, q.prompt, q.code, q.language, q.options,
       q.correct_index, q.explanation, q.reference_title, q.reference_url
FROM reviews m
JOIN learners l ON l.id = m.learner_id
JOIN questions q ON q.id = m.question_id AND q.state = 'active'
WHERE m.learner_id = ANY($1::bigint[]) AND m.due_at <= $2 AND ($3 OR l.quizzes_since_review >= $4)
  AND (l.topics = '{}' OR q.topic = ANY(l.topics))
  AND NOT EXISTS (SELECT FROM questions doubted WHERE doubted.template = q.template AND doubted.state = 'quarantined')
  AND NOT EXISTS (SELECT FROM quizzes z JOIN questions open ON open.id = z.question_id
                  WHERE z.learner_id = m.learner_id AND open.item = m.item
                    AND z.state IN ('pending', 'sending', 'sent', 'answered')
                    AND (z.sent_at IS NULL OR z.expires_at > now()))
ORDER BY m.learner_id, m.due_at;

-- name: count_reviews
-- How many missed questions wait for a learner, and when the next one that is not due yet will be.
SELECT count(*) FILTER (WHERE m.due_at <= $2) AS due, count(*) FILTER (WHERE m.due_at > $2) AS later,
       min(m.due_at) FILTER (WHERE m.due_at > $2) AS next_at
FROM reviews m
JOIN learners l ON l.id = m.learner_id
JOIN questions q ON q.id = m.question_id AND q.state = 'active'
WHERE m.learner_id = $1 AND (l.topics = '{}' OR q.topic = ANY(l.topics))
  AND NOT EXISTS (SELECT FROM questions doubted WHERE doubted.template = q.template AND doubted.state = 'quarantined');

-- ================================================================ statistics, export

-- name: list_recent_answers
-- A learner's latest answers, the oldest first.
SELECT local_day AS day, correct, level_after AS level, streak_after AS streak
FROM (SELECT * FROM answers WHERE learner_id = $1 ORDER BY answered_at DESC LIMIT $2) AS latest ORDER BY answered_at;

-- name: list_topic_scores
-- Answers of learners by topic, those with the most first.
SELECT learner_id, topic, count(*) AS answered, count(*) FILTER (WHERE correct) AS correct
FROM answers WHERE learner_id = ANY($1::bigint[]) GROUP BY learner_id, topic ORDER BY learner_id, answered DESC, topic;

-- name: get_best_streak
-- The longest run of days that a learner ever had.
SELECT best_streak FROM learners WHERE id = $1;

-- name: export_learner
-- Everything that is stored about a learner, as one JSON document.
SELECT jsonb_build_object(
    'learner', to_jsonb(l),
    'quizzes', coalesce((SELECT jsonb_agg(to_jsonb(z) ORDER BY z.id) FROM quizzes z WHERE z.learner_id = l.id), '[]'),
    'answers', coalesce(
        (SELECT jsonb_agg(to_jsonb(a) || jsonb_build_object(
                    'question', q.prompt, 'code', q.code, 'answer', coalesce(q.options -> a.chosen ->> 'text', 'I don''t know'),
                    'right_answer', q.options -> q.correct_index ->> 'text') ORDER BY a.quiz_id)
         FROM answers a JOIN questions q ON q.id = a.question_id WHERE a.learner_id = l.id), '[]'
    ),
    'stale_messages', coalesce(
        (SELECT jsonb_agg(to_jsonb(s) ORDER BY s.since) FROM stale_messages s WHERE s.learner_id = l.id), '[]'
    ),
    'reviews', coalesce((SELECT jsonb_agg(to_jsonb(m) ORDER BY m.due_at) FROM reviews m WHERE m.learner_id = l.id), '[]'),
    'reports', coalesce(
        (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.reported_at) FROM question_reports r WHERE r.learner_id = l.id), '[]'
    ),
    'announcements', coalesce(
        (SELECT jsonb_agg(to_jsonb(a) || jsonb_build_object('text', n.text) ORDER BY n.id)
         FROM announced a JOIN announcements n ON n.id = a.announcement_id WHERE a.learner_id = l.id), '[]'
    ),
    'updates', coalesce((SELECT jsonb_agg(to_jsonb(u) ORDER BY u.id) FROM updates u WHERE u.learner_id = l.id), '[]')
) AS document
FROM learners l WHERE l.id = $1;

-- ================================================================ what operators do

-- name: pause
-- Pause a bot, or all of them (0); one that is paused already gets another reason and end.
INSERT INTO pauses (bot_id, reason, ends_at) VALUES ($1, $2, $3)
ON CONFLICT (bot_id) DO UPDATE
SET reason = excluded.reason, ends_at = excluded.ends_at,
    begun_at = CASE WHEN pauses.ends_at <= now() THEN now() ELSE pauses.begun_at END;

-- name: resume
-- End the pause of a bot, or that of all of them; the row stays, so that nothing counts as overdue at once.
UPDATE pauses SET ends_at = now() WHERE bot_id = $1 AND (ends_at IS NULL OR ends_at > now());

-- name: list_pauses
-- The pauses that hold now, that of all bots first.
SELECT * FROM active_pauses ORDER BY bot_id;

-- name: is_pause_news
-- Whether a learner's bot is paused, and they have not been told since it is.
SELECT EXISTS (
    SELECT FROM learners l JOIN active_pauses p ON p.bot_id IN (0, l.bot_id)
    WHERE l.id = $1 AND (l.told_of_pause_at IS NULL OR l.told_of_pause_at < p.begun_at)
);

-- name: note_told_of_pause
-- A learner was told that quizzes are paused.
UPDATE learners SET told_of_pause_at = now() WHERE id = $1;

-- name: get_activity
-- How many answers a learner gave, how many were right, and when they last wrote or tapped, as far as is known.
SELECT count(*) AS answers, count(*) FILTER (WHERE correct) AS correct,
       greatest(max(answered_at), (SELECT max(received_at) FROM updates WHERE learner_id = $1)) AS last_at
FROM answers WHERE learner_id = $1;

-- name: set_announcements
-- A learner switches announcements off or on.
UPDATE learners SET announcements = $2 WHERE id = $1;

-- name: add_announcement
-- Keep an announcement.
INSERT INTO announcements (text) VALUES ($1)
ON CONFLICT (md5(text)) DO UPDATE SET begun_at = now()
RETURNING id;

-- name: find_announcement
-- The announcement with a text.
SELECT id FROM announcements WHERE md5(text) = md5($1);

-- name: get_announcement
-- The text of an announcement.
SELECT text FROM announcements WHERE id = $1;

-- name: count_recipients
-- How many learners an announcement is still to be sent to; any that is new if it has no id yet.
SELECT count(*) FROM learners l
WHERE l.daily_enabled AND l.announcements AND l.blocked_at IS NULL AND l.bot_id = ANY($2::bigint[])
  AND (l.topics = '{}' OR $3::text[] = '{}' OR l.topics && $3) AND ($4::smallint[] = '{}' OR l.level = ANY($4))
  AND NOT EXISTS (SELECT FROM announced a WHERE a.announcement_id = $1 AND a.learner_id = l.id);

-- name: begin_announcing
-- Take the next of these learners behind one, unless another process has or their bot is paused.
INSERT INTO announced (announcement_id, learner_id)
SELECT $1, l.id FROM learners l
WHERE l.daily_enabled AND l.announcements AND l.blocked_at IS NULL AND l.bot_id = ANY($2::bigint[])
  AND (l.topics = '{}' OR $3::text[] = '{}' OR l.topics && $3) AND ($4::smallint[] = '{}' OR l.level = ANY($4))
  AND NOT EXISTS (SELECT FROM announced a WHERE a.announcement_id = $1 AND a.learner_id = l.id)
  AND NOT EXISTS (SELECT FROM active_pauses p WHERE p.bot_id IN (0, l.bot_id))
  AND l.id > $5
ORDER BY l.id LIMIT $6
ON CONFLICT DO NOTHING
RETURNING learner_id, (SELECT l.bot_id FROM learners l WHERE l.id = learner_id) AS bot_id;

-- name: end_announcing
-- What became of some: sent, refused for good, or not known; those that certainly did not go out wait again.
WITH given AS (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS ended (learner_id bigint, state text, failure text)
), waiting AS (
    DELETE FROM announced a USING given g
    WHERE a.announcement_id = $1 AND a.learner_id = g.learner_id AND g.state = 'waiting'
)
UPDATE announced a SET state = g.state, failure = g.failure, touched_at = now()
FROM given g
WHERE a.announcement_id = $1 AND a.learner_id = g.learner_id AND g.state <> 'waiting';

-- name: count_announced
-- What became of an announcement so far, by outcome and reason.
SELECT state, coalesce(failure, '') AS failure, count(*) AS learners FROM announced WHERE announcement_id = $1
GROUP BY state, failure ORDER BY state, learners DESC;

-- name: delete_old_announcements
-- Forget announcements of long ago, and who was sent them.
DELETE FROM announcements WHERE begun_at < now() - interval '90 days';

-- ================================================================ health

-- name: ping
-- Whether the database answers.
SELECT true;

-- name: record_heartbeat
-- A process says that it is alive, and in which version.
INSERT INTO heartbeats (name, role, version) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET seen_at = now(), version = $3;

-- name: list_heartbeats
-- The processes that gave a sign of life within a day, the latest first.
SELECT name, role, version, extract(epoch FROM now() - seen_at)::float8 AS age_seconds
FROM heartbeats WHERE seen_at > now() - interval '1 day' ORDER BY seen_at DESC LIMIT 1000;

-- name: delete_old_heartbeats
-- Forget processes that are long gone.
DELETE FROM heartbeats WHERE seen_at < now() - interval '1 day';

-- name: begin_distribution
-- A distribution begins. One that runs but has been silent for a minute has lost its process; if not, it will end all the
-- same and say how.
WITH crashed AS (
    UPDATE distributions SET state = 'crashed', reason = 'its process ended before it', ended_at = now()
    WHERE state = 'running' AND touched_at < now() - interval '1 minute'
)
INSERT INTO distributions (due) VALUES ($1) RETURNING id;

-- name: touch_distribution
-- A distribution is still under way.
UPDATE distributions SET touched_at = now() WHERE id = $1;

-- name: end_distribution
-- How a distribution ended.
UPDATE distributions
SET state = $2, reason = $3, sent = $4, skipped = $5, failed = $6, unreachable = $7, refused = $8, ended_at = now()
WHERE id = $1;

-- name: delete_old_distributions
-- Forget distributions of long ago.
DELETE FROM distributions WHERE begun_at < now() - interval '90 days';

-- name: list_latest_distributions
-- The distribution that began last, and the last that ended and had anybody to serve; they may be the same.
(SELECT * FROM distributions ORDER BY id DESC LIMIT 1)
UNION
(SELECT * FROM distributions WHERE due > 0 AND ended_at IS NOT NULL ORDER BY id DESC LIMIT 1)
ORDER BY id DESC;

-- name: sum_distributions_today
-- The distributions since midnight UTC together.
SELECT count(*) AS runs, coalesce(sum(due), 0) AS due, coalesce(sum(sent), 0) AS sent,
       coalesce(sum(skipped), 0) AS skipped, coalesce(sum(failed), 0) AS failed,
       coalesce(sum(unreachable), 0) AS unreachable, coalesce(sum(refused), 0) AS refused
FROM distributions WHERE begun_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';

-- name: list_daily_backlogs
-- For each of some bots, how many daily quizzes are due and not sent, and how old the oldest is. Learners who are due are
-- read from an index, quizzes in the order in which they were touched; of each kind no more than a limit. Nothing grows
-- old during a pause.
WITH bots AS (
    SELECT given.bot_id,
           EXISTS (SELECT FROM active_pauses p WHERE p.bot_id IN (0, given.bot_id)) AS is_paused,
           (SELECT max(p.ends_at) FROM pauses p WHERE p.bot_id IN (0, given.bot_id)) AS resumed_at
    FROM unnest($1::bigint[]) AS given (bot_id)
), unsent AS (
    SELECT bots.bot_id, due.since
    FROM bots CROSS JOIN LATERAL (
        SELECT l.next_daily_at AS since FROM learners l
        WHERE l.bot_id = bots.bot_id AND l.daily_enabled AND l.blocked_at IS NULL AND l.next_daily_at <= now()
        ORDER BY l.next_daily_at LIMIT $2
    ) AS due
    UNION ALL
    SELECT (SELECT l.bot_id FROM learners l WHERE l.id = waiting.learner_id), waiting.created_at
    FROM (VALUES ('pending'), ('sending')) AS unfinished (state) CROSS JOIN LATERAL (
        SELECT z.learner_id, z.created_at FROM quizzes z
        WHERE z.state = unfinished.state AND z.state IN ('pending', 'sending')  -- the latter names the index
          AND z.kind = 'daily' AND z.sent_at IS NULL
        ORDER BY z.touched_at LIMIT $2
    ) AS waiting
)
SELECT bots.bot_id, count(unsent.since) AS unsent,
       coalesce(extract(epoch FROM now() - min(greatest(unsent.since, bots.resumed_at))
                           FILTER (WHERE unsent.since IS NOT NULL AND NOT bots.is_paused)), 0)::float8 AS oldest_seconds
FROM bots LEFT JOIN unsent USING (bot_id) GROUP BY bots.bot_id ORDER BY bots.bot_id;

-- name: count_failed_today
-- How many quizzes were given up since midnight UTC, counted no further than matters; not those of learners who blocked
-- the bot, which their failure begins with, or opted out.
SELECT count(*) FROM (
    SELECT FROM quizzes
    WHERE state = 'failed' AND touched_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
      AND NOT starts_with(coalesce(failure, ''), $1)
      AND coalesce(failure, '') NOT IN ('blocked the bot', 'opted out of daily quizzes')
    LIMIT $2
) AS failed;

-- name: begin_backup
-- A backup begins. One that runs still has lost its process: two at a time do not run in one folder. If not, it will end
-- all the same and say how.
WITH lost AS (
    UPDATE backups SET state = 'failed', reason = 'its process ended before it', ended_at = now() WHERE state = 'running'
), old AS (
    DELETE FROM backups WHERE begun_at < now() - interval '400 days'
)
INSERT INTO backups (file) VALUES ($1) RETURNING id;

-- name: end_backup
-- How a backup ended.
UPDATE backups SET state = $2, reason = $3, size_bytes = $4, differences = $5, ended_at = now() WHERE id = $1;

-- name: list_latest_backups
-- The backup that ended last, and the last that was verified; they may be the same.
(SELECT * FROM backups WHERE ended_at IS NOT NULL ORDER BY id DESC LIMIT 1)
UNION
(SELECT * FROM backups WHERE state = 'verified' ORDER BY id DESC LIMIT 1)
ORDER BY id DESC;

-- name: get_backup_age
-- Seconds since the last verified backup was begun or, if there is none, since the database was made.
SELECT extract(epoch FROM now() - coalesce(
    (SELECT max(begun_at) FROM backups WHERE state = 'verified'), (SELECT min(applied_at) FROM schema_migrations)
))::float8;

-- name: compose_table_digests
-- A statement that counts the rows of each table and adds up what they hold, in whatever order.
SELECT string_agg(format(
    'SELECT %L AS name, count(*) AS rows, '
    'coalesce(sum((''x'' || left(md5(t::text), 16))::bit(64)::bigint::numeric), 0) AS digest FROM %I.%I AS t',
    n.nspname || '.' || c.relname, n.nspname, c.relname
), ' UNION ALL ' ORDER BY n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_');

-- name: export_snapshot
-- Let other connections see what this transaction sees.
SELECT pg_export_snapshot();

-- name: get_schema
-- The schema that tables are made in; where there is none, their names lack it.
SELECT coalesce(current_schema(), 'public');

-- name: is_empty
-- Whether there is no table yet.
SELECT NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_')
);

-- name: describe_database
-- What the server says about itself and about the role of this connection.
SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS size_bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       current_setting('max_connections')::int AS max_connections, current_user::text AS role,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
       has_schema_privilege('public', 'CREATE') AS may_create, now() AS at;

-- name: probe_write
-- Store an update as the webhook does, of no bot and for no worker: whether the database takes rows.
INSERT INTO updates (bot_id, update_id, kind, state) VALUES (0, 0, 'text', 'done');

-- name: remove_probe
-- Take it back, in the same transaction.
DELETE FROM updates WHERE bot_id = 0 AND update_id = 0;

-- name: list_applied_migrations
-- Which migrations the database has had.
SELECT name FROM schema_migrations;

-- name: record_migration
-- A migration was applied.
INSERT INTO schema_migrations (name) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: schema_exists
-- Whether schema.sql was ever applied here.
SELECT to_regclass('public.updates') IS NOT NULL AS present;

-- name: find_unknown_zones
-- Which of these time zones the server does not know.
SELECT zone FROM unnest($1::text[]) AS zone WHERE known_zone(zone) <> zone;

-- name: get_role_and_database
-- The role and the database of this connection.
SELECT current_user::text, current_database()::text;

-- name: lock_schema
-- Only one process at a time prepares the database.
SELECT pg_advisory_xact_lock(7205759403792793);

-- name: limit_lock_wait
-- Wait for a table no longer than this until the transaction ends: whoever wants to use it meanwhile waits behind.
SELECT set_config('lock_timeout', $1, true);
