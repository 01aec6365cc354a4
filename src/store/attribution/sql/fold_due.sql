-- Partitions that were not folded for so long. $1 how long
SELECT stream, partition
FROM (SELECT stream, partition FROM analytics.partition_watermarks
      UNION SELECT stream, partition FROM analytics.partition_offsets) AS known
     LEFT JOIN analytics.attribution_watermarks USING (stream, partition)
WHERE folded_at IS NULL OR folded_at < clock_timestamp() - $1 OR folded_at > clock_timestamp()
ORDER BY 1, 2
