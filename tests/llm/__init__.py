"""The language model's part: what is asked, what is proved, what it costs, and that nobody waits for it."""
