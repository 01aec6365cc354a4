-- Back to aggregates that the tables have nothing of.
DO $$
BEGIN
    IF EXISTS (SELECT FROM analytics.rollup_engine WHERE engine = 'continuous')
       OR to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates are kept in another form before this'
            USING HINT = 'rollups switch --to live first';
    END IF;
END $$;

DROP PROCEDURE analytics.refresh_continuous(text[], interval, integer, bigint, bigint, bigint);
DROP PROCEDURE analytics.materialise(text, timestamptz, timestamptz);
DROP FUNCTION analytics.move_cut(text, timestamptz, timestamptz, timestamptz);
DROP FUNCTION analytics.move_cut_back(text);
DROP FUNCTION analytics.settle_rollups(text, timestamptz, timestamptz, uuid);
DROP FUNCTION analytics.recall_rollups(text, timestamptz, timestamptz, uuid);
DROP FUNCTION analytics.materialised_cut(text);
DROP FUNCTION analytics.forget_materialised(text, timestamptz, timestamptz, uuid);
DROP FUNCTION analytics.release_rollups(text, timestamptz, timestamptz, uuid, timestamptz);
DROP FUNCTION analytics.pack_histogram(integer[]);
DROP FUNCTION analytics.pack_varint(bigint);
DROP VIEW analytics.hourly_materialised, analytics.daily_materialised;

ALTER TABLE analytics.rollup_engine
    DROP CONSTRAINT rollup_engine_cut,
    DROP COLUMN hourly_to,
    DROP COLUMN daily_to,
    DROP COLUMN leaving,
    ADD CONSTRAINT rollup_engine_check1 CHECK (engine <> 'continuous' OR (touching AND continuous_from IS NOT NULL));

CREATE OR REPLACE PROCEDURE analytics.refresh_continuous(
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

    -- A partition that was never read, or whose watermark lies ahead of the clock, makes the whole unknown.
    SELECT date_trunc('hour', min(watermark) - late_after, 'UTC') INTO complete
    FROM analytics.known_watermarks WHERE stream = ANY (streams) HAVING count(watermark) = cardinality(streams);
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

CREATE OR REPLACE PROCEDURE analytics.refresh_job(job_id integer, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    scheduled text[] := ARRAY(SELECT jsonb_array_elements_text(config -> 'streams'));
    -- Those of the present layout, whatever it was when the job was scheduled.
    streams text[] := coalesce(analytics.layout_streams(
        CASE WHEN cardinality(scheduled) = 1 THEN scheduled[1] ELSE regexp_replace(scheduled[1], '-[0-9]+$', '') END), scheduled);
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
