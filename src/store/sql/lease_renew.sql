-- Renews a process's row, or makes it. Its number, given once, orders processes and names its lock.
INSERT INTO analytics.processes (process_id, name, expires_at)
VALUES ($1, $2, clock_timestamp() + $3)
ON CONFLICT (process_id) DO UPDATE SET expires_at = excluded.expires_at
RETURNING lock_no
