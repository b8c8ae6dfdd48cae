"""Simulated and recorded learners answer through the adaptation that serves real ones, and through its rivals."""
