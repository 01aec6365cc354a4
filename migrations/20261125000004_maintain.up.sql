-- What keeps the tables in shape. Only adds: a build of before works on beside it.

-- Makes the chunk of a day of raw events, so that whoever stores the first event of that day need not. Whether it made one.
CREATE FUNCTION analytics.make_raw_chunk(at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
    nobody uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    IF at > now() + INTERVAL '31 days' OR at < now() - INTERVAL '1 day' THEN
        RAISE EXCEPTION 'chunks are made ahead for a month at most' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- One at a time, so that what is made is counted once.
    PERFORM pg_advisory_xact_lock(x'6d616b655f646179'::bigint);
    IF EXISTS (SELECT FROM timescaledb_information.chunks
               WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events'
                 AND range_start <= at AND range_end > at) THEN
        RETURN false;
    END IF;
    -- TimescaleDB's own function for it is the Community edition's alone. A row that nobody ever sees has it made in both.
    INSERT INTO analytics.usage_events (occurred_at, org_id, event_id, model_id, batch_id, latency_ms, input_tokens,
                                        output_tokens, status, cost_cents)
    VALUES (at, nobody, gen_random_uuid(), nobody, nobody, 0, 0, 0, 'success', 0);
    DELETE FROM analytics.usage_events WHERE occurred_at = at AND org_id = nobody;
    RETURN true;
END $$;
