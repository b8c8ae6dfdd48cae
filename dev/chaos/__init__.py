"""Faults on purpose: each part of a running service fails once, and what that cost is measured."""
