-- How many rows of a set of attribution are old. Every row is looked at: this is for a dry run.
-- $1 the moment before which rows are old, $2 orgs that have another, $3 theirs, $4 set
SELECT count(*)
FROM analytics.{table} r
LEFT JOIN unnest($2::uuid[], $3::timestamptz[]) AS own (org_id, before) USING (org_id)
WHERE r.set_id = $4 AND r.{at} < coalesce(own.before, $1)
