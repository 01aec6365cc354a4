-- Where the chain of a partition's rows is broken: each has to begin where the one before ended, the first at 0.
-- $1 start and $2 end of the commits, $3 most rows
WITH link AS (
    SELECT stream, partition, incarnation, first_offset,
           lag(next_offset) OVER (PARTITION BY stream, incarnation, partition ORDER BY first_offset) AS before
    FROM analytics.ingestion_batches
    WHERE kind IN ('live', 'gap', 'unread', 'fold') AND completed_at >= $1 AND completed_at < $2
),
expected AS (
    SELECT stream, partition, incarnation, first_offset AS begins,
           -- Of the first row looked at: the one before it was committed earlier.
           coalesce(before, (
               SELECT b.next_offset FROM analytics.ingestion_batches b
               WHERE b.stream = link.stream AND b.incarnation = link.incarnation AND b.partition = link.partition
                 AND b.first_offset < link.first_offset AND b.kind NOT IN ('replay', 'repair')
               ORDER BY b.first_offset DESC LIMIT 1), 0) AS ends
    FROM link
)
SELECT stream, partition, incarnation, ends, begins, count(*) OVER () AS differing
FROM expected
WHERE ends <> begins
ORDER BY stream, incarnation, begins
LIMIT $3
