"""The language model's part: what is asked, what is verified, what it costs, and that nobody waits for it."""
