-- Outcomes and latencies of an org by bucket. Histograms come one behind the other: the caller adds them up, since SQL has only
-- bytes. Those of continuous aggregates are marked by a zero byte, which is cut off. What is put in is as in usage.sql.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $5 by model, $6 stream, $7 the org's partition, $8 most rows; from $9 on as in
-- rows_split.sql
WITH head AS (
    {head}
),
series AS (
    SELECT bucket_start,
           CASE WHEN $5 THEN model_id END AS model_id,
           sum(successes)::bigint AS successes,
           sum(errors)::bigint AS errors,
           sum(timeouts)::bigint AS timeouts,
           sum(throttled)::bigint AS throttled,
           string_agg(latency_histogram, ''::bytea) FILTER (WHERE latency_histogram >= '\x01') AS packed,
           string_agg(substring(latency_histogram FROM 2), ''::bytea) FILTER (WHERE latency_histogram < '\x01') AS entries,
           -- Of raw events: a bucket of the histogram for each.
           array_agg(latency_bucket) FILTER (WHERE latency_bucket IS NOT NULL) AS latency_buckets
    FROM ({rows}) AS rows
    GROUP BY 1, 2
    ORDER BY 1, 2
    LIMIT $8
)
SELECT head.*, series.*
FROM head LEFT JOIN series ON true
ORDER BY bucket_start, model_id
