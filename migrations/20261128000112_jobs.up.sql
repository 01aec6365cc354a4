-- Beside the background jobs of the database, and by what TimescaleDB documents alone: its catalogue changes between versions.
-- Only adds: a build of before works on beside it.

-- As before, except that the bytes of a chunk are what TimescaleDB says that they are.
CREATE OR REPLACE FUNCTION analytics.purge_raw_chunk(before timestamptz)
RETURNS TABLE (range_start timestamptz, range_end timestamptz, events bigint, bytes bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
    chunk record;
    raw regclass;
BEGIN
    IF before > now() - INTERVAL '24 hours' THEN
        RAISE EXCEPTION 'raw events of the last day are not taken away' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time: two would choose the same day.
    PERFORM pg_advisory_xact_lock(x'7261775f676f6e65'::bigint);
    SELECT c.chunk_schema, c.chunk_name, c.range_start AS starts, c.range_end AS ends INTO chunk
    FROM timescaledb_information.chunks c
    WHERE c.hypertable_schema = 'analytics' AND c.hypertable_name = 'usage_events' AND c.range_end <= before
    ORDER BY c.range_end LIMIT 1;
    IF NOT FOUND THEN RETURN; END IF;
    raw := format('%I.%I', chunk.chunk_schema, chunk.chunk_name)::regclass;
    -- Its compressed form included. Before the lock: all chunks are looked at for it, and whoever holds one of them may wait
    -- for this one.
    SELECT coalesce(sum(s.total_bytes), 0) INTO bytes
    FROM public.chunks_detailed_size('analytics.usage_events') s
    WHERE s.chunk_schema = chunk.chunk_schema AND s.chunk_name = chunk.chunk_name;
    -- What is counted is what goes: nobody may add to it meanwhile. The lock that dropping needs is taken at once: a weaker
    -- one, raised later, and a writer that has looked an event up here and stores another would wait for each other.
    -- Whoever reads here waits too, hence lock_timeout: behind a long reader it gives up and is called again.
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', raw);
    range_start := chunk.starts;
    range_end := chunk.ends;
    -- Never more than was stored, even if rows were put there by hand: that must not keep the day for ever.
    EXECUTE format(
        'WITH gone AS (SELECT batch_id, count(*) AS n FROM %s GROUP BY batch_id),
              told AS (UPDATE analytics.ingestion_batches b SET purged = least(b.stored, b.purged + gone.n) FROM gone
                       WHERE b.batch_id = gone.batch_id)
         SELECT coalesce(sum(n), 0)::bigint FROM gone', raw) INTO events;
    INSERT INTO analytics.raw_horizons AS h (org_id, raw_from) VALUES (NULL, chunk.ends)
    ON CONFLICT ON CONSTRAINT raw_horizons_key DO UPDATE SET raw_from = greatest(h.raw_from, excluded.raw_from);
    -- This day alone: an event that was long on its way may have made an older one anew since it was looked for.
    PERFORM public.drop_chunks('analytics.usage_events', older_than => chunk.ends, newer_than => chunk.starts);
    RETURN NEXT;
END $$;

-- The background jobs that TimescaleDB runs for the service: its refresh, and policies on its tables. The Apache edition has none.
-- A function and no view: a view on those of the extension would keep it from being updated.
CREATE FUNCTION analytics.background_jobs()
RETURNS TABLE (job_id integer, job text, scheduled boolean, every_seconds bigint, started_at timestamptz,
               succeeded_at timestamptz, next_start_at timestamptz, failures bigint, config jsonb)
LANGUAGE sql STABLE AS $$
    SELECT j.job_id,
           CASE WHEN j.proc_schema = 'analytics' AND j.proc_name = 'refresh_job' THEN 'refresh'
                WHEN j.proc_name = 'policy_compression' THEN 'compression'
                ELSE j.proc_name::text END,
           j.scheduled,
           extract(epoch FROM j.schedule_interval)::bigint,
           -- Of a job that has not run the extension says that it did at the beginning of time.
           CASE WHEN isfinite(s.last_run_started_at) THEN s.last_run_started_at END,
           CASE WHEN isfinite(s.last_successful_finish) THEN s.last_successful_finish END,
           CASE WHEN isfinite(s.next_start) THEN s.next_start END,
           coalesce(s.total_failures, 0),
           j.config
    FROM timescaledb_information.jobs j LEFT JOIN timescaledb_information.job_stats s ON s.job_id = j.job_id
    WHERE j.proc_schema = 'analytics' OR j.hypertable_schema = 'analytics'
$$;

-- Has one of these jobs run now, however long the database wants to wait after runs that it takes for failed. What only the
-- job's owner may do, narrowed down to what the service needs.
CREATE FUNCTION analytics.run_job_soon(id integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '3s' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM analytics.background_jobs() j WHERE j.job_id = id AND j.scheduled) THEN
        RAISE EXCEPTION 'job % is not one of the service, or it is paused', id USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Not before the caller has ended its turn, which the refresh takes as well.
    PERFORM public.alter_job(id, next_start => clock_timestamp() + INTERVAL '3 seconds');
END $$;

-- As before, except that a range proves nothing of what lies ahead of the moment when it was noted: the watermark may have been
-- ahead of the clock then.
CREATE OR REPLACE VIEW analytics.partition_completeness AS
SELECT w.stream, w.partition, least(w.watermark, u.complete_to) AS watermark
FROM analytics.partition_watermarks w
     LEFT JOIN LATERAL (
         SELECT min(CASE WHEN complete_to <= noted_at THEN complete_to ELSE 'epoch' END) AS complete_to FROM analytics.unread_ranges u
         WHERE u.stream = w.stream AND u.partition = w.partition AND u.acknowledged_at IS NULL) u ON true;
