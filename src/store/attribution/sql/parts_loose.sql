-- Buckets of a set that have parts which are not put together yet. $1 set, $2 starts up to, $3 most buckets
SELECT DISTINCT org_id, unit::text, bucket_start
FROM analytics.attribution_parts
WHERE set_id = $1 AND part_no > 0 AND bucket_start <= $2
LIMIT $3
