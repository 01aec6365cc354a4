-- What a continuous aggregate has materialised, in the columns of the rollups, read from the table behind it ({table}). A histogram
-- is its entries behind a zero byte, which no packed one of the service begins with, unless it is empty.
CREATE OR REPLACE VIEW analytics.{unit}_materialised AS
SELECT org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
       latency_sum, latency_min, latency_max, '\x00'::bytea || latency_entries AS latency_histogram, last_event_at,
       last_event_at AS fresh_as_of
FROM {table}
