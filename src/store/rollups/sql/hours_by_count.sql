-- Counts raw events by org, UTC hour and client, and by org, UTC hour and error code, in this order. A row also where all of its
-- events are of batches that are not merged yet, which count for nothing: readers do not see them.
-- {hold} is put in by the code: whether the cursor outlives its transaction.
-- $1 start, $2 end, $3 orgs (null: all), $4 upper bounds of the histogram's buckets
DECLARE hours_by NO SCROLL CURSOR {hold} FOR
WITH counted AS (
    SELECT e.org_id, date_trunc('hour', e.occurred_at, 'UTC') AS bucket_start,
           grouping(e.client_id) = 0 AS by_client,
           CASE WHEN grouping(e.client_id) = 0 THEN e.client_id ELSE e.error_code END AS label,
           p.batch_id IS NOT NULL AS pending,
           e.status,
           -- The number of bounds below the latency.
           width_bucket(e.latency_ms - 1, $4::integer[]) AS latency_bucket,
           count(*) AS events
    FROM analytics.usage_events e LEFT JOIN analytics.rollup_pending p USING (batch_id)
    WHERE e.occurred_at >= $1 AND e.occurred_at < $2 AND ($3::uuid[] IS NULL OR e.org_id = ANY ($3))
    -- Both at once: the events are read one time.
    GROUP BY 1, 2, 5, 6, 7, GROUPING SETS (e.client_id, e.error_code)
)
SELECT org_id, bucket_start, by_client, label,
       bool_or(pending) AS pending,
       coalesce(sum(events) FILTER (WHERE status = 'success' AND NOT pending), 0)::bigint AS successes,
       coalesce(sum(events) FILTER (WHERE status = 'error' AND NOT pending), 0)::bigint AS errors,
       coalesce(sum(events) FILTER (WHERE status = 'timeout' AND NOT pending), 0)::bigint AS timeouts,
       coalesce(sum(events) FILTER (WHERE status = 'throttled' AND NOT pending), 0)::bigint AS throttled,
       array_agg(latency_bucket) FILTER (WHERE NOT pending) AS latency_buckets,
       array_agg(events) FILTER (WHERE NOT pending) AS latency_counts
FROM counted
GROUP BY 1, 2, 3, 4
ORDER BY 1, 2, 3, label COLLATE "C"
