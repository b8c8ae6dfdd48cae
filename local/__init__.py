"""The servers that `make run` starts and stops: Postgres, Valkey, Prefect and the simulator."""
