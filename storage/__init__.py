"""Postgres and Redis: named queries, what runs them, migrations, and the clients of both."""

from storage.loader import load_queries

__all__ = ["load_queries"]
