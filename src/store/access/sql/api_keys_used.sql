-- When keys were last used. Only forward: other processes write here too.
-- $1 ids, $2 how long ago each was used, in milliseconds
UPDATE analytics.api_keys AS k
SET last_used_at = used.at
FROM (SELECT key_id, clock_timestamp() - age_ms * interval '1 millisecond' AS at
      FROM unnest($1::uuid[], $2::bigint[]) AS u (key_id, age_ms)) AS used
WHERE k.key_id = used.key_id AND (k.last_used_at IS NULL OR k.last_used_at < used.at)
