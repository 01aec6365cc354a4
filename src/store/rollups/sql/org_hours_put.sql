-- Puts sums of hours in the place of what is there.
-- $1 orgs, $2 hours, $3 successes, $4 errors, $5 timeouts, $6 throttled, $7 and $8 tokens, $9 costs, $10 histograms
INSERT INTO analytics.org_hours AS o
       (org_id, bucket_start, changed, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
        latency_histogram)
SELECT org_id, bucket_start, false, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents, histogram
FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::numeric[], $10::bytea[])
     AS s (org_id, bucket_start, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents, histogram)
ORDER BY org_id, bucket_start
ON CONFLICT (org_id, bucket_start) DO UPDATE SET
    (changed, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents, latency_histogram) = ROW (
        false, excluded.successes, excluded.errors, excluded.timeouts, excluded.throttled, excluded.input_tokens,
        excluded.output_tokens, excluded.cost_cents, excluded.latency_histogram)
