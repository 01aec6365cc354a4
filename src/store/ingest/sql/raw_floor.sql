-- Which events lie before the raw floor of all orgs or of their own, or within the dedupe window behind it.
-- $1, $2 org and moment of each; $3 the dedupe window
SELECT k.n
FROM unnest($1::uuid[], $2::timestamptz[]) WITH ORDINALITY AS k (org_id, occurred_at, n)
WHERE EXISTS (
    SELECT FROM analytics.raw_horizons h
    WHERE (h.org_id = k.org_id OR h.org_id IS NULL) AND k.occurred_at < h.raw_from + $3)
