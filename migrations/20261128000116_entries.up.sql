-- Continuous aggregates in a form that is read as quickly as the tables. Of a latency histogram they keep what is not zero, as entries
-- of six bytes: the bucket's number in two, its count in four, the highest byte first. The counts of all 335 buckets made a
-- materialised row 2.7 kilobytes on its way to the service.

DO $$
BEGIN
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates keep their histograms in another form from here on'
            USING HINT = 'with the build that runs now: rollups switch --to live; then migrate; then rollups switch --to continuous';
    END IF;
END $$;

DROP VIEW analytics.hourly_materialised, analytics.daily_materialised;
DROP AGGREGATE analytics.sum_counts(integer[]);
DROP FUNCTION analytics.add_counts(integer[], integer[]);
DROP FUNCTION analytics.pack_histogram(integer[]);

-- What is materialised, in the columns of the rollups. Empty until there are aggregates: then over the tables behind them.
CREATE VIEW analytics.hourly_materialised AS SELECT * FROM analytics.hourly_rollups WHERE false;
CREATE VIEW analytics.daily_materialised AS SELECT * FROM analytics.daily_rollups WHERE false;

-- Entries of what histogram() counts, in order of the bucket. Its first count is of what lies below the first bucket: nothing.
CREATE FUNCTION analytics.histogram_entries(counts integer[]) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(int2send((place - 2)::smallint) || int4send(n), ''::bytea ORDER BY place), ''::bytea)
    FROM unnest(counts) WITH ORDINALITY AS c (n, place) WHERE n > 0
$$;
-- A row for each entry.
CREATE FUNCTION analytics.unpack_entries(entries bytea) RETURNS TABLE (bucket integer, n integer)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT get_byte(entries, at) << 8 | get_byte(entries, at + 1),
           get_byte(entries, at + 2) << 24 | get_byte(entries, at + 3) << 16 | get_byte(entries, at + 4) << 8 | get_byte(entries, at + 5)
    FROM generate_series(0, length(entries) - 6, 6) AS at
$$;
-- Entries one behind the other become those of their sum.
CREATE FUNCTION analytics.merge_entries(entries bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(int2send(bucket::smallint) || int4send(n::integer), ''::bytea ORDER BY bucket), ''::bytea)
    FROM (SELECT bucket, sum(n) AS n FROM analytics.unpack_entries(entries) GROUP BY bucket) AS summed
$$;
CREATE AGGREGATE analytics.sum_entries(bytea) (
    SFUNC = byteacat, STYPE = bytea, INITCOND = '', FINALFUNC = analytics.merge_entries, COMBINEFUNC = byteacat, PARALLEL = SAFE);

-- A histogram as the service packs it: the number of buckets that have any, then each one's number and count; seven bits a byte, the
-- lowest first.
CREATE FUNCTION analytics.pack_histogram(entries bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT analytics.pack_varint(count(*)) || coalesce(
        string_agg(analytics.pack_varint(bucket) || analytics.pack_varint(n), ''::bytea ORDER BY bucket), ''::bytea)
    FROM analytics.unpack_entries(entries)
$$;

-- Puts the truth of buckets before the cut into the table, of one org or of all: nothing that readers see changes.
CREATE OR REPLACE FUNCTION analytics.recall_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    recalled bigint;
BEGIN
    EXECUTE format(
        'INSERT INTO analytics.%1$s_rollups
         SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
                latency_sum, latency_min, latency_max, analytics.pack_histogram(substring(latency_histogram FROM 2)),
                last_event_at, fresh_as_of
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

-- Before the cut a bucket of an org and model is in the table or materialised, and never both, so that readers need no more than the
-- union. Looking each materialised row up in the table took as long as all the rest of a query, and many times as long where the planner
-- expected few of them.

-- Deletes from the aggregate what the table has a row of, of one org or of all: the table's is the truth.
CREATE FUNCTION analytics.supersede_materialised(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'DELETE FROM analytics.%1$s_materialised m USING analytics.%1$s_rollups r
         WHERE m.bucket_start >= $1 AND m.bucket_start < $2 AND r.bucket_start >= $1 AND r.bucket_start < $2
           AND ($3 IS NULL OR m.org_id = $3 AND r.org_id = $3)
           AND r.org_id = m.org_id AND r.bucket_start = m.bucket_start AND r.model_id = m.model_id', unit)
    USING starts, ends, org;
END $$;

-- Of the tables behind the aggregates: nobody materialises again what is read already, since it would be counted twice.
CREATE FUNCTION analytics.refuse_before_cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.bucket_start < analytics.materialised_cut(TG_ARGV[0]) THEN
        RAISE EXCEPTION 'buckets before the cut are not materialised again' USING HINT = 'refresh --from DAY --to DAY counts them again';
    END IF;
    RETURN NEW;
END $$;

-- The way back from recalled rows, when they may have changed: what the table has no row of any more is forgotten, and what is the
-- same as before is released. The caller holds merges off.
CREATE OR REPLACE FUNCTION analytics.settle_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    ends := least(ends, analytics.materialised_cut(unit));
    IF ends > starts THEN
        PERFORM analytics.forget_materialised(unit, starts, ends, org);
        PERFORM analytics.release_rollups(unit, starts, ends, org, clock_timestamp());
        PERFORM analytics.supersede_materialised(unit, starts, ends, org);
    END IF;
END $$;

-- Moves the cut of a unit forward over whole buckets that were materialised after that moment, in one transaction with what the
-- table has no more for it. What is committed and not merged yet the aggregate may have counted: such a key differs and stays in
-- the table, or, where the table has none, is forgotten in the aggregate; its merge adds it to the table.
CREATE OR REPLACE FUNCTION analytics.move_cut(unit text, starts timestamptz, ends timestamptz, since timestamptz) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    released bigint;
BEGIN
    -- The lock of that number in the service, which merges share.
    PERFORM pg_advisory_xact_lock(x'726f6c6c7570'::bigint);
    PERFORM analytics.forget_materialised(unit, starts, ends, NULL);
    released := analytics.release_rollups(unit, starts, ends, NULL, since);
    PERFORM analytics.supersede_materialised(unit, starts, ends, NULL);
    EXECUTE format('UPDATE analytics.rollup_engine SET %1$s_to = $2 WHERE engine = ''continuous'' AND %1$s_to = $1', unit)
    USING starts, ends;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the cut of % is not at %', unit, starts;
    END IF;
    RETURN released;
END $$;
