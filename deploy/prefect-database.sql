-- The Prefect server's own database beside the quiz's; run once, when the Postgres volume is made.
CREATE DATABASE prefect;
