-- Levels follow the ratings. Grades from before, and of workers that still run an earlier release, are by the rules of
-- points: a replay does not work them out again.

ALTER TABLE answers ADD COLUMN level_rules smallint NOT NULL DEFAULT 1;
