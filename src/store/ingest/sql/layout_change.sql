-- Changes how many partitions a stream has. What responses said of the old ones stays known: orgs move to streams whose
-- watermarks are new, and a change of what was final is a revision there too.
-- $1 stream, $2 number of partitions, $3 who did it, $4 the streams of the old partitions
WITH forgotten AS (
    DELETE FROM analytics.misrouted_orgs WHERE stream = ANY ($4) OR home = ANY ($4)
)
UPDATE analytics.stream_layouts SET
    partitions = $2,
    changed_by = $3,
    changed_at = clock_timestamp(),
    told_to = greatest(told_to, (SELECT max(greatest(watermark, w.told_to)) FROM analytics.partition_watermarks w
                                 WHERE w.stream = ANY ($4)))
WHERE stream = $1
