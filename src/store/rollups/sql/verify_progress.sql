-- Partitions that read on elsewhere than where their ledger ends. $1 most rows
SELECT o.stream, o.partition, coalesce(l.next_offset, 0) AS ledger, o.next_offset, count(*) OVER () AS differing
FROM analytics.partition_offsets o
     LEFT JOIN LATERAL (
         SELECT next_offset FROM analytics.ingestion_batches b
         WHERE b.stream = o.stream AND b.incarnation = o.incarnation AND b.partition = o.partition
           AND b.kind NOT IN ('replay', 'repair')
         ORDER BY first_offset DESC LIMIT 1) l ON true
WHERE o.next_offset <> coalesce(l.next_offset, 0)
ORDER BY o.stream
LIMIT $1
