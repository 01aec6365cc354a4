-- Outcomes and latencies of an org by bucket. Histograms come as they are stored: the caller adds them up, since SQL has only
-- bytes. What is put in is as in usage.sql.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $5 by model, $6 stream, $7 the org's partition, $8 most rows; from $9 on as in
-- rows_split.sql
WITH head AS (
    {head}
),
series AS (
    SELECT bucket_start,
           CASE WHEN $5 THEN model_id END AS model_id,
           NULL::text AS label,
           sum(successes)::bigint AS successes,
           sum(errors)::bigint AS errors,
           sum(timeouts)::bigint AS timeouts,
           sum(throttled)::bigint AS throttled,
           array_agg(latency_histogram) FILTER (WHERE latency_histogram IS NOT NULL) AS histograms,
           -- Of raw events: a bucket of the histogram for each.
           array_agg(latency_bucket) FILTER (WHERE latency_bucket IS NOT NULL) AS latency_buckets,
           NULL::bigint[] AS latency_counts
    FROM ({rows}) AS rows
    GROUP BY 1, 2
    ORDER BY 1, 2
    LIMIT $8
)
SELECT head.*, series.*
FROM head LEFT JOIN series ON true
ORDER BY bucket_start, model_id
