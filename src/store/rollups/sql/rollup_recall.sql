-- Puts rows that a merge will write and that are materialised into the table, where it does not have them: what is added is added
-- to the truth. All are before the cut.
-- $1 orgs, $2 buckets, $3 models
INSERT INTO analytics.{table}
       (org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
        latency_sum, latency_min, latency_max, latency_histogram, last_event_at, fresh_as_of)
SELECT m.org_id, m.bucket_start, m.model_id, m.successes, m.errors, m.timeouts, m.throttled, m.input_tokens, m.output_tokens,
       m.cost_cents, m.latency_sum, m.latency_min, m.latency_max, m.latency_histogram, m.last_event_at, m.fresh_as_of
FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) AS k (org_id, bucket_start, model_id)
JOIN analytics.{materialised} m ON m.org_id = k.org_id AND m.bucket_start = k.bucket_start AND m.model_id = k.model_id
ORDER BY m.org_id, m.bucket_start, m.model_id
ON CONFLICT DO NOTHING
