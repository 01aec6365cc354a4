-- Deletes an org's events of a day, and adds them to `purged` of their batches. Returns how many.
-- $1 org, $2 from, $3 to: constants for the planner, so that it opens only this chunk
WITH gone AS (
    DELETE FROM analytics.usage_events WHERE org_id = $1 AND occurred_at >= $2 AND occurred_at < $3
    RETURNING batch_id
),
counted AS (
    SELECT batch_id, count(*) AS n FROM gone GROUP BY batch_id
),
-- Never more than was stored, even if rows were put there by hand: that must not keep the day for ever.
noted AS (
    UPDATE analytics.ingestion_batches b SET purged = least(b.stored, b.purged + counted.n) FROM counted
    WHERE b.batch_id = counted.batch_id
)
SELECT coalesce(sum(n), 0)::bigint FROM counted
