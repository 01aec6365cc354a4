-- Takes the oldest pending rows of a partition, in the order of their commits, with what has to be known to merge them: up to
-- where hours and days may be materialised, read under the lock that a refresh waits for.
-- $1 stream, $2 partition, $3 most rows, $4 most bytes: the row that reaches them is the last
DELETE FROM analytics.rollup_pending AS p
-- An array, so that each row is found by its key: joined, all pages of the table would be read, which are full of merged rows.
WHERE batch_id = ANY (ARRAY(
    SELECT batch_id FROM (
        SELECT batch_id, sum(octet_length(aggregates)) OVER (ORDER BY commit_no) - octet_length(aggregates) AS before
        FROM (SELECT batch_id, commit_no, aggregates FROM analytics.rollup_pending WHERE stream = $1 AND partition = $2
              ORDER BY commit_no LIMIT $3 FOR UPDATE) AS oldest) AS sized
    WHERE before < $4))
RETURNING committed_at, aggregates, traceparent,
          coalesce((SELECT kind = 'replay' FROM analytics.ingestion_batches b WHERE b.batch_id = p.batch_id), false)
              AS replayed,
          (SELECT hourly_to FROM analytics.rollup_engine WHERE engine = 'continuous') AS hourly_to,
          (SELECT daily_to FROM analytics.rollup_engine WHERE engine = 'continuous') AS daily_to
