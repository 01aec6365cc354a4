-- Back to the counts of all buckets.
DO $$
BEGIN
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates keep their histograms in another form before this' USING HINT = 'rollups switch --to live first';
    END IF;
END $$;

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
