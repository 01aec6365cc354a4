CREATE OR REPLACE VIEW analytics.partition_completeness AS
SELECT w.stream, w.partition, least(w.watermark, u.complete_to) AS watermark
FROM analytics.partition_watermarks w
     LEFT JOIN LATERAL (
         SELECT min(coalesce(complete_to, 'epoch')) AS complete_to FROM analytics.unread_ranges u
         WHERE u.stream = w.stream AND u.partition = w.partition AND u.acknowledged_at IS NULL) u ON true;
DROP FUNCTION analytics.run_job_soon, analytics.background_jobs;
-- As it was: on TimescaleDB 2.29 and newer it fails.
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
    -- What is counted is what goes: nobody may add to it meanwhile. The lock that dropping needs is taken at once: a weaker
    -- one, raised later, and a writer that has looked an event up here and stores another would wait for each other.
    -- Whoever reads here waits too, hence lock_timeout: behind a long reader it gives up and is called again.
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', raw);
    range_start := chunk.starts;
    range_end := chunk.ends;
    SELECT pg_total_relation_size(raw) + coalesce(sum(pg_total_relation_size(
               format('%I.%I', packed.schema_name, packed.table_name)::regclass)), 0) INTO bytes
    FROM _timescaledb_catalog.chunk c
    JOIN _timescaledb_catalog.chunk packed ON packed.id = c.compressed_chunk_id
    WHERE c.schema_name = chunk.chunk_schema AND c.table_name = chunk.chunk_name;
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
