-- Moves a partition's watermark forward, never ahead of the database's clock. $4: the epoch in which the partition is
-- caught up; then nothing may be pending, and a process that has lost the partition may not say so.
INSERT INTO analytics.partition_watermarks AS w (stream, partition, watermark)
SELECT $1, $2, least($3, clock_timestamp())
WHERE $4::bigint IS NULL
   OR (NOT EXISTS (SELECT FROM analytics.rollup_pending WHERE stream = $1 AND partition = $2)
       AND EXISTS (SELECT FROM analytics.partition_offsets WHERE stream = $1 AND partition = $2 AND epoch = $4))
ON CONFLICT (stream, partition) DO UPDATE SET watermark = greatest(w.watermark, excluded.watermark)
RETURNING watermark
