-- Sessions that are presented, of those that have not ended: by their time, by not being used, or with the API key that they stand
-- for. A use is noted where the last one was longer ago than is exact enough.
-- Of each $1 hash, $2 port, $3 whether it is a use; $4 longest time without use, $5 how exactly a use is noted, both in milliseconds
WITH found AS (
    SELECT s.session_sha256, s.port, s.subject, s.credential, s.key_id, s.org_ids, s.roles, s.expires_at, s.used_at, p.is_use
    FROM unnest($1::bytea[], $2::text[], $3::boolean[]) AS p (session_sha256, port, is_use)
    JOIN analytics.console_sessions s USING (session_sha256, port)
    LEFT JOIN analytics.api_keys k ON k.key_id = s.key_id
    WHERE s.expires_at > clock_timestamp()
      AND s.used_at > clock_timestamp() - $4 * interval '1 millisecond'
      AND (s.key_id IS NULL
           OR (k.key_id IS NOT NULL AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())))
),
used AS (
    UPDATE analytics.console_sessions AS s SET used_at = clock_timestamp()
    FROM found
    WHERE s.session_sha256 = found.session_sha256 AND found.is_use
      AND found.used_at < clock_timestamp() - $5 * interval '1 millisecond'
)
SELECT session_sha256, port, subject, credential, key_id, org_ids, roles, expires_at FROM found
