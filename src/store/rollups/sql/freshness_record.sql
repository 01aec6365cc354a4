-- Records the markers of a merge, in the order of their keys, as all merges do.
-- $1 orgs, $2 models, $3 last events, $4 when they were merged, $5 the partition's lag in seconds, $6 its status
INSERT INTO analytics.freshness_status AS f (org_id, model_id, last_event_at, last_rollup_at, lag_seconds, status)
SELECT org_id, model_id, last_event_at, $4, $5, $6
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS m (org_id, model_id, last_event_at)
ON CONFLICT (org_id, model_id) DO UPDATE SET
    last_event_at = greatest(f.last_event_at, excluded.last_event_at),
    last_rollup_at = greatest(f.last_rollup_at, excluded.last_rollup_at),
    lag_seconds = excluded.lag_seconds,
    status = excluded.status
