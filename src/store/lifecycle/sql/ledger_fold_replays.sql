-- Adds old rows of ranges that were read again to the fold of their partition, if it has one: they are no links of the chain.
-- How many went.
-- $1, $2, $3 stream, incarnation and partition; $4 the moment; $5 most rows
WITH gone AS (
    DELETE FROM analytics.ingestion_batches WHERE batch_id IN (
        SELECT batch_id FROM analytics.ingestion_batches
        WHERE stream = $1 AND incarnation = $2 AND partition = $3 AND kind = 'replay' AND completed_at < $4
          AND purged = stored
          AND EXISTS (SELECT FROM analytics.ingestion_batches
                      WHERE stream = $1 AND incarnation = $2 AND partition = $3 AND kind = 'fold')
        LIMIT $5)
    RETURNING *
),
sums AS (
    SELECT count(*) AS batches, sum(received) AS received, sum(stored) AS stored, sum(duplicates) AS duplicates,
           sum(conflicts) AS conflicts, sum(rejected) AS rejected, sum(late) AS late, max(orgs) AS orgs,
           min(occurred_from) AS occurred_from, max(occurred_to) AS occurred_to, sum(retries) AS retries,
           min(started_at) AS started_at, max(completed_at) AS completed_at, sum(purged) AS purged
    FROM gone HAVING count(*) > 0
)
UPDATE analytics.ingestion_batches f SET
    received = f.received + sums.received,
    stored = f.stored + sums.stored,
    duplicates = f.duplicates + sums.duplicates,
    conflicts = f.conflicts + sums.conflicts,
    rejected = f.rejected + sums.rejected,
    late = f.late + sums.late,
    purged = f.purged + sums.purged,
    orgs = greatest(f.orgs, sums.orgs),
    occurred_from = least(f.occurred_from, sums.occurred_from),
    occurred_to = greatest(f.occurred_to, sums.occurred_to),
    retries = least(f.retries + sums.retries, 2147483647),
    started_at = least(f.started_at, sums.started_at),
    completed_at = greatest(f.completed_at, sums.completed_at)
FROM sums
WHERE f.stream = $1 AND f.incarnation = $2 AND f.partition = $3 AND f.kind = 'fold'
RETURNING sums.batches
