-- Moves rows that a merge will write and that are materialised into the table, so that what is added is added to the truth. All are
-- before the cut, where the table has no row of what is materialised, unless a switch to live has moved it there at the same moment.
-- $1 orgs, $2 buckets, $3 models; $4 and $5 the first and the last of the buckets: no chunk before or behind these is looked into
WITH recalled AS (
    DELETE FROM analytics.{unit}_materialised m
    USING unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS k (org_id, bucket_start, model_id)
    WHERE m.org_id = k.org_id AND m.bucket_start = k.bucket_start AND m.model_id = k.model_id
      AND m.bucket_start BETWEEN $4 AND $5
    RETURNING m.*
)
INSERT INTO analytics.{unit}_rollups
       (org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
        latency_sum, latency_min, latency_max, latency_histogram, last_event_at, fresh_as_of)
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       latency_sum, latency_min, latency_max, latency_histogram, last_event_at, fresh_as_of
FROM recalled
ORDER BY org_id, bucket_start, model_id
ON CONFLICT DO NOTHING
