-- Adds parts as those that others are put together into. $1 orgs, $2 sets, $3 units, $4 starts of buckets, $5 packed sums, side by side
INSERT INTO analytics.attribution_parts (org_id, set_id, unit, bucket_start, part_no, packed)
SELECT org_id, set_id, unit::analytics.attribution_unit, bucket_start, 0, packed
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::timestamptz[], $5::bytea[])
     AS p (org_id, set_id, unit, bucket_start, packed)
