-- Makes the rows that a merge will write, so that the next statement can lock all of them, in the order of the keys.
-- $1 orgs, $2 buckets, $3 models
INSERT INTO analytics.{unit}_rollups
       (org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
        latency_sum, latency_min, latency_max, latency_histogram, last_event_at, fresh_as_of)
SELECT k.org_id, k.bucket_start, k.model_id, 0, 0, 0, 0, 0, 0, 0, 0, 2147483647, 0, '\x00', '-infinity', '-infinity'
FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS k (org_id, bucket_start, model_id)
ON CONFLICT DO NOTHING
