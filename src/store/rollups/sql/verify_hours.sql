-- Hours of the ledger that are not the sums of the batches that were committed in them. What is not merged yet is in
-- neither; hours whose batches were folded, and those that were purged of an org, are left out.
-- $1 start and $2 end of the commits, both on the hour, $3 most rows
WITH folded AS (
    SELECT greatest(
        (SELECT max(completed_at) FROM analytics.ingestion_batches WHERE kind = 'fold'),
        (SELECT max(floor_at) FROM analytics.retention_floors WHERE kind = 'ledger'), '-infinity') AS at
),
batches AS (
    SELECT date_trunc('hour', completed_at, 'UTC') AS hour,
           sum(received)::bigint AS received, sum(stored)::bigint AS stored, sum(duplicates)::bigint AS duplicates,
           sum(conflicts)::bigint AS conflicts, sum(rejected)::bigint AS rejected, sum(late)::bigint AS late
    FROM analytics.ingestion_batches
    WHERE completed_at >= $1 AND completed_at < $2 AND kind IN ('live', 'replay')
      AND batch_id <> ALL (ARRAY(SELECT batch_id FROM analytics.rollup_pending))
    GROUP BY 1
    HAVING sum(received) > 0
),
hours AS (
    SELECT hour,
           sum(received)::bigint AS received, sum(stored)::bigint AS stored, sum(duplicates)::bigint AS duplicates,
           sum(conflicts)::bigint AS conflicts, sum(rejected)::bigint AS rejected, sum(late)::bigint AS late
    FROM analytics.ledger_hourly
    WHERE hour >= $1 AND hour < $2
    GROUP BY 1
)
SELECT hour,
       format('%s received, %s stored, %s duplicates (%s conflicts), %s rejected, %s late', coalesce(b.received, 0),
              coalesce(b.stored, 0), coalesce(b.duplicates, 0), coalesce(b.conflicts, 0), coalesce(b.rejected, 0),
              coalesce(b.late, 0)) AS batches,
       format('%s received, %s stored, %s duplicates (%s conflicts), %s rejected, %s late', coalesce(h.received, 0),
              coalesce(h.stored, 0), coalesce(h.duplicates, 0), coalesce(h.conflicts, 0), coalesce(h.rejected, 0),
              coalesce(h.late, 0)) AS hours,
       count(*) OVER () AS differing
FROM batches b FULL JOIN hours h USING (hour)
WHERE hour > (SELECT at FROM folded) AND ROW (b.*) IS DISTINCT FROM ROW (h.*)
ORDER BY hour
LIMIT $3
