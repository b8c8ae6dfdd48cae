"""Runs untrusted code: Python in Monty, SQL in DuckDB in a process of its own."""
