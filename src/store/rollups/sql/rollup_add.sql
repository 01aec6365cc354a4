-- Adds to the locked rows. Sums are added here; histograms were merged by the caller, since SQL has only bytes.
-- $1 orgs, $2 buckets, $3 models, $4 successes, $5 errors, $6 timeouts, $7 throttled, $8 and $9 tokens, $10 costs, $11 sums of
-- latencies, $12 smallest, $13 largest, $14 histograms, $15 last events, $16 now
UPDATE analytics.{unit}_rollups r SET
    successes = r.successes + d.successes,
    errors = r.errors + d.errors,
    timeouts = r.timeouts + d.timeouts,
    throttled = r.throttled + d.throttled,
    input_tokens = r.input_tokens + d.input_tokens,
    output_tokens = r.output_tokens + d.output_tokens,
    cost_cents = r.cost_cents + d.cost_cents,
    latency_sum = r.latency_sum + d.latency_sum,
    latency_min = least(r.latency_min, d.latency_min),
    latency_max = greatest(r.latency_max, d.latency_max),
    latency_histogram = d.latency_histogram,
    last_event_at = greatest(r.last_event_at, d.last_event_at),
    fresh_as_of = $16
FROM unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::numeric[], $11::bigint[], $12::integer[], $13::integer[], $14::bytea[],
            $15::timestamptz[])
     AS d (org_id, bucket_start, model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens,
           cost_cents, latency_sum, latency_min, latency_max, latency_histogram, last_event_at)
WHERE r.org_id = d.org_id AND r.bucket_start = d.bucket_start AND r.model_id = d.model_id
