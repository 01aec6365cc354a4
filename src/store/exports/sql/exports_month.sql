-- Rows of an export by month: of its days, whose histograms come as they are stored, at most 31 a row.
-- $1 org, $2 start of the month, $3 its end, $4 models (empty: all)
SELECT $2, model_id, sum(successes + errors + timeouts + throttled)::bigint, sum(errors + timeouts + throttled)::bigint,
       sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_cents), array_agg(latency_histogram)
FROM analytics.daily_usage
WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
  AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
GROUP BY model_id
HAVING sum(successes + errors + timeouts + throttled) > 0
ORDER BY model_id
