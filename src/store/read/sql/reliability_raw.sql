-- Outcomes and latencies of an org by bucket and {label}, a column that only raw events have.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $5 by model, $6 stream, $7 the org's partition, $8 most rows, $9 starts
-- of the buckets, $10 upper bounds of the histogram's buckets
WITH head AS (
    {head}
),
counted AS (
    SELECT ($9::timestamptz[])[width_bucket(occurred_at, $9)] AS bucket_start,
           CASE WHEN $5 THEN model_id END AS model_id,
           {label} AS label,
           status,
           -- The number of bounds below the latency.
           width_bucket(latency_ms - 1, $10::integer[]) AS latency_bucket,
           count(*) AS events
    FROM analytics.usage_events
    WHERE org_id = $1 AND occurred_at >= $2 AND occurred_at < $3
      AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
      -- Only what the watermark has passed: a batch is merged first.
      AND batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.rollup_pending))
    GROUP BY 1, 2, 3, 4, 5
),
series AS (
    SELECT bucket_start, model_id, label,
           coalesce(sum(events) FILTER (WHERE status = 'success'), 0)::bigint AS successes,
           coalesce(sum(events) FILTER (WHERE status = 'error'), 0)::bigint AS errors,
           coalesce(sum(events) FILTER (WHERE status = 'timeout'), 0)::bigint AS timeouts,
           coalesce(sum(events) FILTER (WHERE status = 'throttled'), 0)::bigint AS throttled,
           NULL::bytea AS packed,
           NULL::bytea AS entries,
           array_agg(latency_bucket) AS latency_buckets,
           array_agg(events) AS latency_counts
    FROM counted
    GROUP BY 1, 2, 3
    -- As the code orders texts, whatever the database's locale.
    ORDER BY 1, 2, label COLLATE "C" NULLS FIRST
    LIMIT $8
)
SELECT head.*, series.*
FROM head LEFT JOIN series ON true
ORDER BY bucket_start, model_id, label COLLATE "C" NULLS FIRST
