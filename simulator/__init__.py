"""A local Telegram: a Bot API server and a chat page, for developers and tests. The product never imports it."""
