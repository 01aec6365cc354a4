-- Back to four decimals. Refused where that would change an amount, or where the build of before could not read what is
-- pending. Rewrites every row of raw events and its indexes.
SET LOCAL lock_timeout = '10s';

DO $$
DECLARE
    finer bigint;
BEGIN
    LOCK TABLE analytics.usage_events, analytics.rollup_pending IN SHARE MODE;
    SELECT count(*) INTO finer FROM analytics.usage_events WHERE cost_cents <> round(cost_cents, 4);
    IF finer > 0 THEN
        RAISE EXCEPTION '% events have costs of more than four decimals, which going back would round', finer;
    END IF;
    IF EXISTS (SELECT FROM analytics.rollup_pending WHERE get_byte(aggregates, 0) > 1) THEN
        RAISE EXCEPTION 'aggregates are pending that the build of before cannot read'
            USING HINT = 'let the service run until rollup_pending is empty, then stop it and try again';
    END IF;
    IF to_regclass('analytics.hourly_continuous') IS NOT NULL THEN
        RAISE EXCEPTION 'continuous aggregates depend on usage_events.cost_cents'
            USING HINT = 'rollups switch --to live first';
    END IF;
END $$;

ALTER TABLE analytics.usage_events ALTER COLUMN cost_cents TYPE numeric(15, 4);
COMMENT ON COLUMN analytics.usage_events.cost_cents IS NULL;
