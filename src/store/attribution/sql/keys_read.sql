-- The keys that have names. $1 orgs, $2 sets, $3 days, side by side
SELECT k.org_id, k.set_id, k.day, k.packed
FROM unnest($1::uuid[], $2::integer[], $3::timestamptz[]) AS w (org_id, set_id, day)
     JOIN analytics.attribution_keys AS k USING (org_id, set_id, day)
