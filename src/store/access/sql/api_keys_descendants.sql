-- Active keys that were made with a key, or with one that was, and so on, newest first. One that is revoked may have made one
-- that is not.
-- $1 org, $2 the key
WITH RECURSIVE made AS (
    SELECT key_id FROM analytics.api_keys WHERE org_id = $1 AND parent_id = $2
    UNION
    SELECT k.key_id FROM analytics.api_keys AS k JOIN made ON k.parent_id = made.key_id WHERE k.org_id = $1
)
SELECT k.key_id
FROM analytics.api_keys AS k JOIN made USING (key_id)
WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
ORDER BY k.key_id DESC
