-- Levels follow the ratings. Grades from before, and of workers that still run an earlier release, are by the rules of
-- points: a replay does not work them out again.

ALTER TABLE answers ADD COLUMN level_rules smallint NOT NULL DEFAULT 1;

-- The bar has a column of its own: workers of an earlier release count their points in `points`, to 6 and no further, and
-- would take a bar for a level that is earned.
ALTER TABLE learners ADD COLUMN level_progress smallint NOT NULL DEFAULT 0;
