-- Rows of an export by hour, model and {label}, a column that only raw events have. An empty text is none: a file does not
-- show the difference.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $5 upper bounds of the histogram's buckets
WITH counted AS (
    SELECT date_trunc('hour', occurred_at, 'UTC') AS bucket_start, model_id, nullif({label}, '') AS label,
           status <> 'success' AS failed,
           -- The number of bounds below the latency.
           width_bucket(latency_ms - 1, $5::integer[]) AS latency_bucket,
           count(*) AS events, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
           sum(cost_cents) AS cost_cents
    FROM analytics.usage_events
    WHERE org_id = $1 AND occurred_at >= $2 AND occurred_at < $3
      AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
      -- Only what the watermark has passed: a batch is merged first.
      AND batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.rollup_pending))
    GROUP BY 1, 2, 3, 4, 5
)
SELECT bucket_start, model_id, sum(events)::bigint, coalesce(sum(events) FILTER (WHERE failed), 0)::bigint,
       sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_cents), array_agg(latency_bucket),
       array_agg(events), label
FROM counted
GROUP BY bucket_start, model_id, label
-- The same order whatever the database's locale.
ORDER BY bucket_start, model_id, label COLLATE "C" NULLS FIRST
