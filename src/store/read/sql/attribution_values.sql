-- Values of an org in a dimension that begin so, in the order of bytes.
-- $1 org, $2 dimension, $3 what they begin with, $4 most rows
SELECT value FROM analytics.attribution_values
WHERE org_id = $1 AND dimension = $2 AND value >= $3 COLLATE "C" AND starts_with(value, $3)
ORDER BY value
LIMIT $4
