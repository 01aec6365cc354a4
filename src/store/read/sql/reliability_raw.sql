-- Outcomes and latencies of an org by bucket and label, a column that only raw events have: of parts of a range, each by
-- reliability_part.sql, put in by the code. Which batches are not merged yet is a parameter, since no value of a subquery may bound
-- a hypertable that is united with another.
-- $1 org, $2 models (empty: all), $3 starts of the buckets, $4 upper bounds of the histogram's buckets, $5 batches that are not merged,
-- $6 most rows; from $7 on starts and ends of the parts
WITH counted AS (
    SELECT ($3::timestamptz[])[width_bucket(occurred_at, $3)] AS bucket_start,
           label,
           status,
           -- The number of bounds below the latency.
           width_bucket(latency_ms - 1, $4::integer[]) AS latency_bucket,
           count(*) AS events
    FROM ({parts}) AS events
    GROUP BY 1, 2, 3, 4
)
SELECT bucket_start, label,
       coalesce(sum(events) FILTER (WHERE status = 'success'), 0)::bigint AS successes,
       coalesce(sum(events) FILTER (WHERE status = 'error'), 0)::bigint AS errors,
       coalesce(sum(events) FILTER (WHERE status = 'timeout'), 0)::bigint AS timeouts,
       coalesce(sum(events) FILTER (WHERE status = 'throttled'), 0)::bigint AS throttled,
       array_agg(latency_bucket) AS latency_buckets,
       array_agg(events) AS latency_counts
FROM counted
GROUP BY 1, 2
LIMIT $6
