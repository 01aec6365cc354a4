-- The rows that a merge will write, locked, in the order of the keys: the number of the key, from 1, and the histogram.
-- $1 orgs, $2 buckets, $3 models
SELECT k.n, r.latency_histogram
FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) WITH ORDINALITY AS k (org_id, bucket_start, model_id, n)
JOIN analytics.{unit}_rollups r USING (org_id, bucket_start, model_id)
ORDER BY k.n
FOR UPDATE OF r
