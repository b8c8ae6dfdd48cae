-- What a grade was worked out from and cannot be known afterwards, so that grades can be replayed.

ALTER TABLE answers ADD COLUMN level_difficulties double precision[];
