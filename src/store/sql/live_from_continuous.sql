-- Takes over what continuous aggregates have of a time whose raw events are gone. Readers know their histograms.
-- $1 start, $2 end
INSERT INTO analytics.{unit}_rollups
       (org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
        latency_sum, latency_min, latency_max, latency_histogram, last_event_at, fresh_as_of)
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       latency_sum, latency_min, latency_max, '\x00'::bytea || array_send(latency_counts), last_event_at, clock_timestamp()
FROM analytics.{unit}_continuous
WHERE bucket_start >= $1 AND bucket_start < $2
ON CONFLICT DO NOTHING
