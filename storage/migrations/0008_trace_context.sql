-- The span in which an update was received, or a quiz sent, as W3C's traceparent; null without tracing.

ALTER TABLE updates ADD COLUMN traceparent text;
ALTER TABLE quizzes ADD COLUMN traceparent text;
