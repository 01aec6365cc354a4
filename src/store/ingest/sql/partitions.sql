-- Progress, owner and lag of each partition. $1 streams
SELECT o.partition, o.stream, o.incarnation, o.epoch, o.next_offset, o.owner, p.name AS owner_name,
       coalesce(p.expires_at >= clock_timestamp(), false) AS leased, w.watermark,
       extract(epoch FROM clock_timestamp() - w.watermark)::double precision AS lag_seconds
FROM analytics.partition_offsets o
LEFT JOIN analytics.processes p ON p.process_id = o.owner
LEFT JOIN analytics.partition_watermarks w ON w.stream = o.stream AND w.partition = o.partition
WHERE o.stream = ANY($1)
ORDER BY o.partition
