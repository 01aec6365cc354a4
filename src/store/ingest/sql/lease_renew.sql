-- Renews a process's row, or makes it. Its number, given once, orders processes and names its lock; numbers are not
-- spent by renewals, as an upsert would.
-- $1 id, $2 stream, $3 name, $4 how long the lease lasts, $5 the newest migration that the build knows
WITH renewed AS (
    UPDATE analytics.processes SET expires_at = clock_timestamp() + $4 WHERE process_id = $1 RETURNING lock_no
),
begun AS (
    INSERT INTO analytics.processes (process_id, stream, name, expires_at, newest_migration)
    SELECT $1, $2, $3, clock_timestamp() + $4, $5 WHERE NOT EXISTS (SELECT FROM renewed)
    RETURNING lock_no
)
SELECT lock_no FROM renewed UNION ALL SELECT lock_no FROM begun
