-- Old copies of questions are closed, and a question may be answered with "I don't know".

CREATE TABLE stale_messages (
    learner_id bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    bot_id     bigint NOT NULL,
    message_id bigint NOT NULL,
    reason     text NOT NULL CHECK (reason IN ('moved', 'answered', 'topics')),
    since      timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (learner_id, bot_id, message_id)
);

CREATE INDEX stale_messages_claimed ON stale_messages (claimed_until);

-- It only widens, so the stored rows need no look, during which nobody could use the table.
ALTER TABLE quizzes DROP CONSTRAINT quizzes_chosen_check;
ALTER TABLE quizzes ADD CONSTRAINT quizzes_chosen_check CHECK (chosen BETWEEN 0 AND 4) NOT VALID;
