-- A page of an org's export jobs, newest first: ids are in the order of time.
-- $1 org, $2 only this one, $3 only of this status, $4 older than this one (each may be null), $5 most rows
SELECT *
FROM analytics.export_jobs
WHERE org_id = $1
  AND ($2::uuid IS NULL OR job_id = $2)
  AND ($3::text IS NULL OR status = $3)
  AND ($4::uuid IS NULL OR job_id < $4)
ORDER BY org_id DESC, job_id DESC
LIMIT $5
