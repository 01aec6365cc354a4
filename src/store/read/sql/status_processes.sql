-- Processes of a stream that live, or did until an hour ago, and the partitions that each has.
-- $1 stream, $2 streams of its partitions
SELECT p.name, p.newest_migration, p.started_at, p.expires_at >= clock_timestamp() AS leased,
       ARRAY(SELECT o.partition FROM analytics.partition_offsets o
             WHERE o.owner = p.process_id AND o.stream = ANY ($2) ORDER BY o.partition) AS partitions
FROM analytics.processes p
WHERE p.stream = $1 AND p.expires_at > clock_timestamp() - INTERVAL '1 hour'
ORDER BY p.lock_no
