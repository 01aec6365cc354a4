-- What the rollups have of a file's range and models, and what the ledger has at the most.
-- $1 org, $2 start, $3 end, $4 models (empty: all)
SELECT coalesce(sum(successes + errors + timeouts + throttled), 0)::bigint AS invocations,
       coalesce(sum(errors + timeouts + throttled), 0)::bigint AS errors,
       coalesce(sum(input_tokens), 0)::bigint AS input_tokens, coalesce(sum(output_tokens), 0)::bigint AS output_tokens,
       coalesce(sum(cost_cents), 0) AS cost_cents,
       -- By hour of commit. An event is committed after it occurred, but for what a publisher's clock is ahead.
       (SELECT coalesce(sum(stored), 0)::bigint FROM analytics.ledger_hourly
        WHERE org_id = $1 AND hour >= $2 - INTERVAL '2 hours') AS ledger_stored,
       coalesce(analytics.floor_of($1, 'ledger') <= $2 - INTERVAL '2 hours', true) AS ledger_whole
FROM analytics.hourly_usage
WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
  AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
