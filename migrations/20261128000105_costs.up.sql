-- Costs to twelve decimals of a cent. A numeric without a scale keeps each amount as it is written; taking the scale away
-- changes the catalogue alone and rewrites no row, so it takes as long for a billion events as for none. Rollups, revisions and
-- exports have had such columns from the first.
--
-- The build of before works on beside it: it knows no amount of more than four decimals, and producers could send none.

-- Readers may hold the table for minutes: `migrate` is then run again, rather than have everybody wait behind it.
SET LOCAL lock_timeout = '10s';

DO $$
BEGIN
    -- Both depend on the column in a way that forbids changing it, on TimescaleDB's Community edition alone.
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates depend on usage_events.cost_cents'
            USING HINT = 'with the build that runs now: rollups switch --to live; then migrate; then rollups switch --to continuous';
    END IF;
    IF EXISTS (SELECT FROM timescaledb_information.chunks
               WHERE hypertable_schema = 'analytics' AND hypertable_name = 'usage_events' AND is_compressed) THEN
        RAISE EXCEPTION 'days of usage_events are compressed, and TimescaleDB changes no column of such a table'
            USING HINT = 'decompress it as docs/operations.md says under "Costs to twelve decimals", then migrate again';
    END IF;
END $$;

ALTER TABLE analytics.usage_events ALTER COLUMN cost_cents TYPE numeric;
COMMENT ON COLUMN analytics.usage_events.cost_cents IS 'at most twelve decimals';
