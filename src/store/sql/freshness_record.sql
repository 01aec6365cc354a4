INSERT INTO analytics.freshness_status AS f (org_id, model_id, last_event_at, last_rollup_at, lag_seconds, status)
SELECT m.*
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::double precision[], $6::text[])
     AS m (org_id, model_id, last_event_at, last_rollup_at, lag_seconds, status)
-- What a process still remembers of an org from before its erasure.
WHERE NOT EXISTS (SELECT FROM analytics.erasures e WHERE e.org_id = m.org_id AND e.erased_at >= m.last_rollup_at)
ON CONFLICT (org_id, model_id) DO UPDATE SET
    last_event_at = greatest(f.last_event_at, excluded.last_event_at),
    last_rollup_at = greatest(f.last_rollup_at, excluded.last_rollup_at),
    lag_seconds = excluded.lag_seconds,
    status = excluded.status
RETURNING org_id, model_id
