-- Jobs whose files are to be deleted, the longest over first, with what may be deleted. Not of a month of which another
-- version is being made: that one may take this one's place, or be the same.
-- $1 most rows, $2 only this job (null: all)
SELECT job_id, org_id, kind, bucket, object_key, month, revision,
       -- A month that came out the same again has the file of the version before.
       EXISTS (SELECT FROM analytics.export_jobs o
               WHERE o.org_id = j.org_id AND o.object_key = j.object_key AND o.month = j.month AND o.status = 'succeeded'
                 AND o.bucket IS NOT DISTINCT FROM j.bucket
                 AND o.expires_at > clock_timestamp()) AS shared,
       NOT EXISTS (SELECT FROM analytics.export_jobs o
                   WHERE o.org_id = j.org_id AND o.month = j.month AND o.revision > j.revision
                     AND o.status = 'succeeded' AND o.bucket IS NOT DISTINCT FROM j.bucket) AS newest
FROM analytics.export_jobs j
WHERE status = 'succeeded' AND expires_at <= clock_timestamp() AND ($2::uuid IS NULL OR job_id = $2)
  AND NOT EXISTS (SELECT FROM analytics.export_jobs o
                  WHERE o.org_id = j.org_id AND o.month = j.month AND o.status IN ('pending', 'running'))
ORDER BY expires_at
LIMIT $1
