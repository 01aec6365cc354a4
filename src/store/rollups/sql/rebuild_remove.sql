-- Deletes rollups that have no raw events.
-- $1 start, $2 end, $3 org (null: all), $4 orgs to leave out
DELETE FROM analytics.{unit}_rollups AS r
WHERE bucket_start >= $1 AND bucket_start < $2
  AND ($3::uuid IS NULL OR org_id = $3)
  AND org_id <> ALL ($4::uuid[])
  AND NOT EXISTS (
      SELECT FROM pg_temp.recounted_{unit} c
      WHERE c.org_id = r.org_id AND c.bucket_start = r.bucket_start AND c.model_id = r.model_id)
