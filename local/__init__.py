"""The embedded defaults for a laptop: Postgres, Valkey, Prefect server and simulator, started and stopped with us."""
