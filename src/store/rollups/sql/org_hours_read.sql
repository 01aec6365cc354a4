-- Sums of hours over all models, and their histograms one behind the other: those that the service packed, and entries of what is
-- materialised without the zero byte that marks them. Which hours is put in by the code: whole ones, or single ones of single orgs.
SELECT u.org_id, u.bucket_start,
       sum(u.successes)::bigint AS successes,
       sum(u.errors)::bigint AS errors,
       sum(u.timeouts)::bigint AS timeouts,
       sum(u.throttled)::bigint AS throttled,
       sum(u.input_tokens)::bigint AS input_tokens,
       sum(u.output_tokens)::bigint AS output_tokens,
       sum(u.cost_cents) AS cost_cents,
       string_agg(u.latency_histogram, ''::bytea) FILTER (WHERE u.latency_histogram >= '\x01') AS packed,
       string_agg(substring(u.latency_histogram FROM 2), ''::bytea) FILTER (WHERE u.latency_histogram < '\x01') AS entries
FROM {hours}
GROUP BY 1, 2
