INSERT INTO analytics.freshness_status AS f (org_id, model_id, last_event_at, last_rollup_at, lag_seconds, status)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::double precision[], $6::text[])
ON CONFLICT (org_id, model_id) DO UPDATE SET
    last_event_at = greatest(f.last_event_at, excluded.last_event_at),
    last_rollup_at = greatest(f.last_rollup_at, excluded.last_rollup_at),
    lag_seconds = excluded.lag_seconds,
    status = excluded.status
