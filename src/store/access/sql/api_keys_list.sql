-- A page of an org's API keys, newest first: ids are in the order of time.
-- $1 org, $2 only these, $3 older than this one (both may be null), $4 most rows
SELECT key_id, org_id, name, role, created_at, created_by, parent_id, expires_at, revoked_at, revoked_by, last_used_at,
       coalesce(expires_at <= clock_timestamp(), false) AS expired
FROM analytics.api_keys
WHERE org_id = $1
  AND ($2::uuid[] IS NULL OR key_id = ANY ($2))
  AND ($3::uuid IS NULL OR key_id < $3)
ORDER BY org_id DESC, key_id DESC
LIMIT $4
