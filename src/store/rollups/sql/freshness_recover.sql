-- Markers that a process which ended without warning had merged but not recorded yet: those of the days that batches
-- committed since the newest marker reach into (with a margin for merges that were under way).
WITH since AS (
    SELECT coalesce(max(last_rollup_at), '-infinity') - INTERVAL '5 minutes' AS at FROM analytics.freshness_status
),
days AS (
    SELECT date_trunc('day', min(occurred_from), 'UTC') AS first, max(occurred_to) AS last
    FROM analytics.ingestion_batches, since WHERE completed_at >= since.at
)
INSERT INTO analytics.freshness_status AS f (org_id, model_id, last_event_at, last_rollup_at, lag_seconds, status)
SELECT u.org_id, u.model_id, max(last_event_at), max(fresh_as_of), 0, 'fresh'
FROM analytics.daily_usage u, days
WHERE bucket_start BETWEEN days.first AND days.last
GROUP BY u.org_id, u.model_id
-- Not what an engine that is behind still shows of an org from before its erasure.
HAVING NOT EXISTS (SELECT FROM analytics.erasures e WHERE e.org_id = u.org_id AND e.erased_at >= max(fresh_as_of))
ORDER BY u.org_id, u.model_id
ON CONFLICT (org_id, model_id) DO UPDATE SET
    last_event_at = greatest(f.last_event_at, excluded.last_event_at),
    last_rollup_at = greatest(f.last_rollup_at, excluded.last_rollup_at)
