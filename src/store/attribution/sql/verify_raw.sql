-- Raw events by hour over all models: those that were counted for the rollups, and those of batches that are not merged yet.
-- $1 start, $2 end, $3 org (null: all)
SELECT org_id, bucket_start,
       sum(successes + others)::bigint AS invocations,
       sum(others)::bigint AS errors,
       sum(input_tokens)::bigint AS input_tokens,
       sum(output_tokens)::bigint AS output_tokens,
       sum(cost_cents) AS cost_cents
FROM (
    SELECT org_id, bucket_start, successes, errors + timeouts + throttled AS others, input_tokens, output_tokens, cost_cents
    FROM pg_temp.recounted_hourly
    UNION ALL
    SELECT org_id, date_trunc('hour', occurred_at, 'UTC'), (status = 'success')::integer, (status <> 'success')::integer,
           input_tokens, output_tokens, cost_cents
    FROM analytics.usage_events
    WHERE occurred_at >= $1 AND occurred_at < $2 AND ($3::uuid IS NULL OR org_id = $3)
      AND batch_id = ANY (ARRAY(SELECT batch_id FROM analytics.rollup_pending))
) AS events
GROUP BY 1, 2
