-- Pauses by operators, and announcements: who was sent which, at most once.

CREATE TABLE pauses (
    bot_id   bigint PRIMARY KEY,
    reason   text,
    begun_at timestamptz NOT NULL DEFAULT now(),
    ends_at  timestamptz
);

CREATE VIEW active_pauses AS SELECT * FROM pauses WHERE ends_at IS NULL OR ends_at > now();

CREATE TABLE announcements (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text     text NOT NULL,
    begun_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX announcements_of_text ON announcements (md5(text));

CREATE TABLE announced (
    announcement_id bigint NOT NULL REFERENCES announcements ON DELETE CASCADE,
    learner_id      bigint NOT NULL REFERENCES learners ON DELETE CASCADE,
    state           text NOT NULL DEFAULT 'sending' CHECK (state IN ('sending', 'sent', 'failed')),
    failure         text,
    touched_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (announcement_id, learner_id)
);

CREATE INDEX announced_of_learner ON announced (learner_id);

ALTER TABLE learners
    ADD COLUMN announcements boolean NOT NULL DEFAULT true,
    ADD COLUMN told_of_pause_at timestamptz;
