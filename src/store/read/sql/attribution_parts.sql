-- Parts of buckets that follow each other. $1 org, $2 set, $3 units, $4 starts, $5 ends, side by side
SELECT p.bucket_start, p.packed
FROM unnest($3::text[], $4::timestamptz[], $5::timestamptz[]) AS piece (unit, starts, ends)
     CROSS JOIN LATERAL (
         SELECT bucket_start, packed FROM analytics.attribution_parts
         WHERE org_id = $1 AND set_id = $2 AND unit = piece.unit::analytics.attribution_unit
           AND bucket_start >= piece.starts AND bucket_start < piece.ends
         -- Kept apart: each piece is one look into the index.
         OFFSET 0
     ) AS p
