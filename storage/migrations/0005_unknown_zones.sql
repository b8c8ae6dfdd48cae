-- The name of a time zone, or UTC if this server does not know it. Servers read the files of their own system, where old
-- names such as US/Eastern may be missing that another system has.
CREATE OR REPLACE FUNCTION known_zone(zone text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
    PERFORM 'epoch'::timestamptz AT TIME ZONE zone;
    RETURN zone;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN 'UTC';
END
$$;

CREATE OR REPLACE FUNCTION next_local_time(zone text, at time, after timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT min(moment)
    FROM (SELECT (((after AT TIME ZONE known)::date + days) + at) AT TIME ZONE known AS moment
          FROM known_zone(zone) AS known, generate_series(0, 2) AS days) AS candidates
    WHERE moment > after
$$;
