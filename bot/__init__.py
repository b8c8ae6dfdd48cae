"""Telegram, as the bot sees it: texts, keyboards, callback data, transport, handlers."""
