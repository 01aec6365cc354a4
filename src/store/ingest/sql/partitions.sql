-- Progress, owner, lag and recent ledger of each partition: since the hour before this one began, so that two looks within an hour are
-- of the same time. $1 streams
WITH since AS (
    SELECT date_trunc('hour', clock_timestamp(), 'UTC') - interval '1 hour' AS at
),
ledger AS (
    SELECT b.stream, b.partition, sum(b.received)::bigint AS received, sum(b.stored)::bigint AS stored,
           sum(b.duplicates)::bigint AS duplicates, sum(b.rejected)::bigint AS rejected
    FROM since, analytics.ingestion_batches b
    WHERE b.completed_at >= since.at AND b.stream = ANY($1)
    GROUP BY b.stream, b.partition
)
SELECT o.partition, o.stream, o.incarnation, o.epoch, o.next_offset, o.owner, p.name AS owner_name,
       coalesce(p.expires_at >= clock_timestamp(), false) AS leased, w.watermark,
       extract(epoch FROM clock_timestamp() - w.watermark)::double precision AS lag_seconds,
       since.at AS ledger_since, coalesce(l.received, 0) AS received, coalesce(l.stored, 0) AS stored,
       coalesce(l.duplicates, 0) AS duplicates, coalesce(l.rejected, 0) AS rejected
FROM since, analytics.partition_offsets o
LEFT JOIN analytics.processes p ON p.process_id = o.owner
LEFT JOIN analytics.partition_watermarks w ON w.stream = o.stream AND w.partition = o.partition
LEFT JOIN ledger l ON l.stream = o.stream AND l.partition = o.partition
WHERE o.stream = ANY($1)
ORDER BY o.partition
