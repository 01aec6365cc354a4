-- Deletes a piece of the old supervision log. Returns how many rows.
-- $1 the moment, $2 the first id that is certainly younger, $3 most rows
WITH old AS (
    SELECT event_id FROM analytics.supervision_events
    -- Ids are in the order of time: no look at all that is younger.
    WHERE event_id < $2 AND occurred_at < $1
    ORDER BY event_id LIMIT $3
),
gone AS (
    DELETE FROM analytics.supervision_events WHERE event_id IN (SELECT event_id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
