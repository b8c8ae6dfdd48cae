"""The service's SQL: named queries in `queries.sql`, forward migrations beside them, and their loader."""

from sql.loader import load_queries

__all__ = ["load_queries"]
