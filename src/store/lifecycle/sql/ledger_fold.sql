-- Folds the beginning of a chain into one row, at most so many rows at a time: those that were completed before a moment and
-- whose events are all gone, up to the first that is not so. An earlier fold, which comes first, is folded again. How many
-- rows went.
-- $1, $2, $3 stream, incarnation and partition; $4 the moment; $5 most rows
WITH first AS (
    SELECT batch_id, kind, purged, stored, completed_at, first_offset,
           -- What no operator has acknowledged stays.
           kind = 'unread' AND EXISTS (SELECT FROM analytics.unread_ranges u
                                       WHERE u.batch_id = b.batch_id AND u.acknowledged_at IS NULL) AS open
    FROM analytics.ingestion_batches b
    WHERE stream = $1 AND incarnation = $2 AND partition = $3 AND kind NOT IN ('replay', 'repair')
    -- One more for the fold, which does not count.
    ORDER BY first_offset LIMIT $5 + 1
),
judged AS (
    SELECT batch_id, kind,
           bool_and(kind = 'fold' OR (purged = stored AND completed_at < $4 AND NOT open)) OVER (ORDER BY first_offset) AS goes
    FROM first
),
gone AS (
    DELETE FROM analytics.ingestion_batches b USING judged
    WHERE b.batch_id = judged.batch_id AND judged.goes
      -- A fold alone stays what it is.
      AND EXISTS (SELECT FROM judged WHERE goes AND kind <> 'fold')
    RETURNING b.*
)
-- The sums stay what they were; the chain has no hole.
INSERT INTO analytics.ingestion_batches
       (batch_id, stream, incarnation, partition, kind, first_offset, next_offset, received, stored, duplicates, conflicts,
        rejected, late, orgs, occurred_from, occurred_to, retries, started_at, completed_at, purged)
SELECT gen_random_uuid(), $1, $2, $3, 'fold', min(first_offset), max(next_offset), sum(received), sum(stored),
       sum(duplicates), sum(conflicts), sum(rejected), sum(late), max(orgs), min(occurred_from), max(occurred_to),
       least(sum(retries), 2147483647), min(started_at), max(completed_at), sum(purged)
FROM gone
HAVING count(*) > 0
RETURNING (SELECT count(*) FROM gone WHERE kind <> 'fold')
