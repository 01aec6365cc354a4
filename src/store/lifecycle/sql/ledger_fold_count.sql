-- How many rows of a partition would be folded: see ledger_fold.sql and ledger_fold_replays.sql.
-- $1, $2, $3 stream, incarnation and partition; $4 the moment
WITH stop AS (
    SELECT min(first_offset) AS at FROM analytics.ingestion_batches
    WHERE stream = $1 AND incarnation = $2 AND partition = $3 AND kind NOT IN ('replay', 'repair', 'fold')
      AND NOT (purged = stored AND completed_at < $4 AND NOT EXISTS (
          SELECT FROM analytics.unread_ranges u
          WHERE u.batch_id = ingestion_batches.batch_id AND u.acknowledged_at IS NULL))
),
chain AS (
    SELECT count(*) FILTER (WHERE kind <> 'fold') AS live, count(*) AS rows
    FROM analytics.ingestion_batches b, stop
    WHERE b.stream = $1 AND b.incarnation = $2 AND b.partition = $3 AND b.kind NOT IN ('replay', 'repair')
      AND (stop.at IS NULL OR b.first_offset < stop.at)
)
SELECT chain.live + CASE WHEN chain.rows = 0 THEN 0 ELSE (
           SELECT count(*) FROM analytics.ingestion_batches
           WHERE stream = $1 AND incarnation = $2 AND partition = $3 AND kind = 'replay' AND completed_at < $4
             AND purged = stored) END
FROM chain
