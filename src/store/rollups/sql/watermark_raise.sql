-- Moves a partition's watermark forward, never ahead of the database's clock. One that lies ahead of the clock is known to be
-- wrong: what was merged last, or is proved, takes its place.
-- $1 stream, $2 partition, $3 moment; $4 the epoch and $5 the next offset in which the partition is caught up, or null: then
-- nothing may be pending, and a process that has lost the partition, or whose last commits the database has lost, may not
-- say so.
INSERT INTO analytics.partition_watermarks AS w (stream, partition, watermark, told_to)
SELECT $1, $2, moment, moment
FROM (SELECT least($3, clock_timestamp()) AS moment) AS m
WHERE $4::bigint IS NULL
   OR (NOT EXISTS (SELECT FROM analytics.rollup_pending WHERE stream = $1 AND partition = $2)
       AND EXISTS (SELECT FROM analytics.partition_offsets
                   WHERE stream = $1 AND partition = $2 AND epoch = $4 AND next_offset = $5))
ON CONFLICT (stream, partition) DO UPDATE SET
    watermark = CASE WHEN w.watermark > clock_timestamp() THEN excluded.watermark
                     ELSE greatest(w.watermark, excluded.watermark) END,
    told_to = greatest(w.told_to, w.watermark, excluded.watermark)
RETURNING watermark
