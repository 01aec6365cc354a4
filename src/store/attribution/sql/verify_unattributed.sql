-- Aggregates of batches that were committed without attribution: not merged yet, or their hours not counted yet.
-- $1 the last batch that was read, $2 most rows
SELECT batch_id, aggregates
FROM (SELECT batch_id, aggregates FROM analytics.rollup_pending WHERE NOT attributed
      UNION ALL
      SELECT batch_id, aggregates FROM analytics.attribution_unattributed) AS unattributed
WHERE batch_id > $1
ORDER BY batch_id
LIMIT $2
