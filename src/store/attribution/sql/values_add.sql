-- Adds new values with their ids, and notes the id that the next one of each dictionary gets.
-- $1 orgs, $2 dimensions, $3 values, $4 ids, side by side
WITH added AS (
    INSERT INTO analytics.attribution_values (org_id, dimension, value, value_id)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::integer[])
    RETURNING org_id, dimension, value_id
)
INSERT INTO analytics.attribution_dictionaries AS d (org_id, dimension, next_id)
SELECT org_id, dimension, max(value_id) + 1 FROM added GROUP BY 1, 2 ORDER BY 1, 2
ON CONFLICT (org_id, dimension) DO UPDATE SET next_id = greatest(d.next_id, excluded.next_id)
