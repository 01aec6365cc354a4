-- Rows of an export by hour or day. One row of the view is one row of the file, in the order of the rollups' key, so that
-- nothing is grouped or sorted before the first one goes out.
-- $1 org, $2 start, $3 end, $4 models (empty: all)
SELECT bucket_start, model_id, successes + errors + timeouts + throttled, errors + timeouts + throttled, input_tokens,
       output_tokens, cost_cents, latency_histogram
FROM {rollups}
WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
  AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
  -- What was counted once and is gone, by erasure for example, is no row: it would make one file differ from another of the
  -- same events.
  AND successes + errors + timeouts + throttled > 0
ORDER BY bucket_start, model_id
