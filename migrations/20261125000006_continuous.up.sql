-- The job that refreshes continuous aggregates: CALL takes no subquery as an argument, so that the first form of it failed.
-- A build of before works on beside it.
CREATE OR REPLACE PROCEDURE analytics.refresh_job(job_id integer, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    streams text[] := ARRAY(SELECT jsonb_array_elements_text(config -> 'streams'));
    late_after interval := make_interval(secs => (config ->> 'late_seconds')::int);
    hours bigint;
    revisions bigint;
BEGIN
    -- One maintenance is at work at a time (see the lock of that number in the service).
    IF NOT pg_try_advisory_lock(x'6d61696e74'::bigint) THEN
        RETURN;
    END IF;
    -- A command that was killed holds its turn no longer, and what it has called may be at work still.
    IF pg_try_advisory_lock(x'72656672657368'::bigint) THEN
        CALL analytics.refresh_continuous(streams, late_after, true, hours, revisions);
        PERFORM pg_advisory_unlock(x'72656672657368'::bigint);
    END IF;
    PERFORM pg_advisory_unlock(x'6d61696e74'::bigint);
END $$;
