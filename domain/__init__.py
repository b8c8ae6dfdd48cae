"""Ids, models, what buttons mean, errors and settings: what every package talks about."""
