-- Hours over all models beside the sums of their rollups, which are put in by the code, but for those that are marked as changed. The
-- caller compares the histograms.
-- $1 start, $2 end, $3 org (null: all), $4 orgs to leave out
DECLARE org_hours NO SCROLL CURSOR FOR
SELECT org_id, bucket_start,
       (o.successes, o.errors, o.timeouts, o.throttled, o.input_tokens, o.output_tokens, o.cost_cents)
       IS DISTINCT FROM
       (s.successes, s.errors, s.timeouts, s.throttled, s.input_tokens, s.output_tokens, s.cost_cents) AS differs,
       CASE WHEN o.changed IS NULL THEN 'no row'
            ELSE format('%s invocations, %s and %s tokens, %s cents', o.successes + o.errors + o.timeouts + o.throttled,
                        o.input_tokens, o.output_tokens, o.cost_cents) END AS kept,
       CASE WHEN s.successes IS NULL THEN 'no row'
            ELSE format('%s invocations, %s and %s tokens, %s cents', s.successes + s.errors + s.timeouts + s.throttled,
                        s.input_tokens, s.output_tokens, s.cost_cents) END AS made,
       o.latency_histogram, s.packed, s.entries
FROM (
    {sums}
) AS s
FULL JOIN (
    SELECT * FROM analytics.org_hours
    WHERE bucket_start >= $1 AND bucket_start < $2 AND ($3::uuid IS NULL OR org_id = $3) AND org_id <> ALL ($4::uuid[])
) AS o USING (org_id, bucket_start)
WHERE o.changed IS NOT TRUE
