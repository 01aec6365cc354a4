-- A job's end, with what came out; while the claim holds.
-- $1 job, $2 claim, $3 key, $4 revision, $5 checksum, $6 bytes, $7 rows, $8 invocations, $9 errors, $10 tokens in, $11 and
-- out, $12 cost, $13 complete up to, $14 when it was read, $15 revisions in it, $16 the last of them, $17 how long files are
-- kept where the org has no retention of its own, $18 a job whose file it is (null: it has made its own)
UPDATE analytics.export_jobs j
SET status = 'succeeded', claim_id = NULL, upload_id = NULL, upload_key = NULL, error = NULL, completed_at = ended.at,
    expires_at = ended.at + coalesce(
        (SELECT make_interval(days => export_days) FROM analytics.org_settings s WHERE s.org_id = j.org_id), $17),
    object_key = $3, revision = $4, checksum = $5, bytes = $6, row_count = $7, invocations = $8, errors = $9,
    input_tokens = $10, output_tokens = $11, cost_cents = $12, as_of = $13, snapshot_at = $14, revisions = $15,
    last_revision_id = $16
FROM (SELECT clock_timestamp() AS at) AS ended
WHERE job_id = $1 AND claim_id = $2 AND status = 'running'
  -- With some time to go: a file that is about to be deleted is no file.
  AND ($18::uuid IS NULL OR EXISTS (
      SELECT FROM analytics.export_jobs o
      WHERE o.job_id = $18 AND o.org_id = j.org_id AND o.month = j.month AND o.object_key = $3 AND o.checksum = $5
        AND o.status = 'succeeded' AND o.expires_at > clock_timestamp() + INTERVAL '1 hour'))
RETURNING j.*
