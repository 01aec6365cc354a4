-- Only where rollups are, or are about to be, continuous aggregates: hours to be refreshed.
-- $1 hours, $2 reasons
INSERT INTO analytics.rollup_touched (bucket_start, reason, touched_at)
SELECT hour, reason, clock_timestamp()
FROM unnest($1::timestamptz[], $2::text[]) AS t (hour, reason), analytics.rollup_engine
WHERE touching
ORDER BY hour
ON CONFLICT (bucket_start) DO UPDATE SET
    reason = excluded.reason, touched_at = excluded.touched_at
