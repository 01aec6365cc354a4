-- Sums of hours by client and by error code, in order of org and hour.
-- $1 start, $2 end, $3 org (null: all), $4 and $5 org and hour behind which they are (null: all), $6 and $7 those up to which they are
SELECT org_id, bucket_start, changed, clients, error_codes
FROM analytics.org_hours_by
WHERE bucket_start >= $1 AND bucket_start < $2 AND ($3::uuid IS NULL OR org_id = $3)
  AND ($4::uuid IS NULL OR (org_id, bucket_start) > ($4, $5::timestamptz))
  AND ($6::uuid IS NULL OR (org_id, bucket_start) <= ($6, $7::timestamptz))
