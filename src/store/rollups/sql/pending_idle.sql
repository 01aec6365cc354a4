-- Partitions with pending rows that no other process merges: those of a process, which may not run, and those that no
-- living process holds, when they have waited for a while.
-- $1 the process
SELECT pending.stream, pending.partition, o.owner IS NOT DISTINCT FROM $1 AS ours
FROM (SELECT stream, partition, min(committed_at) AS since FROM analytics.rollup_pending GROUP BY 1, 2) AS pending
     LEFT JOIN analytics.partition_offsets o USING (stream, partition)
     LEFT JOIN analytics.processes p ON p.process_id = o.owner AND p.expires_at > clock_timestamp()
WHERE o.owner = $1 OR (p.process_id IS NULL AND since < clock_timestamp() - INTERVAL '30 seconds')
ORDER BY 1
