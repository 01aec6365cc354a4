-- How many rows are old. Every row is looked at: this is for a dry run.
-- $1 the moment before which rows are old, $2 orgs that have another, $3 theirs
SELECT count(*)
FROM analytics.{table} r
LEFT JOIN unnest($2::uuid[], $3::timestamptz[]) AS own (org_id, before) USING (org_id)
WHERE r.org_id IS NOT NULL AND r.{at} < coalesce(own.before, $1)
