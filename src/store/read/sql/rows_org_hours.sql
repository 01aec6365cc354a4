-- What an org has over all models: hours that are summed, those of them that have changed since, and the hours behind them.
-- {bucket} and {left_out} are put in by the code, as in rows_rollups.sql, and so is {summed_to}, the last parameter: up to where hours
-- are summed.
-- $1 org, $2 start, $3 end, $9 and $10 as in rows_rollups.sql
    SELECT {bucket} AS bucket_start, NULL::uuid AS model_id, successes, errors, timeouts, throttled, input_tokens, output_tokens,
           cost_cents, latency_histogram, NULL::integer AS latency_bucket
    FROM (
        SELECT bucket_start, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents, latency_histogram
        FROM analytics.org_hours
        WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3 AND bucket_start < {summed_to} AND NOT changed
        UNION ALL
        SELECT u.*
        FROM analytics.org_hours AS o
             CROSS JOIN LATERAL (
                 SELECT bucket_start, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents,
                        latency_histogram
                 FROM analytics.hourly_usage
                 WHERE org_id = $1 AND bucket_start = o.bucket_start
                   -- The same again for the planner, which leaves out the chunks beyond.
                   AND bucket_start >= $2 AND bucket_start < $3 AND bucket_start < {summed_to}
                 -- Kept apart: these hours alone are read, however many they are.
                 OFFSET 0
             ) AS u
        WHERE o.org_id = $1 AND o.bucket_start >= $2 AND o.bucket_start < $3 AND o.bucket_start < {summed_to} AND o.changed
        UNION ALL
        SELECT bucket_start, successes, errors, timeouts, throttled, input_tokens, output_tokens, cost_cents, latency_histogram
        FROM analytics.hourly_usage
        WHERE org_id = $1 AND bucket_start >= $2 AND bucket_start < $3 AND bucket_start >= {summed_to}
    ) AS hours
    WHERE true {left_out}
