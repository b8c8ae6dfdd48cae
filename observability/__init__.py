"""Metrics, traces, logs without secrets, and tasks that outlive errors."""
