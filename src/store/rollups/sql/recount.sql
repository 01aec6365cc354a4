-- Counts the raw events of a day again, by org, UTC hour and model, in this order: read in pieces, so that a day of any
-- size fits into memory.
-- $1 start, $2 end, $3 org (null: all), $4 orgs to leave out, $5 whether batches that are not merged yet count, $6 upper
-- bounds of the histogram's buckets
DECLARE recounted NO SCROLL CURSOR FOR
WITH counted AS (
    SELECT org_id, date_trunc('hour', occurred_at, 'UTC') AS bucket_start, model_id,
           -- The number of bounds below the latency.
           width_bucket(latency_ms - 1, $6::integer[]) AS latency_bucket,
           count(*) AS events,
           count(*) FILTER (WHERE status = 'success') AS successes,
           count(*) FILTER (WHERE status = 'error') AS errors,
           count(*) FILTER (WHERE status = 'timeout') AS timeouts,
           count(*) FILTER (WHERE status = 'throttled') AS throttled,
           sum(input_tokens) AS input_tokens,
           sum(output_tokens) AS output_tokens,
           sum(cost_cents) AS cost_cents,
           sum(latency_ms) AS latency_sum,
           min(latency_ms) AS latency_min,
           max(latency_ms) AS latency_max,
           max(occurred_at) AS last_event_at
    FROM analytics.usage_events
    WHERE occurred_at >= $1 AND occurred_at < $2
      AND ($3::uuid IS NULL OR org_id = $3)
      AND org_id <> ALL ($4::uuid[])
      AND ($5 OR batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.rollup_pending)))
    GROUP BY 1, 2, 3, 4
)
SELECT org_id, bucket_start, model_id,
       sum(successes)::bigint AS successes,
       sum(errors)::bigint AS errors,
       sum(timeouts)::bigint AS timeouts,
       sum(throttled)::bigint AS throttled,
       sum(input_tokens)::bigint AS input_tokens,
       sum(output_tokens)::bigint AS output_tokens,
       sum(cost_cents) AS cost_cents,
       sum(latency_sum)::bigint AS latency_sum,
       min(latency_min) AS latency_min,
       max(latency_max) AS latency_max,
       max(last_event_at) AS last_event_at,
       array_agg(latency_bucket) AS latency_buckets,
       array_agg(events) AS latency_counts
FROM counted
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
