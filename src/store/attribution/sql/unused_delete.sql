-- Deletes values that are not used, at most so many, and notes that there is room for as many. How many it were.
-- $1 org, $2 dimension, $3 ids that are used, $4 most values
WITH gone AS (
    DELETE FROM analytics.attribution_values
    WHERE org_id = $1 AND dimension = $2
      AND value_id = ANY (ARRAY(
          SELECT value_id FROM analytics.attribution_values
          WHERE org_id = $1 AND dimension = $2 AND value_id <> ALL ($3::integer[]) LIMIT $4))
    RETURNING value_id
), freed AS (
    UPDATE analytics.attribution_dictionaries SET freed = freed + (SELECT count(*)::integer FROM gone)
    WHERE org_id = $1 AND dimension = $2 AND EXISTS (SELECT FROM gone)
)
SELECT count(*) FROM gone
