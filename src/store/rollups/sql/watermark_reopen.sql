-- Has hours that only a clock which stood ahead has closed count as open again: those that have not begun. An hour that has begun
-- stays closed until it is final by itself, since a response may have said that it was.
-- $1 stream that they are partitions of, also those of earlier layouts; $2 so long after its end an hour is final
WITH bound AS (
    SELECT date_trunc('hour', clock_timestamp(), 'UTC') + INTERVAL '1 hour' + $2 AS told_to
),
-- In the order in which merges lock them.
ahead AS (
    SELECT stream, partition, w.told_to
    FROM analytics.partition_watermarks w, bound
    WHERE (stream = $1 OR starts_with(stream, $1 || '-')) AND w.told_to > bound.told_to
    ORDER BY stream
    FOR NO KEY UPDATE OF w
),
partitions AS (
    UPDATE analytics.partition_watermarks w SET told_to = bound.told_to
    FROM ahead, bound
    WHERE w.stream = ahead.stream AND w.partition = ahead.partition
    RETURNING w.stream, ahead.told_to AS before
),
layouts AS (
    SELECT stream, l.told_to AS before FROM analytics.stream_layouts l, bound
    WHERE stream = $1 AND l.told_to > bound.told_to
    FOR NO KEY UPDATE OF l
),
layout AS (
    UPDATE analytics.stream_layouts l SET told_to = bound.told_to FROM layouts, bound WHERE l.stream = layouts.stream
    RETURNING layouts.stream, layouts.before
)
SELECT stream, max(before) AS closed_to, (SELECT told_to FROM bound) AS now_to
FROM (SELECT * FROM partitions UNION ALL SELECT * FROM layout) AS changed
GROUP BY stream
ORDER BY stream
