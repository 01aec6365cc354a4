-- What waits to be merged, by partition: how many batches, since when, and whether a living process should have merged it by now.
SELECT stream, partition, count(*) AS batches, min(committed_at) AS since,
       min(committed_at) < clock_timestamp() - INTERVAL '10 minutes'
           AND EXISTS (SELECT FROM analytics.processes WHERE expires_at > clock_timestamp()) AS overdue
FROM analytics.rollup_pending
GROUP BY 1, 2
ORDER BY 1, 2
