-- Begins a session, which ends when its time is over or its credential's.
-- $1 hash, $2 port, $3 subject, $4 credential, $5 API key or null, $6 orgs, $7 roles, $8 longest time in milliseconds, $9 when the
-- credential expires or null
INSERT INTO analytics.console_sessions (session_sha256, port, subject, credential, key_id, org_ids, roles, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, least(clock_timestamp() + $8 * interval '1 millisecond', $9))
