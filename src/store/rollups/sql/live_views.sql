-- The readers' views over the rollups that the service merges.
CREATE OR REPLACE VIEW analytics.{unit}_usage AS
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       latency_histogram, last_event_at, fresh_as_of
FROM analytics.{unit}_rollups
