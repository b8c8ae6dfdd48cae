"""Telegram: the client and its rate limit, texts, keyboards, conversations."""
