-- Creates a key. One that is there was created by an attempt whose response was lost, and is the same.
-- $1 id, $2 org, $3 role, $4 name, $5 hash of the secret, $6 who, $7 expiry or null, $8 the key that it is made with or null,
-- $9 Idempotency-Key and $10 hash of the request, or null
INSERT INTO analytics.api_keys
       (key_id, org_id, role, name, secret_sha256, created_by, expires_at, parent_id, idempotency_key, request_sha256)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (key_id) DO NOTHING
