-- Deletes raw events and adds them to `purged` of the ledger. Returns how many.
-- $1 org, $2 actor (null: all), $3 start (null: all), $4 end
WITH gone AS (
    DELETE FROM analytics.usage_events
    WHERE org_id = $1
      AND ($2::uuid IS NULL OR actor_id = $2)
      AND ($3::timestamptz IS NULL OR (occurred_at >= $3 AND occurred_at < $4))
    RETURNING batch_id
),
-- Their batches keep what they counted, and no longer claim that it is there.
counted AS (
    UPDATE analytics.ingestion_batches b SET purged = b.purged + n
    FROM (SELECT batch_id, count(*) AS n FROM gone GROUP BY batch_id) AS by_batch
    WHERE b.batch_id = by_batch.batch_id
)
SELECT count(*) FROM gone
