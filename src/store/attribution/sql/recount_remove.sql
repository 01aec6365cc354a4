-- Deletes what a set has of a day: parts of its hours and of itself, and its known keys. Returns the orgs that had any.
-- $1 start, $2 end, $3 org (null: all), $4 orgs to leave out, $5 set
WITH keys AS (
    DELETE FROM analytics.attribution_keys
    WHERE set_id = $5 AND day = $1 AND ($3::uuid IS NULL OR org_id = $3) AND org_id <> ALL ($4::uuid[])
),
gone AS (
    DELETE FROM analytics.attribution_parts
    WHERE set_id = $5 AND unit IN ('hour', 'day') AND bucket_start >= $1 AND bucket_start < $2
      AND ($3::uuid IS NULL OR org_id = $3) AND org_id <> ALL ($4::uuid[])
    RETURNING org_id
)
SELECT DISTINCT org_id FROM gone
