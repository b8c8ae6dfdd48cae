"""Hostile input for the webhook, and a judge of what became of it: `make fuzz`."""
