-- What the changes of final buckets add up to that were made since a file's rows were read.
-- $1 org, $2 start, $3 end, $4 models (empty: all), $5 up to when the rows have everything, $6 when they were read
SELECT count(*) AS count,
       coalesce(sum(after_invocations - before_invocations), 0)::bigint AS invocations,
       coalesce(sum(after_input_tokens - before_input_tokens), 0)::bigint AS input_tokens,
       coalesce(sum(after_output_tokens - before_output_tokens), 0)::bigint AS output_tokens,
       coalesce(sum(after_cost_cents - before_cost_cents), 0) AS cost_cents,
       -- Changes of one hour are one row.
       coalesce(bool_or(period <= $6), false) AS straddles
FROM analytics.rollup_revisions
WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3
  AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
  -- What was noted just before may have been committed after the rows were read; of such an hour the sum is not exact.
  AND revised_at >= $5 - INTERVAL '5 minutes'
