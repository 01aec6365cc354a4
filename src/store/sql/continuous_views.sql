-- The readers' views over the continuous aggregates, and over the live rollups of what lies before them. A histogram is the
-- counts of all buckets as PostgreSQL sends an array, behind a zero byte, which no packed one of the service begins with.
CREATE OR REPLACE VIEW analytics.{unit}_usage AS
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       latency_histogram, last_event_at, fresh_as_of
FROM analytics.{unit}_rollups
WHERE bucket_start < '{from}'
UNION ALL
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       '\x00'::bytea || array_send(latency_counts), last_event_at, last_event_at
FROM analytics.{unit}_continuous
WHERE bucket_start >= '{from}'
