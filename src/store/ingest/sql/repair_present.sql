-- How many of the events at hand raw events have under the id of a batch: what it stored of them and is still there.
-- $1, $2, $3 org, event and moment of each; $4 the batch; $5, $6 the first and the last moment: constants for the
-- planner, so that it opens only the chunks that matter.
SELECT count(*)
FROM (SELECT DISTINCT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[])) AS k (org_id, event_id, occurred_at)
-- One index probe an event; a join would leave the planner the choice to read a whole chunk.
CROSS JOIN LATERAL (
    SELECT FROM analytics.usage_events e
    WHERE e.org_id = k.org_id AND e.event_id = k.event_id AND e.occurred_at = k.occurred_at
      AND e.occurred_at BETWEEN $5 AND $6 AND e.batch_id = $4
    LIMIT 1
) AS u
