-- A message's number means something to the bot that sent it and to no other.

ALTER TABLE quizzes ADD COLUMN message_bot_id bigint;
