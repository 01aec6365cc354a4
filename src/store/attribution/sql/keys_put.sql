-- Puts the keys that have names. $1 orgs, $2 sets, $3 days, $4 packed keys, side by side
INSERT INTO analytics.attribution_keys (org_id, set_id, day, packed)
SELECT * FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::bytea[])
ON CONFLICT (org_id, set_id, day) DO UPDATE SET packed = excluded.packed
