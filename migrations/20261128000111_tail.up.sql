-- Continuous aggregates hold what is final, and the tables hold the tail: hours that are not materialised yet, and what has changed
-- since an hour was. Merges go on as with live rollups. Of each bucket, org and model there is one truth: the row of the table, or
-- else, before the cut, the materialised one. Only adds: a build of before works on beside it while rollups are live.

DO $$
BEGIN
    -- In the form of before, whose tables have nothing of what the aggregates have.
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates are kept in another form from here on'
            USING HINT = 'with the build that runs now: rollups switch --to live; then migrate; then rollups switch --to continuous';
    END IF;
END $$;

ALTER TABLE analytics.rollup_engine
    ADD COLUMN hourly_to timestamptz,
    ADD COLUMN daily_to timestamptz,
    ADD COLUMN leaving boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT rollup_engine_check1,
    ADD CONSTRAINT rollup_engine_cut CHECK (engine <> 'continuous' OR (
        merging AND continuous_from IS NOT NULL AND hourly_to IS NOT NULL AND daily_to IS NOT NULL));
COMMENT ON COLUMN analytics.rollup_engine.hourly_to IS
    'the cut: hours before it are read from the aggregate where hourly_rollups has no row of the same key';
COMMENT ON COLUMN analytics.rollup_engine.daily_to IS 'the same of days';
COMMENT ON COLUMN analytics.rollup_engine.leaving IS 'whether the cut is on its way back: no refresh moves it forward';
COMMENT ON COLUMN analytics.rollup_engine.merging IS 'always; for builds of before';
COMMENT ON COLUMN analytics.rollup_engine.touching IS 'never; for builds of before';
COMMENT ON COLUMN analytics.rollup_engine.continuous_from IS
    'UTC day from which on the aggregates have anything; what is older stays in hourly_rollups and daily_rollups';
COMMENT ON TABLE analytics.rollup_touched IS 'of builds of before';
COMMENT ON TABLE analytics.rollup_before IS 'of builds of before';

-- What is materialised, in the columns of the rollups. Empty until there are aggregates: then over the tables behind them.
CREATE VIEW analytics.hourly_materialised AS
    SELECT *, NULL::integer[] AS latency_counts FROM analytics.hourly_rollups WHERE false;
CREATE VIEW analytics.daily_materialised AS
    SELECT *, NULL::integer[] AS latency_counts FROM analytics.daily_rollups WHERE false;

-- A histogram as the service packs it: the number of buckets that have any, then each one's number and count; seven bits a byte, the
-- lowest first. The counts of histogram() begin with those below the first bucket.
CREATE FUNCTION analytics.pack_varint(n bigint) RETURNS bytea LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    packed bytea := '';
BEGIN
    WHILE n > 127 LOOP
        packed := packed || set_byte('\x00', 0, (n & 127 | 128)::integer);
        n := n >> 7;
    END LOOP;
    RETURN packed || set_byte('\x00', 0, n::integer);
END $$;
CREATE FUNCTION analytics.pack_histogram(counts integer[]) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT analytics.pack_varint(count(*)) || coalesce(
        string_agg(analytics.pack_varint(bucket) || analytics.pack_varint(n), ''::bytea ORDER BY bucket), ''::bytea)
    FROM (SELECT greatest(place - 2, 0) AS bucket, sum(n)::bigint AS n
          FROM unnest(counts) WITH ORDINALITY AS c (n, place) WHERE n > 0 GROUP BY 1) AS buckets
$$;

-- Materialises whole buckets of a unit (hourly, daily). This alone depends on the edition. It commits.
CREATE PROCEDURE analytics.materialise(unit text, starts timestamptz, ends timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    CALL public.refresh_continuous_aggregate(format('analytics.%s_continuous', unit)::regclass, starts, ends);
END $$;

-- Deletes from the table what the aggregate has as well, of one org or of all: the truth stays what it was. The caller holds
-- merges off. Rows that were merged since that moment stay: the aggregate may have counted their hours before. A day stays for as
-- long as one of its hours does: the daily aggregate is made of what the hourly one has.
CREATE FUNCTION analytics.release_rollups(unit text, starts timestamptz, ends timestamptz, org uuid, since timestamptz)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    released bigint;
BEGIN
    EXECUTE format(
        'DELETE FROM analytics.%1$s_rollups r USING analytics.%1$s_materialised m
         WHERE r.bucket_start >= $1 AND r.bucket_start < $2 AND m.bucket_start >= $1 AND m.bucket_start < $2
           AND ($3 IS NULL OR r.org_id = $3 AND m.org_id = $3)
           AND m.org_id = r.org_id AND m.bucket_start = r.bucket_start AND m.model_id = r.model_id
           AND r.fresh_as_of < $4
           AND (r.successes, r.errors, r.timeouts, r.throttled, r.input_tokens, r.output_tokens, r.cost_cents, r.latency_sum,
                r.latency_min, r.latency_max, r.last_event_at)
             = (m.successes, m.errors, m.timeouts, m.throttled, m.input_tokens, m.output_tokens, m.cost_cents, m.latency_sum,
                m.latency_min, m.latency_max, m.last_event_at)
           AND ($5 OR NOT EXISTS (
               SELECT FROM analytics.hourly_rollups h
               WHERE h.org_id = r.org_id AND h.model_id = r.model_id
                 AND h.bucket_start >= r.bucket_start AND h.bucket_start < r.bucket_start + INTERVAL ''24 hours''))', unit)
    USING starts, ends, org, since, unit = 'hourly';
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END $$;

-- Deletes from the aggregate what the table has no row of, of one org or of all.
CREATE FUNCTION analytics.forget_materialised(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    forgotten bigint;
BEGIN
    EXECUTE format(
        'DELETE FROM analytics.%1$s_materialised m
         WHERE m.bucket_start >= $1 AND m.bucket_start < $2 AND ($3 IS NULL OR m.org_id = $3)
           AND NOT EXISTS (SELECT FROM analytics.%1$s_rollups r
                           WHERE r.org_id = m.org_id AND r.bucket_start = m.bucket_start AND r.model_id = m.model_id)', unit)
    USING starts, ends, org;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END $$;

-- Where a unit is read from the aggregate up to; nowhere with live rollups. STABLE: of the snapshot at hand.
CREATE FUNCTION analytics.materialised_cut(unit text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN engine <> 'continuous' THEN '-infinity' WHEN unit = 'hourly' THEN hourly_to ELSE daily_to END
    FROM analytics.rollup_engine
$$;

-- Puts the truth of buckets before the cut into the table, of one org or of all: nothing that readers see changes.
CREATE FUNCTION analytics.recall_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    recalled bigint;
BEGIN
    EXECUTE format(
        'INSERT INTO analytics.%1$s_rollups
         SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
                latency_sum, latency_min, latency_max, analytics.pack_histogram(latency_counts), last_event_at, fresh_as_of
         FROM analytics.%1$s_materialised m
         WHERE m.bucket_start >= $1
           AND m.bucket_start < least($2, analytics.materialised_cut(''%1$s''))
           AND ($3 IS NULL OR m.org_id = $3)
         ORDER BY org_id, bucket_start, model_id
         ON CONFLICT DO NOTHING', unit)
    USING starts, ends, org;
    GET DIAGNOSTICS recalled = ROW_COUNT;
    RETURN recalled;
END $$;

-- The way back from that, when the rows may have changed: what the table has no row of any more is forgotten, and what is the
-- same as before is released. The caller holds merges off.
CREATE FUNCTION analytics.settle_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    ends := least(ends, analytics.materialised_cut(unit));
    IF ends > starts THEN
        PERFORM analytics.forget_materialised(unit, starts, ends, org);
        PERFORM analytics.release_rollups(unit, starts, ends, org, clock_timestamp());
    END IF;
END $$;

-- Moves the cut of a unit back by a day at most, in one transaction with what the table has again for it. Merges go on. How
-- many rows; null where it is at its beginning.
CREATE FUNCTION analytics.move_cut_back(unit text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ends timestamptz := analytics.materialised_cut(unit);
    starts timestamptz;
    recalled bigint;
BEGIN
    SELECT greatest(continuous_from, ends - INTERVAL '24 hours') INTO starts FROM analytics.rollup_engine;
    IF ends <= starts THEN
        RETURN NULL;
    END IF;
    recalled := analytics.recall_rollups(unit, starts, ends, NULL);
    EXECUTE format('UPDATE analytics.rollup_engine SET %s_to = $1', unit) USING starts;
    RETURN recalled;
END $$;

-- Moves the cut of a unit forward over whole buckets that were materialised after that moment, in one transaction with what the
-- table has no more for it. What is committed and not merged yet the aggregate may have counted: such a key differs and stays in
-- the table, or, where the table has none, is forgotten in the aggregate; its merge adds it to the table.
CREATE FUNCTION analytics.move_cut(unit text, starts timestamptz, ends timestamptz, since timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    released bigint;
BEGIN
    -- The lock of that number in the service, which merges share.
    PERFORM pg_advisory_xact_lock(x'726f6c6c7570'::bigint);
    PERFORM analytics.forget_materialised(unit, starts, ends, NULL);
    released := analytics.release_rollups(unit, starts, ends, NULL, since);
    EXECUTE format('UPDATE analytics.rollup_engine SET %1$s_to = $2 WHERE engine = ''continuous'' AND %1$s_to = $1', unit)
    USING starts, ends;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the cut of % is not at %', unit, starts;
    END IF;
    RETURN released;
END $$;

DROP PROCEDURE analytics.refresh_continuous(text[], interval, boolean, bigint, bigint);
-- Materialises what has become final, a day at a time, hours first, and moves the cut behind it, an hour at a time, so that merges
-- wait shortly. Never past the moment up to which all partitions are complete. It commits: each step can be the last one, and the
-- next run does the rest. Buckets before the cut are never materialised again: what changes there is in the tables. At most so many
-- steps; null: all.
CREATE PROCEDURE analytics.refresh_continuous(
    streams text[], late_after interval, steps integer, INOUT hours bigint, INOUT days bigint, INOUT released bigint)
LANGUAGE plpgsql AS $$
DECLARE
    state record;
    complete timestamptz;
    since timestamptz;
    ends timestamptz;
    piece interval;
BEGIN
    hours := 0;
    days := 0;
    released := 0;
    -- A partition that was never read, or whose watermark lies ahead of the clock, makes the whole unknown.
    SELECT date_trunc('hour', min(watermark) - late_after, 'UTC') INTO complete
    FROM analytics.known_watermarks WHERE stream = ANY (streams) HAVING count(watermark) = cardinality(streams);
    LOOP
        SELECT hourly_to, daily_to, engine = 'continuous' AND NOT leaving AS goes_on INTO STRICT state FROM analytics.rollup_engine;
        EXIT WHEN NOT state.goes_on OR complete IS NULL OR steps <= 0;
        steps := steps - 1;
        since := clock_timestamp();
        IF state.daily_to + INTERVAL '24 hours' <= state.hourly_to THEN
            ends := state.daily_to + INTERVAL '24 hours';
            COMMIT;
            CALL analytics.materialise('daily', state.daily_to, ends);
            released := released + analytics.move_cut('daily', state.daily_to, ends, since);
            days := days + 1;
            COMMIT;
        ELSIF state.hourly_to < complete THEN
            ends := least(date_trunc('day', state.hourly_to, 'UTC') + INTERVAL '24 hours', complete);
            COMMIT;
            CALL analytics.materialise('hourly', state.hourly_to, ends);
            -- All at once where there is little: merges wait some tenths of a second at the most.
            piece := CASE WHEN (SELECT count(*) FROM (
                SELECT FROM analytics.hourly_rollups WHERE bucket_start >= state.hourly_to AND bucket_start < ends LIMIT 20000
            ) AS few) < 20000 THEN ends - state.hourly_to ELSE INTERVAL '1 hour' END;
            WHILE state.hourly_to < ends LOOP
                released := released + analytics.move_cut('hourly', state.hourly_to, state.hourly_to + piece, since);
                state.hourly_to := state.hourly_to + piece;
                hours := hours + (extract(epoch FROM piece) / 3600)::bigint;
                COMMIT;
            END LOOP;
        ELSE
            EXIT;
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE PROCEDURE analytics.refresh_job(job_id integer, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
    scheduled text[] := ARRAY(SELECT jsonb_array_elements_text(config -> 'streams'));
    -- Those of the present layout, whatever it was when the job was scheduled.
    streams text[] := coalesce(analytics.layout_streams(
        CASE WHEN cardinality(scheduled) = 1 THEN scheduled[1] ELSE regexp_replace(scheduled[1], '-[0-9]+$', '') END), scheduled);
    late_after interval := make_interval(secs => (config ->> 'late_seconds')::int);
    hours bigint;
    days bigint;
    released bigint;
BEGIN
    -- One maintenance is at work at a time (see the lock of that number in the service).
    IF NOT pg_try_advisory_lock(x'6d61696e74'::bigint) THEN
        RETURN;
    END IF;
    -- A command that was killed holds its turn no longer, and what it has called may be at work still.
    IF pg_try_advisory_lock(x'72656672657368'::bigint) THEN
        CALL analytics.refresh_continuous(streams, late_after, NULL, hours, days, released);
        PERFORM pg_advisory_unlock(x'72656672657368'::bigint);
    END IF;
    PERFORM pg_advisory_unlock(x'6d61696e74'::bigint);
END $$;
