-- Guards what is materialised before the cut against deletes and changes as well: a refresh by hand deletes first, and of a day whose raw
-- events are purged there is nothing to insert again. Moving the cut back takes the lock that an erasure and a rebuild wait for. Takes
-- milliseconds.

DO $$
BEGIN
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates are guarded in another form from here on'
            USING HINT = 'with the build that runs now: rollups switch --to live; then migrate; then rollups switch --to continuous';
    END IF;
END $$;

-- Of the tables behind the aggregates: before the cut nobody but the service changes what is materialised. Where that is again, it would
-- be counted twice; where it is deleted, it may be gone for good. The service deletes what a table has instead, and says so for its
-- transaction.
CREATE OR REPLACE FUNCTION analytics.refuse_before_cut() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('analytics.moves_rows', true) = 'on' THEN
        RETURN OLD;
    END IF;
    IF least(OLD.bucket_start, NEW.bucket_start) < analytics.materialised_cut(TG_ARGV[0]) THEN
        RAISE EXCEPTION 'buckets before the cut are not materialised again' USING HINT = 'refresh --from DAY --to DAY counts them again';
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;

-- The way back from recalled rows, when they may have changed: what the table has no row of any more is forgotten, and what is the
-- same as before is released. The caller holds merges off.
CREATE OR REPLACE FUNCTION analytics.settle_rollups(unit text, starts timestamptz, ends timestamptz, org uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    ends := least(ends, analytics.materialised_cut(unit));
    IF ends > starts THEN
        PERFORM set_config('analytics.moves_rows', 'on', true);
        PERFORM analytics.forget_materialised(unit, starts, ends, org);
        PERFORM analytics.release_rollups(unit, starts, ends, org, clock_timestamp());
        PERFORM analytics.supersede_materialised(unit, starts, ends, org);
    END IF;
END $$;

-- Moves the cut of a unit back by a day at most, in one transaction with what the table has again for it. Merges go on. How
-- many rows; null where it is at its beginning.
CREATE OR REPLACE FUNCTION analytics.move_cut_back(unit text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    ends timestamptz;
    starts timestamptz;
    recalled bigint;
BEGIN
    -- The lock of that number in the service, which merges share. What is erased or rebuilt meanwhile would not see the rows of here.
    PERFORM pg_advisory_xact_lock_shared(x'726f6c6c7570'::bigint);
    ends := analytics.materialised_cut(unit);
    SELECT greatest(continuous_from, ends - INTERVAL '24 hours') INTO starts FROM analytics.rollup_engine;
    IF ends <= starts THEN
        RETURN NULL;
    END IF;
    recalled := analytics.recall_rollups(unit, starts, ends, NULL);
    EXECUTE format('UPDATE analytics.rollup_engine SET %s_to = $1', unit) USING starts;
    RETURN recalled;
END $$;

-- A histogram as the service packs it: the number of buckets that have any, then each one's number and count; seven bits a byte, the
-- lowest first. A loop, since `verify` packs each materialised row: a query inside the function took six times as long.
CREATE OR REPLACE FUNCTION analytics.pack_histogram(entries bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    packed bytea := analytics.pack_varint(length(entries) / 6);
    bucket integer;
    n integer;
BEGIN
    FOR at IN 0 .. length(entries) - 6 BY 6 LOOP
        bucket := get_byte(entries, at) << 8 | get_byte(entries, at + 1);
        n := get_byte(entries, at + 2) << 24 | get_byte(entries, at + 3) << 16 | get_byte(entries, at + 4) << 8 | get_byte(entries, at + 5);
        packed := packed
            || CASE WHEN bucket < 128 THEN set_byte('\x00', 0, bucket) ELSE analytics.pack_varint(bucket) END
            || CASE WHEN n < 128 THEN set_byte('\x00', 0, n) ELSE analytics.pack_varint(n) END;
    END LOOP;
    RETURN packed;
END $$;

COMMENT ON COLUMN analytics.rollup_engine.hourly_to IS
    'the cut: hours before it are read from the aggregate and from hourly_rollups, of which each has other keys';
COMMENT ON COLUMN analytics.rollup_engine.merging IS 'always; used by earlier builds only';
COMMENT ON COLUMN analytics.rollup_engine.touching IS 'never; used by earlier builds only';
COMMENT ON TABLE analytics.rollup_touched IS 'used by earlier builds only';
COMMENT ON TABLE analytics.rollup_before IS 'used by earlier builds only';
