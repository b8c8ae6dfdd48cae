-- Questions carry what proves them; learners report doubts; what a language model costs is kept.

ALTER TABLE questions DROP CONSTRAINT questions_source_check;
ALTER TABLE questions ADD CONSTRAINT questions_source_check CHECK (source IN ('static', 'imported', 'computed', 'llm'));
ALTER TABLE questions
    ADD COLUMN state_reason text,
    ADD COLUMN form text NOT NULL DEFAULT 'practical' CHECK (form IN ('practical', 'definition')),
    ADD COLUMN check_spec jsonb,
    ADD COLUMN template text,
    ADD COLUMN seed integer;
CREATE INDEX questions_of_template ON questions (template) WHERE template IS NOT NULL;
CREATE INDEX quizzes_of_question ON quizzes (question_id, learner_id);

-- the next start loads the bank's forms and checks
UPDATE questions SET content_hash = '' WHERE source = 'static';

-- written before proofs were asked for
UPDATE questions SET state = 'quarantined', state_reason = 'written before proofs were asked for' WHERE source = 'llm';

CREATE TABLE question_reports (
    question_id bigint NOT NULL REFERENCES questions ON DELETE CASCADE,
    learner_id  bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    reason      text NOT NULL CHECK (reason IN ('wrong', 'unclear', 'outdated')),
    reported_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (question_id, learner_id)
);
CREATE INDEX reports_of_learner ON question_reports (learner_id);

CREATE TABLE generations (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic             text NOT NULL REFERENCES topics,
    level             smallint NOT NULL REFERENCES levels,
    model             text NOT NULL,
    outcome           text NOT NULL DEFAULT 'begun' CHECK (outcome IN ('begun', 'accepted', 'quarantined', 'failed')),
    reason            text,
    question_id       bigint REFERENCES questions ON DELETE SET NULL,
    calls             smallint NOT NULL DEFAULT 0,
    prompt_tokens     integer NOT NULL DEFAULT 0,
    completion_tokens integer NOT NULL DEFAULT 0,
    cost              numeric(12, 6) NOT NULL,
    begun_at          timestamptz NOT NULL DEFAULT now(),
    ended_at          timestamptz
);
CREATE INDEX generations_by_time ON generations (begun_at);
