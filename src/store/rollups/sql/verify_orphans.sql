-- Raw events whose batch the ledger does not know. $1 most rows
SELECT batch_id, sum(events)::bigint AS raw, count(*) OVER () AS differing
FROM pg_temp.counted_batches
WHERE NOT EXISTS (SELECT FROM analytics.ingestion_batches b WHERE b.batch_id = counted_batches.batch_id)
GROUP BY batch_id
ORDER BY batch_id
LIMIT $1
