-- The life of the data: what was taken away, what changed after it was final, which engine keeps the rollups, and how long
-- an org's data is kept. Only adds: a build of before works on beside it.

-- Many old rows of the ledger folded into one, which goes on being a link of the chain.
ALTER TYPE analytics.batch_kind ADD VALUE IF NOT EXISTS 'fold';
COMMENT ON TABLE analytics.ingestion_batches IS
    'rows of kind live, gap and fold of one (stream, incarnation, partition) form a chain: each starts where the last ended';
ALTER TABLE analytics.ingestion_batches
    ADD COLUMN purged bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT ingestion_batches_purged CHECK (purged BETWEEN 0 AND stored);
COMMENT ON COLUMN analytics.ingestion_batches.purged IS
    'those of the stored that were taken away since, by retention or erasure: raw events = stored − purged';
COMMENT ON COLUMN analytics.ingestion_batches.kind IS
    'repair: put rows back that an earlier batch counts; its counts are no part of any sum';

-- Ranges of time over all orgs, for counting again and for retention: rows arrive nearly in order.
CREATE INDEX hourly_rollups_time ON analytics.hourly_rollups USING brin (bucket_start) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX daily_rollups_time ON analytics.daily_rollups USING brin (bucket_start) WITH (pages_per_range = 32, autosummarize = on);
-- Replays put back what raw events have lost. They find by offsets what an earlier replay stored.
ALTER TABLE analytics.replays ADD COLUMN repaired bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN analytics.replays.repaired IS
    'those of the duplicates whose lost row of raw events was put back: counted before, by an earlier batch';
ALTER TABLE analytics.dead_letters ADD COLUMN taken_by uuid;
COMMENT ON COLUMN analytics.dead_letters.taken_by IS
    'first batch of a replay that took the message itself for an event after all, new or a duplicate';
CREATE INDEX ingestion_batches_replays ON analytics.ingestion_batches (stream, incarnation, partition, next_offset)
    WHERE kind = 'replay' AND stored > 0;

-- An id of version 7 of a moment: in the order of time.
CREATE FUNCTION analytics.uuid_v7(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
            || substr(replace(gen_random_uuid()::text, '-', ''), 14, 3) || '8'
            || substr(replace(gen_random_uuid()::text, '-', ''), 18, 15))::uuid
$$;

-- Up to where raw events were taken away: nothing can be counted again from before.
CREATE TABLE analytics.raw_horizons (
    org_id   uuid,
    raw_from timestamptz NOT NULL,
    CONSTRAINT raw_horizons_key UNIQUE NULLS NOT DISTINCT (org_id)
);
COMMENT ON COLUMN analytics.raw_horizons.org_id IS 'null: everybody''s; an org with a shorter retention has a row of its own';

-- Buckets that changed after they were final. What changes within one period of an hour is one row.
CREATE TABLE analytics.rollup_revisions (
    revision_id          uuid PRIMARY KEY,
    org_id               uuid NOT NULL,
    model_id             uuid NOT NULL,
    bucket_start         timestamptz NOT NULL,
    reason               text NOT NULL CHECK (reason IN ('late', 'replay', 'rebuild', 'erasure')),
    period               timestamptz NOT NULL,
    revised_at           timestamptz NOT NULL,
    changes              bigint NOT NULL,
    before_invocations   bigint NOT NULL,
    before_input_tokens  bigint NOT NULL,
    before_output_tokens bigint NOT NULL,
    before_cost_cents    numeric NOT NULL,
    after_invocations    bigint NOT NULL,
    after_input_tokens   bigint NOT NULL,
    after_output_tokens  bigint NOT NULL,
    after_cost_cents     numeric NOT NULL,
    UNIQUE (org_id, bucket_start, model_id, reason, period)
);
COMMENT ON COLUMN analytics.rollup_revisions.revision_id IS 'version 7: in the order of time';
COMMENT ON COLUMN analytics.rollup_revisions.bucket_start IS 'UTC hour';
COMMENT ON COLUMN analytics.rollup_revisions.period IS 'UTC hour of the change';
COMMENT ON COLUMN analytics.rollup_revisions.revised_at IS 'the last change of the period';
CREATE INDEX rollup_revisions_org ON analytics.rollup_revisions (org_id, revision_id);

-- How long an org's data is kept where that differs from the settings.
CREATE TABLE analytics.org_settings (
    org_id      uuid PRIMARY KEY,
    raw_days    integer CHECK (raw_days BETWEEN 1 AND 3650),
    rollup_days integer CHECK (rollup_days BETWEEN 1 AND 3650),
    export_days integer CHECK (export_days BETWEEN 1 AND 3650),
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by  text NOT NULL
);

-- Orgs whose data was erased, and when: what processes still remember of them from before is neither recorded nor
-- published again. Like the audit log it says that it was done, and nothing of what was there.
CREATE TABLE analytics.erasures (
    org_id    uuid PRIMARY KEY,
    erased_at timestamptz NOT NULL
);
COMMENT ON COLUMN analytics.erasures.erased_at IS 'by the database''s clock, while no rollups were merged: merges are before or after it';

-- Which engine the readers' views show. One row.
CREATE TABLE analytics.rollup_engine (
    one             boolean PRIMARY KEY DEFAULT true CHECK (one),
    engine          text NOT NULL CHECK (engine IN ('live', 'continuous')),
    merging         boolean NOT NULL,
    touching        boolean NOT NULL,
    continuous_from timestamptz,
    switched_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (engine <> 'live' OR merging),
    CHECK (engine <> 'continuous' OR (touching AND continuous_from IS NOT NULL))
);
COMMENT ON COLUMN analytics.rollup_engine.merging IS
    'whether merges add to hourly_rollups and daily_rollups: always with live, and while continuous is being left';
COMMENT ON COLUMN analytics.rollup_engine.touching IS
    'whether merges note the final hours that they change: always with continuous, and while it is being prepared';
COMMENT ON COLUMN analytics.rollup_engine.continuous_from IS
    'UTC day from which on the continuous aggregates are read; what is older stays in hourly_rollups and daily_rollups';
INSERT INTO analytics.rollup_engine (engine, merging, touching) VALUES ('live', true, false);

-- Hours that changed after they were materialised, to be refreshed; and what they had before, until it is known what
-- they have afterwards.
CREATE TABLE analytics.rollup_touched (
    bucket_start timestamptz PRIMARY KEY,
    reason       text NOT NULL,
    touched_at   timestamptz NOT NULL,
    forced       boolean NOT NULL DEFAULT false,
    taken_at     timestamptz
);
COMMENT ON COLUMN analytics.rollup_touched.forced IS 'to be counted again even where no raw event has changed';
COMMENT ON COLUMN analytics.rollup_touched.taken_at IS 'what it had then is in rollup_before';
CREATE TABLE analytics.rollup_before (
    org_id        uuid NOT NULL,
    bucket_start  timestamptz NOT NULL,
    model_id      uuid NOT NULL,
    invocations   bigint NOT NULL,
    input_tokens  bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cost_cents    numeric NOT NULL,
    PRIMARY KEY (bucket_start, org_id, model_id)
);

-- What the maintenance did last, so that processes and commands do not repeat it.
CREATE TABLE analytics.maintenance_runs (
    task        text PRIMARY KEY,
    process     text NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    outcome     text,
    summary     jsonb
);

-- The readers' views: the same columns whichever engine keeps the rollups.
CREATE VIEW analytics.hourly_usage AS
    SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
           latency_histogram, last_event_at, fresh_as_of
    FROM analytics.hourly_rollups;
CREATE VIEW analytics.daily_usage AS
    SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
           latency_histogram, last_event_at, fresh_as_of
    FROM analytics.daily_rollups;

-- What only the owner may do, narrowed down to what the service needs.

-- Takes away the oldest day of raw events that ended before that, and tells the ledger. No row: there is none.
CREATE FUNCTION analytics.purge_raw_chunk(before timestamptz)
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

-- Takes old entries of the audit log away, which the service may otherwise only add to. At most that many; how many it was.
CREATE FUNCTION analytics.purge_audit(before timestamptz, most bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    IF before > now() - INTERVAL '90 days' THEN
        RAISE EXCEPTION 'entries of the last 90 days stay' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Ids are in the order of time, to some clocks' difference: no look at all that is younger.
    DELETE FROM analytics.audit_events WHERE event_id IN (
        SELECT event_id FROM analytics.audit_events
        WHERE occurred_at < before
          AND event_id < rpad(lpad(to_hex((extract(epoch FROM before + INTERVAL '1 day') * 1000)::bigint), 12, '0'), 32, '0')::uuid
        ORDER BY event_id LIMIT most);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END $$;

-- Adds latency counts up, for daily aggregates on top of hourly ones.
CREATE FUNCTION analytics.add_counts(sum integer[], counts integer[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF sum IS NULL THEN RETURN counts; ELSIF counts IS NULL THEN RETURN sum; END IF;
    RETURN (SELECT array_agg(s + c ORDER BY n) FROM unnest(sum, counts) WITH ORDINALITY AS u (s, c, n));
END $$;
CREATE AGGREGATE analytics.sum_counts(integer[]) (
    SFUNC = analytics.add_counts, STYPE = integer[], COMBINEFUNC = analytics.add_counts, PARALLEL = SAFE);

-- Up to where a continuous aggregate is materialised; what lies behind is read from its source.
CREATE FUNCTION analytics.materialised_to(aggregate name) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(mat_hypertable_id))
    FROM _timescaledb_catalog.continuous_agg
    WHERE user_view_schema = 'analytics' AND user_view_name = aggregate
$$;

-- Refreshes the continuous aggregates: first the hours that were touched after they had been materialised, and only
-- these, noting what they had before; then what became final since. Never past what raw events are there for, and never
-- past the moment up to which all partitions are complete: an hour that is materialised has all its events but late ones.
-- A refresh commits, so each step can be the last one, and the next run does the rest.
CREATE PROCEDURE analytics.refresh_continuous(
    streams text[], late_after interval, note boolean, INOUT hours bigint, INOUT revisions bigint)
LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz;
    materialised timestamptz;
    days timestamptz;
    complete timestamptz;
    span record;
BEGIN
    hours := 0;
    revisions := 0;
    SELECT greatest(e.continuous_from, (SELECT date_trunc('day', raw_from + INTERVAL '1 day' - INTERVAL '1 us', 'UTC')
                                        FROM analytics.raw_horizons WHERE org_id IS NULL))
    INTO first FROM analytics.rollup_engine e;
    materialised := analytics.materialised_to('hourly_continuous');
    days := analytics.materialised_to('daily_continuous');

    -- What was touched and is not there to be refreshed, or not materialised yet, needs nothing.
    DELETE FROM analytics.rollup_touched WHERE bucket_start < first OR (bucket_start >= materialised AND taken_at IS NULL);
    IF note THEN
        INSERT INTO analytics.rollup_before
        SELECT org_id, bucket_start, model_id, successes + errors + timeouts + throttled, input_tokens, output_tokens, cost_cents
        FROM analytics.hourly_continuous
        WHERE bucket_start IN (SELECT bucket_start FROM analytics.rollup_touched WHERE taken_at IS NULL)
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE analytics.rollup_touched SET taken_at = clock_timestamp() WHERE taken_at IS NULL;
    COMMIT;
    FOR span IN
        SELECT min(bucket_start) AS starts, max(bucket_start) + INTERVAL '1 hour' AS ends, bool_or(forced) AS forced
        FROM (SELECT bucket_start, forced,
                     bucket_start - row_number() OVER (ORDER BY bucket_start) * INTERVAL '1 hour' AS island
              FROM analytics.rollup_touched WHERE taken_at IS NOT NULL) AS touched
        GROUP BY island ORDER BY 1
    LOOP
        CALL public.refresh_continuous_aggregate('analytics.hourly_continuous', span.starts, span.ends, force => span.forced);
        -- Only days that are materialised: the others are read from the hours.
        first := date_trunc('day', span.starts, 'UTC');
        complete := least(date_trunc('day', span.ends - INTERVAL '1 us', 'UTC') + INTERVAL '1 day', days);
        IF complete > first THEN
            CALL public.refresh_continuous_aggregate('analytics.daily_continuous', first, complete, force => span.forced);
        END IF;
        hours := hours + (extract(epoch FROM span.ends - span.starts) / 3600)::bigint;
    END LOOP;
    IF note THEN
        INSERT INTO analytics.rollup_revisions AS v
               (revision_id, org_id, bucket_start, model_id, reason, period, revised_at, changes,
                before_invocations, before_input_tokens, before_output_tokens, before_cost_cents,
                after_invocations, after_input_tokens, after_output_tokens, after_cost_cents)
        SELECT analytics.uuid_v7(clock_timestamp()),
               org_id, bucket_start, model_id, t.reason, date_trunc('hour', clock_timestamp(), 'UTC'), clock_timestamp(), 1,
               coalesce(b.invocations, 0), coalesce(b.input_tokens, 0), coalesce(b.output_tokens, 0),
               coalesce(b.cost_cents, 0), coalesce(a.invocations, 0), coalesce(a.input_tokens, 0),
               coalesce(a.output_tokens, 0), coalesce(a.cost_cents, 0)
        FROM (SELECT * FROM analytics.rollup_before
              WHERE bucket_start IN (SELECT bucket_start FROM analytics.rollup_touched WHERE taken_at IS NOT NULL)) AS b
             FULL JOIN (SELECT org_id, bucket_start, model_id, successes + errors + timeouts + throttled AS invocations,
                               input_tokens, output_tokens, cost_cents
                        FROM analytics.hourly_continuous
                        WHERE bucket_start IN (SELECT bucket_start FROM analytics.rollup_touched WHERE taken_at IS NOT NULL)) AS a
             USING (bucket_start, org_id, model_id)
             JOIN analytics.rollup_touched t USING (bucket_start)
        WHERE (coalesce(b.invocations, 0), coalesce(b.input_tokens, 0), coalesce(b.output_tokens, 0), coalesce(b.cost_cents, 0))
              IS DISTINCT FROM
              (coalesce(a.invocations, 0), coalesce(a.input_tokens, 0), coalesce(a.output_tokens, 0), coalesce(a.cost_cents, 0))
        ON CONFLICT (org_id, bucket_start, model_id, reason, period) DO UPDATE SET
            revised_at = excluded.revised_at,
            changes = v.changes + 1,
            after_invocations = excluded.after_invocations,
            after_input_tokens = excluded.after_input_tokens,
            after_output_tokens = excluded.after_output_tokens,
            after_cost_cents = excluded.after_cost_cents;
        GET DIAGNOSTICS revisions = ROW_COUNT;
    END IF;
    DELETE FROM analytics.rollup_before
    WHERE bucket_start IN (SELECT bucket_start FROM analytics.rollup_touched WHERE taken_at IS NOT NULL);
    DELETE FROM analytics.rollup_touched WHERE touched_at <= taken_at;
    -- Touched again meanwhile: once more next time.
    UPDATE analytics.rollup_touched SET taken_at = NULL WHERE taken_at IS NOT NULL;
    COMMIT;

    -- A partition that was never read makes the whole unknown.
    SELECT date_trunc('hour', min(watermark) - late_after, 'UTC') INTO complete
    FROM analytics.partition_watermarks WHERE stream = ANY (streams) HAVING count(*) = cardinality(streams);
    SELECT greatest(continuous_from, materialised) INTO first FROM analytics.rollup_engine;
    IF complete > first THEN
        CALL public.refresh_continuous_aggregate('analytics.hourly_continuous', first, complete);
    END IF;
    SELECT greatest(continuous_from, days) INTO first FROM analytics.rollup_engine;
    complete := date_trunc('day', complete, 'UTC');
    IF complete > first THEN
        CALL public.refresh_continuous_aggregate('analytics.daily_continuous', first, complete);
    END IF;
END $$;

-- The same as a job of the database. One maintenance is at work at a time (see the lock of that number in the service).
CREATE PROCEDURE analytics.refresh_job(job_id integer, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    hours bigint;
    revisions bigint;
BEGIN
    IF NOT pg_try_advisory_lock(x'6d61696e74'::bigint) THEN
        RETURN;
    END IF;
    CALL analytics.refresh_continuous(
        ARRAY(SELECT jsonb_array_elements_text(config -> 'streams')), make_interval(secs => (config ->> 'late_seconds')::int),
        true, hours, revisions);
    PERFORM pg_advisory_unlock(x'6d61696e74'::bigint);
END $$;

CREATE OR REPLACE FUNCTION analytics.grant_to(service_role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA analytics TO %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA analytics TO %I', service_role);
    EXECUTE format('REVOKE ALL ON analytics.audit_events, analytics.rollup_engine FROM %I', service_role);
    EXECUTE format('GRANT SELECT, INSERT ON analytics.audit_events TO %I', service_role);
    EXECUTE format('GRANT SELECT ON analytics.rollup_engine TO %I', service_role);
    EXECUTE format('GRANT EXECUTE ON FUNCTION analytics.purge_raw_chunk, analytics.purge_audit TO %I',
                   service_role);
    EXECUTE format('GRANT SELECT ON public._sqlx_migrations TO %I', service_role);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA analytics TO %I', service_role);
END $$;
REVOKE ALL ON FUNCTION analytics.purge_raw_chunk, analytics.purge_audit FROM PUBLIC;
