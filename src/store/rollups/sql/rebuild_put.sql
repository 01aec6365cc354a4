-- Puts what was counted in the place of what is there, where that is not the same. $1 now
INSERT INTO analytics.{unit}_rollups AS r (org_id, bucket_start, model_id, {measures}, fresh_as_of)
SELECT c.*, $1
FROM pg_temp.recounted_{unit} c
     LEFT JOIN (SELECT org_id, bucket_start, model_id, {measures} FROM analytics.{unit}_rollups) AS k
     USING (org_id, bucket_start, model_id)
WHERE ROW (k.*) IS DISTINCT FROM ROW (c.*)
ON CONFLICT (org_id, bucket_start, model_id) DO UPDATE SET
    ({measures}, fresh_as_of) = ROW (
        excluded.successes, excluded.errors, excluded.timeouts, excluded.throttled, excluded.input_tokens,
        excluded.output_tokens, excluded.cost_cents, excluded.latency_sum, excluded.latency_min, excluded.latency_max,
        excluded.latency_histogram, excluded.last_event_at, excluded.fresh_as_of)
