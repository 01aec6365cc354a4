-- The ids that values have. $1 orgs, $2 dimensions, $3 values, side by side
SELECT w.org_id, w.dimension, w.value, v.value_id
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w (org_id, dimension, value)
     CROSS JOIN LATERAL (
         SELECT value_id FROM analytics.attribution_values AS v
         WHERE v.org_id = w.org_id AND v.dimension = w.dimension AND v.value = w.value COLLATE "C"
         -- Kept apart: each is one look into the index, however many they are.
         OFFSET 0
     ) AS v
