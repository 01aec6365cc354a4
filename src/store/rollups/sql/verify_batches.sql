-- Batches that have other raw events than the ledger says. Each part of what was counted is of one day.
-- $1 start and $2 end of the commits, $3 most rows
SELECT b.batch_id, b.stream, b.partition, b.incarnation, b.first_offset, b.next_offset, b.stored, b.purged,
       coalesce(r.events, 0)::bigint AS raw, count(*) OVER () AS differing
FROM analytics.ingestion_batches b
     LEFT JOIN (SELECT batch_id, sum(events) AS events FROM pg_temp.counted_batches GROUP BY batch_id) r USING (batch_id)
WHERE b.completed_at >= $1 AND b.completed_at < $2
  -- A repair puts rows back under the batch that had them first.
  AND b.kind <> 'repair'
  AND coalesce(r.events, 0) <> b.stored - b.purged
ORDER BY b.completed_at, b.batch_id
LIMIT $3
