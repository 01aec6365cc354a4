-- Back to the counts of all buckets, and to rows that are in both places.
DO $$
BEGIN
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates keep their histograms in another form before this' USING HINT = 'rollups switch --to live first';
    END IF;
END $$;

DROP FUNCTION analytics.supersede_materialised(text, timestamptz, timestamptz, uuid);
DROP FUNCTION analytics.refuse_before_cut();
DROP FUNCTION analytics.pack_histogram(bytea);
DROP AGGREGATE analytics.sum_entries(bytea);
DROP FUNCTION analytics.merge_entries(bytea);
DROP FUNCTION analytics.unpack_entries(bytea);
DROP FUNCTION analytics.histogram_entries(integer[]);
DROP VIEW analytics.hourly_materialised, analytics.daily_materialised;

CREATE FUNCTION analytics.add_counts(sum integer[], counts integer[]) RETURNS integer[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF sum IS NULL THEN RETURN counts; ELSIF counts IS NULL THEN RETURN sum; END IF;
    RETURN (SELECT array_agg(s + c ORDER BY n) FROM unnest(sum, counts) WITH ORDINALITY AS u (s, c, n));
END $$;
CREATE AGGREGATE analytics.sum_counts(integer[]) (
    SFUNC = analytics.add_counts, STYPE = integer[], COMBINEFUNC = analytics.add_counts, PARALLEL = SAFE);

CREATE VIEW analytics.hourly_materialised AS
    SELECT *, NULL::integer[] AS latency_counts FROM analytics.hourly_rollups WHERE false;
CREATE VIEW analytics.daily_materialised AS
    SELECT *, NULL::integer[] AS latency_counts FROM analytics.daily_rollups WHERE false;

CREATE FUNCTION analytics.pack_histogram(counts integer[]) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT analytics.pack_varint(count(*)) || coalesce(
        string_agg(analytics.pack_varint(bucket) || analytics.pack_varint(n), ''::bytea ORDER BY bucket), ''::bytea)
    FROM (SELECT greatest(place - 2, 0) AS bucket, sum(n)::bigint AS n
          FROM unnest(counts) WITH ORDINALITY AS c (n, place) WHERE n > 0 GROUP BY 1) AS buckets
$$;

CREATE OR REPLACE FUNCTION analytics.recall_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS bigint
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

CREATE OR REPLACE FUNCTION analytics.settle_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    ends := least(ends, analytics.materialised_cut(unit));
    IF ends > starts THEN
        PERFORM analytics.forget_materialised(unit, starts, ends, org);
        PERFORM analytics.release_rollups(unit, starts, ends, org, clock_timestamp());
    END IF;
END $$;

CREATE OR REPLACE FUNCTION analytics.move_cut(unit text, starts timestamptz, ends timestamptz, since timestamptz) RETURNS bigint
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
