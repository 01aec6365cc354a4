-- Puts sums of hours that had none. One that is there was marked as changed since its raw events were counted, and stays so.
-- $1 orgs, $2 hours, $3 whether they have to be read from raw events, $4 by client, $5 by error code
INSERT INTO analytics.org_hours_by (org_id, bucket_start, changed, clients, error_codes)
SELECT org_id, bucket_start, open, clients, error_codes
FROM unnest($1::uuid[], $2::timestamptz[], $3::boolean[], $4::bytea[], $5::bytea[])
     AS s (org_id, bucket_start, open, clients, error_codes)
ORDER BY org_id, bucket_start
ON CONFLICT DO NOTHING
