-- Run once by the superuser, when the Postgres volume is made: a role and a database each for the quiz and for Prefect.
-- Neither role is a superuser or enters the other's database. The superuser keeps no password: it comes in by
-- `docker compose exec postgres psql -U postgres` alone.
\getenv quiz_password QUIZ_PASSWORD
\getenv prefect_password PREFECT_PASSWORD
CREATE ROLE quiz LOGIN PASSWORD :'quiz_password';
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
CREATE DATABASE quiz OWNER quiz;
CREATE DATABASE prefect OWNER prefect;
REVOKE ALL ON DATABASE postgres, quiz, prefect FROM PUBLIC;
ALTER ROLE CURRENT_USER PASSWORD NULL;
\connect quiz
SET SESSION AUTHORIZATION quiz;
\ir ../schema.sql
