-- The readers' views where continuous aggregates have what is final: what the table has is the truth, and before the cut, where
-- the table has nothing of a bucket, org and model, what is materialised. The cut is joined: as a subquery's value it makes
-- TimescaleDB leave out chunks of a parallel scan beside another table (see CONTRIBUTING.md).
CREATE OR REPLACE VIEW analytics.{unit}_usage AS
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       latency_histogram, last_event_at, fresh_as_of
FROM analytics.{unit}_rollups
UNION ALL
SELECT m.org_id, m.bucket_start, m.model_id, m.successes, m.errors, m.timeouts, m.throttled, m.input_tokens, m.output_tokens,
       m.cost_cents, m.latency_histogram, m.last_event_at, m.fresh_as_of
FROM analytics.rollup_engine e
JOIN analytics.{unit}_materialised m ON m.bucket_start < e.{unit}_to
WHERE NOT EXISTS (
    SELECT FROM analytics.{unit}_rollups r
    WHERE r.org_id = m.org_id AND r.bucket_start = m.bucket_start AND r.model_id = m.model_id)
