-- Partitions with pending rows that no other process merges: those of a process, which may not run, and those that no
-- living process holds, when they have waited for a while.
-- $1 the process
-- From one partition to the next by the index: the queue may be long, and is full of rows that were merged and not yet vacuumed.
WITH RECURSIVE pending AS (
    (SELECT stream, partition, committed_at AS since FROM analytics.rollup_pending
     ORDER BY stream, partition, commit_no LIMIT 1)
    UNION ALL
    SELECT next.stream, next.partition, next.committed_at
    FROM pending CROSS JOIN LATERAL (
        SELECT stream, partition, committed_at FROM analytics.rollup_pending p
        WHERE (p.stream, p.partition) > (pending.stream, pending.partition)
        ORDER BY stream, partition, commit_no LIMIT 1) AS next
)
SELECT pending.stream, pending.partition, o.owner IS NOT DISTINCT FROM $1 AS ours
FROM pending
     LEFT JOIN analytics.partition_offsets o USING (stream, partition)
     LEFT JOIN analytics.processes p ON p.process_id = o.owner AND p.expires_at > clock_timestamp()
WHERE o.owner = $1 OR (p.process_id IS NULL AND since < clock_timestamp() - INTERVAL '30 seconds')
ORDER BY 1
