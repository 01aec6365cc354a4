-- Takes batches of a partition that were committed without what they add. $1 stream, $2 partition, $3 most rows
DELETE FROM analytics.attribution_unattributed
WHERE batch_id = ANY (ARRAY(
    SELECT batch_id FROM analytics.attribution_unattributed WHERE stream = $1 AND partition = $2 LIMIT $3 FOR UPDATE))
RETURNING aggregates
