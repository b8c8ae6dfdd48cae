-- Ratings of learners and questions, placement, freezes of the streak, and reviews of what was missed.

ALTER TABLE levels ADD COLUMN learners integer NOT NULL DEFAULT 0;
ALTER TABLE questions ADD COLUMN item text NOT NULL GENERATED ALWAYS AS (coalesce(template, key)) STORED;

CREATE TABLE item_ratings (
    item       text PRIMARY KEY,
    difficulty double precision NOT NULL,
    variance   double precision NOT NULL,
    answers    integer NOT NULL DEFAULT 0
);

CREATE TABLE question_exposure (
    question_id bigint NOT NULL REFERENCES questions ON DELETE CASCADE,
    level       smallint NOT NULL REFERENCES levels,
    learners    integer NOT NULL DEFAULT 0,
    PRIMARY KEY (question_id, level)
);

ALTER TABLE learners
    ADD COLUMN run integer NOT NULL DEFAULT 0,
    ADD COLUMN placement_left smallint NOT NULL DEFAULT 0,
    ADD COLUMN ability double precision NOT NULL DEFAULT 0,
    ADD COLUMN ability_variance double precision NOT NULL DEFAULT 1,
    ADD COLUMN levels_asked integer NOT NULL DEFAULT 0,
    ADD COLUMN quizzes_since_review smallint NOT NULL DEFAULT 0,
    ADD COLUMN freezes smallint NOT NULL DEFAULT 0 CHECK (freezes >= 0),
    ADD COLUMN last_answer_at timestamptz;

-- who has a level by their answers is as able as it takes to be right there three times in four
UPDATE learners
SET ability = (ARRAY[-0.33, 0.46, 1.24, 2.03])[level],
    last_answer_at = (SELECT max(a.answered_at) FROM answers a WHERE a.learner_id = learners.id);

ALTER TABLE quizzes DROP CONSTRAINT quizzes_kind_check;
ALTER TABLE quizzes ADD CONSTRAINT quizzes_kind_check CHECK (kind IN ('daily', 'on_demand', 'review'));
ALTER TABLE quizzes ADD COLUMN is_review boolean NOT NULL DEFAULT false;
DROP INDEX quizzes_one_open;
CREATE UNIQUE INDEX quizzes_one_open ON quizzes (learner_id)
    WHERE kind IN ('on_demand', 'review') AND state IN ('pending', 'sending', 'sent');

ALTER TABLE answers
    ADD COLUMN run_before integer NOT NULL DEFAULT 0,
    ADD COLUMN run_after integer NOT NULL DEFAULT 0,
    ADD COLUMN placement_left smallint NOT NULL DEFAULT 0,
    ADD COLUMN was_placed boolean NOT NULL DEFAULT false,
    ADD COLUMN freezes_before smallint NOT NULL DEFAULT 0,
    ADD COLUMN freezes_after smallint NOT NULL DEFAULT 0,
    ADD COLUMN rated boolean NOT NULL DEFAULT false,
    ADD COLUMN success double precision,
    ADD COLUMN ability_before double precision,
    ADD COLUMN ability_variance_before double precision,
    ADD COLUMN ability_after double precision,
    ADD COLUMN ability_variance_after double precision,
    ADD COLUMN difficulty double precision,
    ADD COLUMN difficulty_variance double precision;
ALTER TABLE answers
    ALTER COLUMN run_before DROP DEFAULT,
    ALTER COLUMN run_after DROP DEFAULT,
    ALTER COLUMN placement_left DROP DEFAULT,
    ALTER COLUMN was_placed DROP DEFAULT,
    ALTER COLUMN freezes_before DROP DEFAULT,
    ALTER COLUMN freezes_after DROP DEFAULT,
    ALTER COLUMN rated DROP DEFAULT;

CREATE TABLE reviews (
    learner_id  bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    item        text NOT NULL,
    question_id bigint NOT NULL REFERENCES questions,
    stability   double precision NOT NULL,
    difficulty  double precision NOT NULL,
    reviewed_at timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    PRIMARY KEY (learner_id, item)
);
CREATE INDEX reviews_due ON reviews (learner_id, due_at);
