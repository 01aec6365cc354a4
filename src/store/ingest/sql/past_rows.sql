-- The rows of the ledger that took messages of a range of offsets in: live ones first, then replays that stored something.
-- $1 stream, $2 incarnation, $3 partition, $4 first offset, $5 behind the last
SELECT batch_id, first_offset, next_offset, stored, purged, duplicates
FROM (
    SELECT *, 0 AS turn FROM analytics.ingestion_batches
    WHERE stream = $1 AND incarnation = $2 AND partition = $3
      -- As the index of the chain has it. A folded row is part of it, and nothing of it is left; a gap or what is unread took nothing in.
      AND kind NOT IN ('replay', 'repair') AND kind NOT IN ('gap', 'unread')
      AND first_offset < $5
      -- Rows of the chain do not overlap: from the one that the range begins in.
      AND first_offset >= coalesce((
          SELECT max(first_offset) FROM analytics.ingestion_batches
          WHERE stream = $1 AND incarnation = $2 AND partition = $3 AND kind NOT IN ('replay', 'repair')
            AND first_offset <= $4), 0)
    UNION ALL
    SELECT *, 1 AS turn FROM analytics.ingestion_batches
    WHERE stream = $1 AND incarnation = $2 AND partition = $3
      AND kind = 'replay' AND stored > 0 AND first_offset < $5 AND next_offset > $4
) AS took_in
ORDER BY turn, first_offset, completed_at
