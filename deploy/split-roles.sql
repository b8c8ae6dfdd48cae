-- Run once by the role quiz on a Postgres volume that was made when that role was the superuser and Prefect used it too:
-- the superuser becomes postgres, and quiz and prefect become what deploy/databases.sql makes of them in a new volume.
\getenv quiz_password QUIZ_PASSWORD
\getenv prefect_password PREFECT_PASSWORD
CREATE ROLE renames SUPERUSER LOGIN;  -- nobody can rename themselves
\connect - renames
ALTER ROLE quiz RENAME TO postgres;
\connect - postgres
DROP ROLE renames;
CREATE ROLE quiz LOGIN PASSWORD :'quiz_password';
CREATE ROLE prefect LOGIN PASSWORD :'prefect_password';
ALTER DATABASE quiz OWNER TO quiz;
ALTER DATABASE prefect OWNER TO prefect;
REVOKE ALL ON DATABASE postgres, quiz, prefect FROM PUBLIC;

-- Sequences go with their tables.
SELECT format('ALTER %s OWNER TO quiz', thing) FROM (
    SELECT 'TABLE ' || oid::regclass, oid FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
    UNION ALL
    SELECT 'TYPE ' || oid::regtype, oid FROM pg_type
    WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
    UNION ALL
    SELECT 'ROUTINE ' || oid::regprocedure, oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace
) AS things (thing, oid)
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE objid = things.oid AND deptype = 'e')  -- an extension's stay
\gexec
\connect prefect
SELECT format('ALTER %s OWNER TO prefect', thing) FROM (
    SELECT 'TABLE ' || oid::regclass, oid FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
    UNION ALL
    SELECT 'TYPE ' || oid::regtype, oid FROM pg_type
    WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
    UNION ALL
    SELECT 'ROUTINE ' || oid::regprocedure, oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace
) AS things (thing, oid)
WHERE NOT EXISTS (SELECT FROM pg_depend WHERE objid = things.oid AND deptype = 'e')  -- an extension's stay
\gexec
ALTER ROLE CURRENT_USER PASSWORD NULL;
