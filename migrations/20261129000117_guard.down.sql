-- Back to a guard against inserts alone.
DO $$
BEGIN
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates are guarded in another form before this' USING HINT = 'rollups switch --to live first';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION analytics.refuse_before_cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.bucket_start < analytics.materialised_cut(TG_ARGV[0]) THEN
        RAISE EXCEPTION 'buckets before the cut are not materialised again' USING HINT = 'refresh --from DAY --to DAY counts them again';
    END IF;
    RETURN NEW;
END $$;

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

CREATE OR REPLACE FUNCTION analytics.move_cut_back(unit text) RETURNS bigint LANGUAGE plpgsql AS $$
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

CREATE OR REPLACE FUNCTION analytics.pack_histogram(entries bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT analytics.pack_varint(count(*)) || coalesce(
        string_agg(analytics.pack_varint(bucket) || analytics.pack_varint(n), ''::bytea ORDER BY bucket), ''::bytea)
    FROM analytics.unpack_entries(entries)
$$;

COMMENT ON COLUMN analytics.rollup_engine.hourly_to IS
    'the cut: hours before it are read from the aggregate where hourly_rollups has no row of the same key';
COMMENT ON COLUMN analytics.rollup_engine.merging IS 'always; for builds of before';
COMMENT ON COLUMN analytics.rollup_engine.touching IS 'never; for builds of before';
COMMENT ON TABLE analytics.rollup_touched IS 'of builds of before';
COMMENT ON TABLE analytics.rollup_before IS 'of builds of before';
