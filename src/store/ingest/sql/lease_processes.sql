-- All processes of a stream, and whether each lives: its session holds its lock, its row has not expired.
-- $1 first half of their locks, $2 stream
SELECT p.process_id, p.lock_no,
       EXISTS (
           SELECT FROM pg_locks l
           -- A lock of two halves, in this database; granted, not waited for.
           WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
             AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND l.classid::bigint = $1 AND l.objid::bigint = p.lock_no
       ) AS locked,
       p.expires_at < clock_timestamp() AS expired
FROM analytics.processes p
WHERE p.stream = $2
ORDER BY p.lock_no
