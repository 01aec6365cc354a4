-- Puts sums in the place of those that had changed, but for hours that have changed again since they were claimed.
-- $1 orgs, $2 hours, $3 whether they have to be read from raw events all the same, $4 by client, $5 by error code
UPDATE analytics.org_hours_by o SET changed = s.open, claimed = false, clients = s.clients, error_codes = s.error_codes
FROM unnest($1::uuid[], $2::timestamptz[], $3::boolean[], $4::bytea[], $5::bytea[])
     AS s (org_id, bucket_start, open, clients, error_codes)
WHERE o.org_id = s.org_id AND o.bucket_start = s.bucket_start AND o.claimed
